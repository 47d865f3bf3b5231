"""Steps: the new release is tried on free ports, then takes over those of the old one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from nvoi import parallel
from nvoi.config.schema import AppService
from nvoi.errors import NvoiError, ServiceError
from nvoi.folders import remove_tree
from nvoi.log.levels import get_logger
from nvoi.operation import PORT_ALONE, Step
from nvoi.protocol import Tunnel
from nvoi.targets.local.context import LocalContext, build_url
from nvoi.targets.local.health import STAY_UP_SECONDS, HeldError, Startup, is_held, is_ours, look
from nvoi.targets.local.processes import (
    describe_process,
    find_free_ports,
    find_marked,
    list_listeners,
)
from nvoi.targets.local.programs import (
    build_service_environment,
    ensure_programs,
    find_health_port,
    restore,
    write_launcher,
)
from nvoi.targets.local.state import find_size, read_tail, storage_errors
from nvoi.targets.local.supervisor import (
    DAEMON_LOG,
    Program,
    Supervisor,
    find_supervisor,
    get_supervisor,
)
from nvoi.waiting import NotReadyError, wait_for

log = get_logger(__name__)

#: How often to look at a service that comes up, in seconds: the first pause and the longest
#: for one whose healthcheck has a longer interval.
FIRST_PAUSE = 0.05

#: Seconds between two looks at whether a service that is well stays up.
STAY_PAUSE = 0.2

#: How a program says EADDRINUSE: by strerror(3), by its name, or in words of its own.
IN_USE = re.compile("EADDRINUSE|already in use", re.IGNORECASE)

#: Why a shell could not run a command, and what to look at (POSIX, "Exit Status for Commands").
NOT_RUN = {
    "exit status 127": ("command not found", "that what it runs is installed"),
    "exit status 126": ("the command cannot be executed", "the mode of the file that it runs"),
}

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
    pairs = zip(free[::2], free[1::2], strict=True)
    startups = [prepare(context, *each) for each in zip(services, pairs, strict=True)]
    tried = [startup.program for startup in startups]
    ensure_programs(context.state, supervisor, [*context.previous_programs, *tried])
    watch_all(startups, supervisor)
    clear(context, supervisor)
    remove_tree(context.state.logs / "trial")


def undo_trial(context: LocalContext) -> None:
    """End what is still on trial; its logs stay for a look."""
    supervisor = find_supervisor(context.state)
    if supervisor is not None:
        with storage_errors(context.state):
            clear(context, supervisor)


def plan_trial(context: LocalContext) -> Iterator[str]:
    for service in list_tried(context):
        yield f"would start {service.name} on a free port and check it: {service.command}"


def list_tried(context: LocalContext) -> list[AppService]:
    return [service for service in context.services if service.port is not None]


def clear(context: LocalContext, supervisor: Supervisor) -> None:
    ensure_programs(context.state, supervisor, context.previous_programs)
    remove_tree(context.state.run / "trial")


def run_switch(context: LocalContext) -> None:
    """Stop the old services, start the new ones, and see that they are well."""
    state, supervisor = context.state, get_supervisor(context.state)
    startups = [prepare(context, service) for service in context.services]
    context.has_switched = True
    ensure_programs(state, supervisor, context.programs)
    watch_all(startups, supervisor)
    state.save_record(context.release, context.record)
    state.set_current(context.release)
    for service in context.services:
        if service.port is not None:
            context.tunnels.append(Tunnel(service.name, f"localhost:{service.port}"))
            context.urls.append(build_url(service.port))


def undo_switch(context: LocalContext) -> None:
    """Bring the old release back, and see it run; without one, stop all."""
    if not context.has_switched:
        return
    context.tunnels.clear()
    context.urls.clear()
    # What an undo is refused is told where it fails, and not with the run's own error.
    with storage_errors(context.state):
        context.state.set_current(context.previous)
        restore(context)
    if context.previous is None:
        return
    try:
        wait_for(
            partial(look_back, context),
            what=f"release {context.previous} to serve again",
            seconds=BACK_SECONDS,
            log=log,
        )
    except NotReadyError as seen:
        raise NvoiError(f"release {context.previous} does not serve again: {seen}") from seen
    log.info("release %s serves again", context.previous)


def plan_switch(context: LocalContext) -> Iterator[str]:
    for name, port in context.previous_record.items():
        place = f" on port {port}" if port else ""
        yield f"would stop {name} of release {context.previous}{place}"
    for service in context.services:
        place = f" on port {service.port}" if service.port else ""
        yield f"would start {service.name}{place} and check it: {service.command}"


def look_back(context: LocalContext) -> None:
    """See that every service of the old release runs, and listens where it did."""
    lacking = context.find_serving().lacking
    if lacking:
        raise NotReadyError(f"{', '.join(lacking)} does not serve")


def prepare(
    context: LocalContext, service: AppService, free: tuple[int, int] | None = None
) -> Startup:
    """Write a service's launcher, and note where its logs end; a trial has two ``free`` ports."""
    program = Program(service.name, context.release, trial=free is not None)
    port, health_port, told = service.port, find_health_port(service), {}
    if free is not None:
        port, health_port = free[0], free[1] if health_port else None
        told = {"PORT": port} | ({"NVOI_HEALTH_PORT": health_port} if health_port else {})
    environment = build_service_environment(context, service, told)
    write_launcher(context, program, service.command or "", environment)
    logfile = context.state.logs / program.logfile
    if program.trial:
        logfile.unlink(missing_ok=True)
    return Startup(
        context=context,
        service=service,
        program=program,
        environment=environment,
        port=port,
        health_port=health_port,
        log_size=find_size(logfile),
        daemon_log_size=find_size(context.state.supervisor / DAEMON_LOG),
    )


