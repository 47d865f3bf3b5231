"""The steps around a rollout, and those of ``nvoi delete``."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial

from nvoi import process
from nvoi.config.schema import AppService
from nvoi.errors import CommandError, ServiceError
from nvoi.folders import remove_tree
from nvoi.log.levels import get_logger
from nvoi.log.rendering import format_count
from nvoi.operation import Step
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.health import is_ours
from nvoi.targets.local.processes import (
    describe_process,
    find_marked,
    is_marked,
    is_port_free,
    list_listeners,
)
from nvoi.targets.local.programs import (
    build_service_environment,
    ensure_supervisor,
    restore,
    stop_leftovers,
    stop_programs,
)
from nvoi.targets.local.state import LAST_LINES, list_names
from nvoi.targets.local.supervisor import SERVICE, find_supervisor, shut_down
from nvoi.waiting import Reminder

log = get_logger(__name__)


def run_recovery(context: LocalContext) -> None:
    """Bring the app back to its last good release, and nothing but it.

    After this either supervisord runs the services of ``current``, or the app has never
    been deployed and nothing of it runs.
    """
    state = context.state
    started = restore(context)
    if started:
        log.info("started again from release %s: %s", context.previous, ", ".join(started))
    for release in state.list_unfinished():
        log.info("removing release %s, which was never finished", release)
        stop_leftovers(state, release)
        state.remove_release(release)
    remove_tree(state.run / "trial")


def plan_recovery(context: LocalContext) -> Iterator[str]:
    state = context.state
    if find_supervisor(state) is None:
        if context.previous is not None:
            yield f"would start release {context.previous} again: supervisord is not running"
        for pid in find_marked(state.build_marks()):
            yield f"would stop {describe_process(pid)}, which was left running"
    for release in state.list_unfinished():
        yield f"would remove release {release}, which was never finished"


def run_ports(context: LocalContext) -> None:
    """Make sure that no program but the app's has a port that a service wants."""
    for service in context.services:
        if service.port is None or is_port_free(service.port):
            continue
        listeners = list_listeners(service.port)
        is_strange = bool(listeners) and not is_ours(listeners[0], context.state)
        if is_strange or not is_given_up(context, service.port, listeners):
            holder = describe_process(listeners[0]) if listeners else "another program"
            raise ServiceError(
                f"port {service.port} of {service.name} is taken by {holder}",
                hint=f"stop that program, or change application.app.{service.name}.port",
            )


def plan_ports(context: LocalContext) -> Iterator[str]:
    """Nothing is to be told of ports that can be had; the others are what a run would find."""
    run_ports(context)
    yield from ()


def is_given_up(context: LocalContext, port: int, listeners: Sequence[int]) -> bool:
    """Whether what the app has on a port is stopped before a new release needs that."""
    supervisor = find_supervisor(context.state)
    if supervisor is None:
        # What it has left running is stopped before anything is started.
        return bool(listeners)
    alive = {info.name for info in supervisor.list_infos().values() if info.is_alive}
    owners = [SERVICE + name for name, own in context.previous_record.items() if own == port]
    marks = [context.state.build_marks(program=owner) for owner in owners]
    # One that has ended may have left running what listens: that is stopped with it.
    is_left = any(is_marked(pid, each) for pid in listeners for each in marks)
    return is_left or not alive.isdisjoint(owners)


def run_prepare(context: LocalContext) -> None:
    """Run each service's ``pre_run_command`` once in the new release, in the config's order."""
    for service in context.services:
        if service.pre_run_command:
            run_command(context, service, service.pre_run_command)


def plan_prepare(context: LocalContext) -> Iterator[str]:
    for service in context.services:
        first, *rest = (service.pre_run_command or "").strip().splitlines() or [""]
        if first:
            yield f"would run for {service.name}: {first}"
            yield from (f"    {line}" for line in rest)


