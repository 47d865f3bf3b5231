"""Watching one service come up: does it live, does it listen, is it well?"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from nvoi.config.schema import AppService
from nvoi.errors import NvoiError, ServiceError
from nvoi.log.levels import get_logger
from nvoi.targets.local.client import Supervisor
from nvoi.targets.local.conf import Program
from nvoi.targets.local.health import Target, look
from nvoi.targets.local.launcher import build_marks
from nvoi.targets.local.processes import (
    describe_process,
    find_listener,
    is_marked,
    list_lineage,
    list_listeners,
)
from nvoi.targets.local.state import State
from nvoi.targets.local.tail import find_size, read_tail
from nvoi.targets.local.together import Cancel
from nvoi.waiting import NotReadyError, wait_for

log = get_logger(__name__)

#: Seconds a service without a port must stay up.
STAY_UP_SECONDS = 3.0

#: How often to look at a service that comes up, in seconds: the first pause and the longest
#: for one whose healthcheck has a longer interval.
FIRST_PAUSE = 0.05


@dataclass(frozen=True)
class Startup:
    """A service that is about to start, as a trial or on its own port.

    Attributes:
        service: which.
        program: what supervisord calls it.
        state: the app's folder.
        release: what it runs from.
        port: the port it is told to listen on, None where it has none.
        target: how to see whether it is well; None where to stay up is all it must do.
        log_size: the size of its log before the start, in bytes.
        daemon_log_size: the same of supervisord's own log.
    """

    service: AppService
    program: Program
    state: State
    release: str
    port: int | None
    target: Target | None
    log_size: int
    daemon_log_size: int

    @property
    def logfile(self) -> Path:
        """What the service prints."""
        return self.state.logs / self.program.logfile

    @property
    def seconds(self) -> float:
        """How long it may take to become healthy: ``interval`` times ``retries``."""
        if self.target is None:
            return STAY_UP_SECONDS
        check = self.target.check
        return max(check.interval * check.retries, 0.0 if self.port else STAY_UP_SECONDS)


def build_startup(
    service: AppService,
    program: Program,
    state: State,
    release: str,
    *,
    port: int | None,
    target: Target | None,
) -> Startup:
    """A :class:`Startup`; notes where the logs end before the start."""
    return Startup(
        service=service,
        program=program,
        state=state,
        release=release,
        port=port,
        target=target,
        log_size=find_size(state.logs / program.logfile),
        daemon_log_size=find_size(state.supervisor / "supervisord.log"),
    )


def watch(startup: Startup, supervisor: Supervisor, cancel: Cancel) -> None:
    """Return once the service is up and well.

    Raises:
        ServiceError: it ended, or did not become healthy in time; says why, and carries the
            last lines it printed.
        CancelledError: by ``cancel``.
    """
    began = time.monotonic()
    first = supervisor.get_info(startup.program.name)

    def see() -> None:
        cancel.check()
        info = supervisor.get_info(startup.program.name)
        # Another pid: it ended and supervisord has started it again.
        if not info.is_alive or info.pid != first.pid:
            raise build_end_error(startup, time.monotonic() - began)
        if startup.target is not None:
            look(startup.target, cancel)
            look_at_listeners(startup, info.pid)
        elapsed = time.monotonic() - began
        if startup.port is None and elapsed < STAY_UP_SECONDS:
            raise NotReadyError(f"up for {elapsed:.0f} s")

    check = startup.target.check if startup.target else None
    try:
        wait_for(
            see,
            what=f"{startup.service.name} to come up",
            seconds=startup.seconds + (0.0 if check else 1.0),
            log=log,
            pause=FIRST_PAUSE,
            longest_pause=max(FIRST_PAUSE, min(check.interval, 1.0)) if check else 0.2,
            sleep=cancel.sleep,
        )
    except NotReadyError as seen:
        raise build_health_error(startup, str(seen)) from seen


def look_at_listeners(startup: Startup, pid: int) -> None:
    """See that it is the new release that answers on the port, where that can be known.

    Args:
        startup: the service.
        pid: its process. What it has started is known by it, or by the release's mark.

    Raises:
        NotReadyError: a process of an earlier release listens there, or none of this one.
    """
    listeners = list(list_listeners(startup.port)) if startup.port is not None else []
    marks = build_marks(startup.state, startup.release)
    own = {other for other in listeners if is_marked(other, marks) or pid in list_lineage(other)}
    strange = [other for other in listeners if other not in own]
    older = [other for other in strange if is_ours(other, startup.state)]
    wrong = older if own else strange
    if wrong:
        raise NotReadyError(
            f"port {startup.port} is held by {describe_process(wrong[0])}, not by this release"
        )


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


def build_health_error(startup: Startup, seen: str) -> NvoiError:
    """The error for a service that lives but did not become healthy in time."""
    name, target = startup.service.name, startup.target
    hint = f"its log is {startup.logfile}"
    if target is not None and target.check.port == startup.port and "refused" in seen:
        hint = f"{name} must listen on $PORT"
        if startup.program.trial:
            hint += f", which is {startup.port} while it is on trial"
    message = f"{name} was not healthy within {startup.seconds:g} s; last seen: {seen}"
    return build_error(startup, message, hint)


def build_error(startup: Startup, message: str, hint: str) -> ServiceError:
    """A :class:`ServiceError` with the service's last lines, and who holds its port if another."""
    foreign = find_foreign_listener(startup.state, startup.port)
    if foreign is not None:
        message += f"; port {startup.port} is taken by {describe_process(foreign)}"
    return ServiceError(message, hint=hint, output=read_tail(startup.logfile, startup.log_size))


def find_foreign_listener(state: State, port: int | None) -> int | None:
    """The process that listens on ``port`` and is none of this app's, where it can be known."""
    pid = find_listener(port) if port is not None else None
    return None if pid is None or is_ours(pid, state) else pid


def is_ours(pid: int, state: State) -> bool:
    """Whether ``pid`` is a process of the app."""
    marks = build_marks(state)
    # A process that sets its own title may have overwritten what it was started with.
    return any(is_marked(one, marks) for one in list_lineage(pid))


def find_exit(startup: Startup) -> str | None:
    """How a program ended since the start: ``exit status 3`` or ``terminated by SIGKILL``.

    supervisord forgets the status of a program that ended too soon, but its log names it.
    """
    pattern = rf"exited: {re.escape(startup.program.name)} \((.*?); (?:not )?expected\)"
    path = startup.state.supervisor / "supervisord.log"
    lines = read_tail(path, startup.daemon_log_size, lines=1000)
    matches = re.findall(pattern, "\n".join(lines))
    return str(matches[0]) if matches else None
