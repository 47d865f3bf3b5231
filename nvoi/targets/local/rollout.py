"""Steps: the new release is tried on free ports, then takes over those of the old one."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from functools import partial

from nvoi import parallel
from nvoi.config.schema import AppService
from nvoi.errors import NvoiError, ServiceError
from nvoi.log.levels import get_logger
from nvoi.operation import Step
from nvoi.protocol import Tunnel
from nvoi.targets.local.client import Supervisor
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.health import STAY_UP_SECONDS, Startup, is_ours, look, look_by_tcp
from nvoi.targets.local.processes import describe_process, find_free_ports, list_listeners
from nvoi.targets.local.programs import (
    build_service_environment,
    ensure_programs,
    find_health_port,
    restore,
    write_launcher,
)
from nvoi.targets.local.state import (
    Record,
    State,
    find_size,
    read_tail,
    remove_tree,
    storage_errors,
)
from nvoi.targets.local.supervisor import SERVICE, Program, find_supervisor, get_supervisor
from nvoi.waiting import NotReadyError, wait_for

log = get_logger(__name__)

#: How often to look at a service that comes up, in seconds: the first pause and the longest
#: for one whose healthcheck has a longer interval.
FIRST_PAUSE = 0.05

#: Seconds the old release has to listen again after a failed switch.
BACK_SECONDS = 30.0


def run_trial(context: LocalContext) -> None:
    """Try all services that have a port; the release that serves goes on meanwhile."""
    services = list_tried(context)
    if not services:
        return
    supervisor = get_supervisor(context.state)
    usual = [port for service in services for port in (service.port, find_health_port(service))]
    free = find_free_ports(len(usual), avoid=filter(None, usual))
    with storage_errors(context.state):
        startups = [
            prepare(context, service, *ports, trial=True)
            for service, *ports in zip(services, free[::2], free[1::2], strict=True)
        ]
        tried = [startup.program for startup in startups]
        ensure_programs(context.state, supervisor, [*context.previous_programs, *tried])
    watch_all(startups, supervisor)
    clear(context, supervisor)
    remove_tree(context.state.logs / "trial")


def undo_trial(context: LocalContext) -> None:
    """End what is still on trial; its logs stay for a look."""
    supervisor = find_supervisor(context.state)
    if supervisor is not None:
        clear(context, supervisor)


def plan_trial(context: LocalContext) -> Iterator[str]:
    for service in list_tried(context):
        yield f"would start {service.name} on a free port and check it: {service.command}"


def list_tried(context: LocalContext) -> list[AppService]:
    return [service for service in context.services if service.port is not None]


def clear(context: LocalContext, supervisor: Supervisor) -> None:
    """End all trials and remove what they left."""
    with storage_errors(context.state):
        ensure_programs(context.state, supervisor, context.previous_programs)
        remove_tree(context.state.run / "trial")


def run_switch(context: LocalContext) -> None:
    """Stop the old services, start the new ones, and see that they are well."""
    state, supervisor = context.state, get_supervisor(context.state)
    with storage_errors(state):
        startups = [
            prepare(context, service, service.port, find_health_port(service))
            for service in context.services
        ]
        context.has_switched = True
        ensure_programs(state, supervisor, context.programs)
    watch_all(startups, supervisor)
    with storage_errors(state):
        state.save_record(context.release, context.record)
        state.set_current(context.release)
    for service in list_tried(context):
        context.tunnels.append(Tunnel(service.name, f"localhost:{service.port}"))
        context.urls.append(f"http://localhost:{service.port}")


def undo_switch(context: LocalContext) -> None:
    """Bring the old release back, and see it run; without one, stop all."""
    if not context.has_switched:
        return
    state, record = context.state, context.previous_record
    context.tunnels.clear()
    context.urls.clear()
    with storage_errors(state):
        state.set_current(context.previous)
        restore(context)
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


def plan_switch(context: LocalContext) -> Iterator[str]:
    for name, port in context.previous_record.items():
        place = f" on port {port}" if port else ""
        yield f"would stop {name} of release {context.previous}{place}"
    for service in context.services:
        place = f" on port {service.port}" if service.port else ""
        yield f"would start {service.name}{place} and check it: {service.command}"


def look_back(state: State, record: Record) -> None:
    """See that every service of the old release runs, and listens where it did."""
    supervisor = find_supervisor(state)
    infos = supervisor.list_infos() if supervisor else {}
    for name, port in record.items():
        info = infos.get(SERVICE + name)
        if info is None or not info.is_alive:
            raise NotReadyError(f"{name} is not running")
        if port is not None:
            look_by_tcp(port, 1.0)


def prepare(
    context: LocalContext,
    service: AppService,
    port: int | None,
    health_port: int | None,
    *,
    trial: bool = False,
) -> Startup:
    """Write a service's launcher, which tells it these ports, and note where its logs end."""
    program = Program(service.name, context.release, trial)
    told = {"PORT": port} if trial else {}
    if find_health_port(service) is None:
        health_port = None
    elif trial:
        told["NVOI_HEALTH_PORT"] = health_port
    environment = build_service_environment(context, service, told)
    write_launcher(context, program, service.command or "", environment)
    logfile = context.state.logs / program.logfile
    if trial:
        logfile.unlink(missing_ok=True)
    return Startup(
        context=context,
        service=service,
        program=program,
        environment=environment,
        port=port,
        health_port=health_port,
        log_size=find_size(logfile),
        daemon_log_size=find_size(context.state.supervisor / "supervisord.log"),
    )