def watch_all(startups: Sequence[Startup], supervisor: Supervisor) -> None:
    """Wait until all services are well, and see that none has ended by then that was."""
    watches = [Watch(startup, supervisor) for startup in startups]
    parallel.run_together([watch.wait for watch in watches])
    for watch in watches:
        watch.look_again()


class Watch:
    """A service that comes up, from its start on. Its errors have the service's last lines."""

    def __init__(self, startup: Startup, supervisor: Supervisor) -> None:
        self._startup, self._supervisor = startup, supervisor
        self._began = time.monotonic()
        self._first = supervisor.get_info(startup.program.name)
        self._is_hindered = False

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def wait(self) -> None:
        """Wait until the service is up and well and stays so, and say it."""
        startup = self._startup
        try:
            wait_for_health(startup, self._see)
            well = self._elapsed
            while (left := well + startup.stay_seconds - self._elapsed) > 0:
                parallel.sleep(min(left, STAY_PAUSE))
                self._see_alive()
        except ServiceError as error:
            self._is_hindered = is_hindered(startup, error)
            if not self._is_hindered:
                startup.context.failed_log = startup.logfile
                raise
            tell_hindrance(startup)
        else:
            tell(startup, well)

    def look_again(self) -> None:
        """See that the service still runs; one whose trial could not be told may have ended."""
        if self._is_hindered:
            return
        try:
            self._see_alive()
        except ServiceError:
            self._startup.context.failed_log = self._startup.logfile
            raise

    def _see_alive(self) -> None:
        info = self._supervisor.get_info(self._startup.program.name)
        # Another pid: it ended and supervisord has started it again.
        if not info.is_alive or info.pid != self._first.pid:
            raise build_end_error(self._startup, self._elapsed)

    def _see(self) -> None:
        self._see_alive()
        look(self._startup, self._first.pid)
        if self._startup.port is None and (elapsed := self._elapsed) < STAY_UP_SECONDS:
            raise NotReadyError(f"up for {elapsed:.0f} s")


def wait_for_health(startup: Startup, see: Callable[[], None]) -> None:
    interval = startup.check.interval if startup.check else 0.2
    try:
        wait_for(
            see,
            what=f"{startup.service.name} to come up",
            seconds=startup.seconds + (0.0 if startup.check else 1.0),
            log=log,
            pause=FIRST_PAUSE,
            longest_pause=max(FIRST_PAUSE, min(interval, 1.0)),
        )
    except NotReadyError as seen:
        raise build_health_error(startup, str(seen)) from seen


