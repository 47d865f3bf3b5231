"""Step: make sure that the app's supervisord runs."""

from __future__ import annotations

from collections.abc import Iterator

from nvoi.log.levels import get_logger
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.daemon import ensure_supervisor, find_supervisor, shut_down, write_conf
from nvoi.targets.local.programs import list_programs
from nvoi.targets.local.state import guard_storage
from nvoi.targets.step import Step

log = get_logger(__name__)


def run(context: LocalContext) -> None:
    """Start it where it does not run."""
    with guard_storage(context.state):
        if find_supervisor(context.state) is None:
            write_conf(context.state, list_programs(context.previous_record))
        ensure_supervisor(context.state, context.request.environ)


def undo(context: LocalContext) -> None:
    """Shut it down where nothing was deployed before: it has nothing to keep."""
    if context.previous is None:
        shut_down(context.state)


def plan(context: LocalContext) -> Iterator[str]:
    """Say whether it would be started."""
    if find_supervisor(context.state) is None:
        yield f"would start supervisord in {context.state.supervisor}"


SUPERVISE = Step("Start supervisord", run=run, plan=plan, undo=undo)
