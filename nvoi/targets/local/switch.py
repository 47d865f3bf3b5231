"""Step: the new release takes over the ports, or the old one gets them back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from nvoi.config.schema import AppService
from nvoi.errors import NvoiError
from nvoi.log.levels import get_logger
from nvoi.protocol import Tunnel
from nvoi.targets.local.client import Supervisor
from nvoi.targets.local.conf import Program
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.daemon import find_supervisor
from nvoi.targets.local.health import Target, build_check, look_by_tcp
from nvoi.targets.local.launcher import build_launcher, build_marks, write_launcher
from nvoi.targets.local.programs import ensure_serving, restore
from nvoi.targets.local.record import Record, save_record
from nvoi.targets.local.startup import STAY_UP_SECONDS, Startup, build_startup, watch
from nvoi.targets.local.state import State, guard_storage
from nvoi.targets.local.together import Cancel, run_together
from nvoi.targets.local.trial import get_supervisor
from nvoi.targets.step import Step
from nvoi.waiting import NotReadyError, wait_for

log = get_logger(__name__)

#: Seconds the old release has to listen again after a failed switch.
BACK_SECONDS = 30.0


def run(context: LocalContext) -> None:
    """Stop the old services, start the new ones, and see that they are well.

    Raises:
        ServiceError: one ends, or is not well in time.
    """
    state, supervisor = context.state, get_supervisor(context)
    with guard_storage(state):
        startups = [prepare(context, service) for service in context.services]
        context.has_switched = True
        ensure_serving(state, supervisor, context.release, context.record)
    run_together([partial(attempt, startup, supervisor) for startup in startups])
    with guard_storage(state):
        save_record(state, context.release, context.record)
        state.set_current(context.release)
    announce(context)


def undo(context: LocalContext) -> None:
    """Bring the old release back, and see it run; without one, stop all."""
    if not context.has_switched:
        return
    state, record = context.state, context.previous_record
    context.tunnels.clear()
    context.urls.clear()
    with guard_storage(state):
        state.set_current(context.previous)
        restore(state, context.previous, record, context.request.environ)
    if context.previous is None:
        return
    try:
        wait_for(
            partial(look_back, state, record),
            what=f"release {context.previous} to serve again",
            seconds=BACK_SECONDS,
            log=log,
        )
    except NotReadyError as seen:
        raise NvoiError(f"release {context.previous} does not serve again: {seen}") from seen
    log.warning("release %s serves again", context.previous)


def plan(context: LocalContext) -> Iterator[str]:
    """Say what would be stopped and started."""
    for name, port in context.previous_record.items():
        place = f" on port {port}" if port else ""
        yield f"would stop {name} of release {context.previous}{place}"
    for service in context.services:
        place = f" on port {service.port}" if service.port else ""
        yield f"would start {service.name}{place} and check it: {service.command}"


def prepare(context: LocalContext, service: AppService) -> Startup:
    """Write the launcher of one service."""
    program = Program(service.name)
    release = context.state.releases / context.release
    environment = context.build_environment(service)
    marks = build_marks(context.state, context.release, program.name)
    text = build_launcher(service.name, release, service.command or "", environment | marks)
    write_launcher(context.state.get_launchers(context.release) / program.script, text)
    check = build_check(service, service.port)
    target = Target(check, release, environment) if check else None
    return build_startup(
        service, program, context.state, context.release, port=service.port, target=target
    )


def attempt(startup: Startup, supervisor: Supervisor, cancel: Cancel) -> None:
    """Wait until one service is well."""
    began = time.monotonic()
    watch(startup, supervisor, cancel)
    elapsed = time.monotonic() - began
    if startup.port is None:
        log.ok("%s has stayed up for %.0f s", startup.service.name, max(elapsed, STAY_UP_SECONDS))
    else:
        log.ok("%s serves on port %d after %.1f s", startup.service.name, startup.port, elapsed)


def announce(context: LocalContext) -> None:
    """Note where the services can be reached."""
    for service in context.services:
        if service.port is not None:
            context.tunnels.append(Tunnel(service.name, f"localhost:{service.port}"))
            context.urls.append(f"http://localhost:{service.port}")


def look_back(state: State, record: Record) -> None:
    """See that every service of the old release runs, and listens where it did.

    Raises:
        NotReadyError: not yet.
    """
    supervisor = find_supervisor(state)
    infos = supervisor.list_infos() if supervisor else {}
    for name, port in record.items():
        info = infos.get(Program(name).name)
        if info is None or not info.is_alive:
            raise NotReadyError(f"{name} is not running")
        if port is not None:
            look_by_tcp(port, 1.0)


SWITCH = Step("Switch to the new release", run=run, plan=plan, undo=undo)