def is_hindered(startup: Startup, error: ServiceError) -> bool:
    """Whether a trial failed only as the release that serves has the service's health port.

    It either goes on without that port, or ends, and says why.
    """
    if not startup.program.trial or not is_held(startup):
        return False
    return isinstance(error.__cause__, HeldError) or any(map(IN_USE.search, error.output))


def tell_hindrance(startup: Startup) -> None:
    name, port = startup.service.name, find_health_port(startup.service)
    log.warning(
        "%s: its trial cannot ask port %d, which release %s has; the switch asks it, and is undone "
        "if it fails. Answer on $NVOI_HEALTH_PORT instead to have it tried first",
        name,
        port,
        startup.context.previous,
    )


def tell(startup: Startup, seconds: float) -> None:
    name = startup.service.name
    if startup.port is None:
        log.ok("%s has stayed up for %.0f s", name, max(seconds, STAY_UP_SECONDS))
    elif startup.program.trial:
        limit = "" if startup.service.healthcheck else PORT_ALONE
        log.ok("%s passed its trial on port %d after %.1f s%s", name, startup.port, seconds, limit)
    else:
        log.ok("%s serves on port %d after %.1f s", name, startup.port, seconds)


def build_end_error(startup: Startup, seconds: float) -> ServiceError:
    name = startup.service.name
    key, after = f"application.app.{name}.command", f"after {seconds:.1f} s"
    how = find_exit(startup) or "ended"
    marks = startup.state.build_marks(startup.program.release, startup.program.name)
    hint = f"mend what its last lines say, or change {key}"
    if how in NOT_RUN:
        what, remedy = NOT_RUN[how]
        message, hint = f"{name}: {what} ({how})", f"check {key}, and {remedy}"
    elif how == "exit status 0" and find_marked(marks):
        message = f"{name} ended {after}: it put itself into the background"
        hint = f"run it in the foreground: {key} must not end while it serves"
    elif how.startswith("exit status"):
        message = f"{name} exited with {how.split()[-1]} {after}"
    else:
        message = f"{name} was {how} {after}"
    return build_error(startup, message, hint)


def find_exit(startup: Startup) -> str | None:
    """How a program ended since the start: ``exit status 3`` or ``terminated by SIGKILL``.

    supervisord forgets the status of a program that ended too soon, but its log names it.
    """
    pattern = rf"exited: {re.escape(startup.program.name)} \((.*?); (?:not )?expected\)"
    path = startup.state.supervisor / DAEMON_LOG
    lines = read_tail(path, startup.daemon_log_size, lines=1000)
    matches = re.findall(pattern, "\n".join(lines))
    return str(matches[0]) if matches else None


def build_health_error(startup: Startup, seen: str) -> ServiceError:
    name, trial = startup.service.name, startup.program.trial
    hint = f"{build_remedy(startup)}, or change application.app.{name}.healthcheck"
    if seen.endswith(f"nothing listens on port {startup.port}"):
        hint = f"{name} must listen on $PORT"
        if trial:
            hint += f", which is {startup.port} while it is on trial"
    elif trial and startup.health_port and ("refused" in seen or "is held by" in seen):
        hint = (
            f"{name} must answer its healthcheck on $NVOI_HEALTH_PORT, "
            f"which is {startup.health_port} while it is on trial"
        )
    message = f"{name} was not healthy within {startup.seconds:g} s; last seen: {seen}"
    return build_error(startup, message, hint)


def build_remedy(startup: Startup) -> str:
    check = startup.check
    if check is None or check.type == "tcp":
        return f"see why {startup.service.name} accepts no connections"
    if check.type == "exec":
        return "let the check's command exit with 0"
    return f"let GET {check.path} answer with 200 to 399"


def build_error(startup: Startup, message: str, hint: str) -> ServiceError:
    """A :class:`ServiceError` with the service's last lines, and who holds its port if another."""
    listeners = list_listeners(startup.port) if startup.port is not None else []
    if listeners and not is_ours(listeners[0], startup.state):
        message += f"; port {startup.port} is taken by {describe_process(listeners[0])}"
    return ServiceError(message, hint=hint, output=read_tail(startup.logfile, startup.log_size))


TRIAL = Step("Try the services", run=run_trial, plan=plan_trial, undo=undo_trial)
SWITCH = Step("Switch to the new release", run=run_switch, plan=plan_switch, undo=undo_switch)
