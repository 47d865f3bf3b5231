"""The steps of ``nvoi delete``: stop everything, remove releases and state, keep the data."""

from __future__ import annotations

from collections.abc import Iterator

from nvoi.log.levels import get_logger
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.daemon import find_supervisor, remove_socket, shut_down
from nvoi.targets.local.programs import stop_leftovers
from nvoi.targets.local.state import guard_storage, list_names, remove_tree
from nvoi.targets.step import Step

log = get_logger(__name__)


def stop(context: LocalContext) -> None:
    """Stop supervisord with all it runs, and what a dead one has left."""
    if context.was_empty:
        log.info("nothing to delete: %s is not deployed here", context.application.name)
        return
    if shut_down(context.state):
        log.ok("all services have stopped")
    stop_leftovers(context.state)


def plan_stop(context: LocalContext) -> Iterator[str]:
    """Say what would be stopped."""
    if context.was_empty:
        yield f"nothing to delete: {context.application.name} is not deployed here"
        return
    supervisor = find_supervisor(context.state)
    for name in sorted(supervisor.list_infos()) if supervisor else ():
        yield f"would stop {name.partition('.')[2]}"
    if supervisor:
        yield f"would stop supervisord (pid {supervisor.get_pid()})"


def remove(context: LocalContext) -> None:
    """Remove all but volumes; the lock goes last, while it is held."""
    state = context.state
    with guard_storage(state):
        remove_socket(state)
        state.current.unlink(missing_ok=True)
        for folder in (state.releases, state.run, state.logs, state.supervisor):
            remove_tree(folder)
    remove_volumes(context)
    with guard_storage(state):
        state.lock.unlink(missing_ok=True)
        if not list_names(state.root):
            state.root.rmdir()


def remove_volumes(context: LocalContext) -> None:
    """Remove the volumes if that was asked for; else say where they are."""
    volumes = context.state.volumes
    names = list_names(volumes)
    if context.request.delete_volumes or not names:
        with guard_storage(context.state):
            remove_tree(volumes)
        if names:
            log.info("volumes removed: %s", ", ".join(names))
    else:
        log.info("volumes are kept in %s: %s", volumes, ", ".join(names))


def plan_remove(context: LocalContext) -> Iterator[str]:
    """Say what would be removed, and what kept."""
    if context.was_empty:
        return
    yield f"would remove {len(context.state.list_releases())} releases in {context.state.root}"
    names = list_names(context.state.volumes)
    if names:
        verb = "remove" if context.request.delete_volumes else "keep"
        yield f"would {verb} the volumes in {context.state.volumes}: {', '.join(names)}"


STOP = Step("Stop the services", run=stop, plan=plan_stop)
REMOVE = Step("Remove releases and state", run=remove, plan=plan_remove)