def watch_all(startups: Sequence[Startup], supervisor: Supervisor) -> None:
    """Wait until all are well, side by side; the ServiceError of the first that is not ends it."""
    parallel.run_together([partial(watch, startup, supervisor) for startup in startups])


def watch(startup: Startup, supervisor: Supervisor) -> None:
    """Wait until a service is up and well, and say so.

    Raises:
        ServiceError: it ended, or did not become healthy in time; carries its last lines.
        CancelledError: another service failed first.
    """
    began = time.monotonic()
    first = supervisor.get_info(startup.program.name)

    def see() -> None:
        parallel.check()
        info = supervisor.get_info(startup.program.name)
        # Another pid: it ended and supervisord has started it again.
        if not info.is_alive or info.pid != first.pid:
            raise build_end_error(startup, time.monotonic() - began)
        look(startup, info.pid)
        elapsed = time.monotonic() - began
        if startup.port is None and elapsed < STAY_UP_SECONDS:
            raise NotReadyError(f"up for {elapsed:.0f} s")

    interval = startup.check.interval if startup.check else 0.2
    try:
        wait_for(
            see,
            what=f"{startup.service.name} to come up",
            seconds=startup.seconds + (0.0 if startup.check else 1.0),
            log=log,
            pause=FIRST_PAUSE,
            longest_pause=max(FIRST_PAUSE, min(interval, 1.0)),
            sleep=parallel.sleep,
        )
    except NotReadyError as seen:
        raise build_health_error(startup, str(seen)) from seen
    tell(startup, time.monotonic() - began)


def tell(startup: Startup, seconds: float) -> None:
    name = startup.service.name
    if startup.port is None:
        log.ok("%s has stayed up for %.0f s", name, max(seconds, STAY_UP_SECONDS))
    elif startup.program.trial:
        log.ok("%s passed its trial on port %d after %.1f s", name, startup.port, seconds)
    else:
        log.ok("%s serves on port %d after %.1f s", name, startup.port, seconds)


def build_end_error(startup: Startup, seconds: float) -> ServiceError:
    """The error for a service whose process has ended."""
    name = startup.service.name
    how = find_exit(startup) or "ended"
    status = re.fullmatch(r"exit status (\d+)", how)
    hint = f"its log is {startup.logfile}"
    if how == "exit status 127":
        message = f"{name}: command not found (exit status 127)"
        hint = f"check application.app.{name}.command, and that what it runs is installed"
    elif how == "exit status 126":
        message = f"{name}: the command cannot be executed (exit status 126)"
        hint = f"check application.app.{name}.command, and the mode of the file that it runs"
    elif status:
        message = f"{name} exited with {status[1]} after {seconds:.1f} s"
    else:
        message = f"{name} was {how} after {seconds:.1f} s"
    return build_error(startup, message, hint)


def find_exit(startup: Startup) -> str | None:
    """How a program ended since the start: ``exit status 3`` or ``terminated by SIGKILL``.

    supervisord forgets the status of a program that ended too soon, but its log names it.
    """
    pattern = rf"exited: {re.escape(startup.program.name)} \((.*?); (?:not )?expected\)"
    path = startup.context.state.supervisor / "supervisord.log"
    lines = read_tail(path, startup.daemon_log_size, lines=1000)
    matches = re.findall(pattern, "\n".join(lines))
    return str(matches[0]) if matches else None


def build_health_error(startup: Startup, seen: str) -> ServiceError:
    """The error for a service that lives but did not become healthy in time."""
    name, hint = startup.service.name, f"its log is {startup.logfile}"
    if seen.endswith(f"nothing listens on port {startup.port}"):
        hint = f"{name} must listen on $PORT"
        if startup.program.trial:
            hint += f", which is {startup.port} while it is on trial"
    elif (
        startup.program.trial
        and startup.health_port is not None
        and ("refused" in seen or "is held by" in seen)
    ):
        hint = (
            f"{name} must answer its healthcheck on $NVOI_HEALTH_PORT, "
            f"which is {startup.health_port} while it is on trial"
        )
    message = f"{name} was not healthy within {startup.seconds:g} s; last seen: {seen}"
    return build_error(startup, message, hint)


def build_error(startup: Startup, message: str, hint: str) -> ServiceError:
    """A :class:`ServiceError` with the service's last lines, and who holds its port if another."""
    listeners = list_listeners(startup.port) if startup.port is not None else []
    if listeners and not is_ours(listeners[0], startup.context.state):
        message += f"; port {startup.port} is taken by {describe_process(listeners[0])}"
    return ServiceError(message, hint=hint, output=read_tail(startup.logfile, startup.log_size))


TRIAL = Step("Try the services", run=run_trial, plan=plan_trial, undo=undo_trial)
SWITCH = Step("Switch to the new release", run=run_switch, plan=plan_switch, undo=undo_switch)
