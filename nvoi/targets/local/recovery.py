"""Step: put right what an earlier run, a reboot or a kill has left."""

from __future__ import annotations

from collections.abc import Iterator

from nvoi.log.levels import get_logger
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.daemon import require_supervisor
from nvoi.targets.local.programs import restore, stop_leftovers
from nvoi.targets.local.record import list_unfinished, remove_release
from nvoi.targets.local.state import guard_storage, remove_tree
from nvoi.targets.step import Step

log = get_logger(__name__)


def run(context: LocalContext) -> None:
    """Bring the app back to its last good release, and nothing but it.

    After this either supervisord runs the services of ``current``, or the app has never
    been deployed and nothing of it runs.
    """
    require_supervisor()
    with guard_storage(context.state):
        started = restore(
            context.state, context.previous, context.previous_record, context.request.environ
        )
        if started:
            names = ", ".join(program.service for program in started)
            log.info("started again from release %s: %s", context.previous, names)
        for release in list_unfinished(context.state):
            log.info("removing release %s, which was never finished", release)
            stop_leftovers(context.state, release)
            remove_release(context.state, release)
        remove_tree(context.state.run / "trial")


def plan(context: LocalContext) -> Iterator[str]:
    """Say what would be removed or stopped."""
    for release in list_unfinished(context.state):
        yield f"would remove release {release}, which was never finished"
    if context.previous is None:
        yield f"would make the first release in {context.state.root}"
    else:
        yield f"release {context.previous} serves now"


RECOVERY = Step("Check the state", run=run, plan=plan)
