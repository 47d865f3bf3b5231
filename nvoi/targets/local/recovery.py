"""Step: put right what an earlier run, a reboot or a kill has left."""

from __future__ import annotations

from collections.abc import Iterator

from nvoi.log.levels import get_logger
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.daemon import (
    ensure_supervisor,
    find_supervisor,
    require_supervisor,
    write_conf,
)
from nvoi.targets.local.programs import (
    ensure_serving,
    link_launchers,
    list_programs,
    stop_leftovers,
)
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
        restore(context)
        for release in list_unfinished(context.state):
            log.info("removing release %s, which was never finished", release)
            stop_leftovers(context.state, release)
            remove_release(context.state, release)
        remove_tree(context.state.run / "trial")


def restore(context: LocalContext) -> None:
    """Run the services of ``current``, where there is one, and nothing else."""
    state, record = context.state, context.previous_record
    supervisor = find_supervisor(state)
    if supervisor is None:
        stop_leftovers(state)
        if context.previous is None:
            return
        log.info("supervisord is not running: starting release %s again", context.previous)
        link_launchers(state, context.previous, record)
        write_conf(state, list_programs(record))
        supervisor = ensure_supervisor(state, context.request.environ)
    started = ensure_serving(state, supervisor, context.previous, record)
    if started:
        names = ", ".join(program.service for program in started)
        log.info("started again from release %s: %s", context.previous, names)


def plan(context: LocalContext) -> Iterator[str]:
    """Say what would be removed or stopped."""
    for release in list_unfinished(context.state):
        yield f"would remove release {release}, which was never finished"
    if context.previous is None:
        yield f"would make the first release in {context.state.root}"
    else:
        yield f"release {context.previous} serves now"


RECOVERY = Step("Check the state", run=run, plan=plan)