def run_command(context: LocalContext, service: AppService, command: str) -> None:
    """Run a ``pre_run_command`` and log its output; a CommandError carries its last lines."""
    began = time.monotonic()
    last: deque[str] = deque(maxlen=LAST_LINES)
    what = f"the pre_run_command of {service.name}"
    reminder = Reminder(what, log)

    def tell(line: str) -> None:
        reminder.restart()
        last.append(line)
        log.info("%s: %s", service.name, line)

    status = process.follow(
        ["/bin/sh", "-c", command],
        build_service_environment(context, service),
        tell,
        folder=context.state.releases / context.release,
        reminder=reminder,
        end=partial(process.end_tree, what=what),
    )
    if status == 0:
        log.ok("%s: pre_run_command done in %.1f s", service.name, time.monotonic() - began)
        return
    how = f"exited with {status}" if status > 0 else f"was ended by {get_signal_name(-status)}"
    raise CommandError(
        f"{what} {how}",
        hint=f"mend what its last lines say, or application.app.{service.name}.pre_run_command",
        output=last,
    )


def get_signal_name(number: int) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def run_supervise(context: LocalContext) -> None:
    ensure_supervisor(context)


def undo_supervise(context: LocalContext) -> None:
    """Shut supervisord down where nothing was deployed before: it has nothing to keep."""
    if context.previous is None:
        shut_down(context.state)


def plan_supervise(context: LocalContext) -> Iterator[str]:
    if find_supervisor(context.state) is None:
        yield f"would start supervisord in {context.state.supervisor}"


def run_stop(context: LocalContext) -> None:
    """Stop supervisord with all it runs, and what a dead one has left."""
    if context.is_empty:
        log.info("nothing to delete: %s is not deployed here", context.application.name)
        return
    state, supervisor = context.state, find_supervisor(context.state)
    if supervisor is not None:
        # It would wait for them itself, and say nothing of one that does not end.
        stop_programs(state, supervisor, supervisor.list_infos())
    if shut_down(state):
        log.ok("all services have stopped")
    stop_leftovers(state)


def plan_stop(context: LocalContext) -> Iterator[str]:
    if context.is_empty:
        yield f"nothing to delete: {context.application.name} is not deployed here"
        return
    supervisor = find_supervisor(context.state)
    for name in sorted(supervisor.list_infos()) if supervisor else ():
        yield f"would stop {name.partition('.')[2]}"
    if supervisor:
        yield f"would stop supervisord (pid {supervisor.get_pid()})"


def run_remove(context: LocalContext) -> None:
    """Remove all but volumes; the lock goes last, while it is held."""
    state, names = context.state, list_names(context.state.volumes)
    state.remove_socket()
    state.current.unlink(missing_ok=True)
    for folder in (state.releases, state.run, state.logs, state.supervisor):
        remove_tree(folder)
    if context.request.delete_volumes or not names:
        remove_tree(state.volumes)
    state.lock.unlink(missing_ok=True)
    if not list_names(state.root):
        state.root.rmdir()
    if names and context.request.delete_volumes:
        log.info("volumes removed: %s", ", ".join(names))
    elif names:
        log.info("volumes are kept in %s: %s", state.volumes, ", ".join(names))


def plan_remove(context: LocalContext) -> Iterator[str]:
    if context.is_empty:
        return
    releases = format_count(len(context.state.list_releases()), "release")
    yield f"would remove {releases} in {context.state.root}"
    names = list_names(context.state.volumes)
    if names:
        verb = "remove" if context.request.delete_volumes else "keep"
        yield f"would {verb} the volumes in {context.state.volumes}: {', '.join(names)}"


RECOVERY = Step("Check the state", run=run_recovery, plan=plan_recovery)
PORTS = Step("Check the ports", run=run_ports, plan=plan_ports)
PREPARE = Step("Run pre_run_command", run=run_prepare, plan=plan_prepare)
SUPERVISE = Step("Start supervisord", run=run_supervise, plan=plan_supervise, undo=undo_supervise)
STOP = Step("Stop the services", run=run_stop, plan=plan_stop)
REMOVE = Step("Remove releases and state", run=run_remove, plan=plan_remove)
