"""The app's own supervisord: its config, how it is started, asked and shut down.

It is asked by XML-RPC over its Unix socket; the calls are those of its manual, "XML-RPC API
Documentation".

All paths in the config are relative to its own folder, where supervisord is started: a path of
the user's may hold characters that mean something in this format.
"""

from __future__ import annotations

import http.client
import os
import pwd
import socket
import struct
import subprocess
import sys
import xmlrpc.client
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nvoi import process
from nvoi.errors import NvoiError, ServiceError
from nvoi.folders import check_way
from nvoi.log.levels import get_logger
from nvoi.targets.local.processes import (
    NOTICE_SECONDS,
    STOP_SECONDS,
    describe_process,
    find_running,
    is_marked,
    look_for_end,
    stop_processes,
)
from nvoi.targets.local.state import (
    OF_MACHINE,
    PRIVATE,
    PRIVATE_FILE,
    StateFolder,
    make_private,
    read_tail,
    write_text,
)
from nvoi.waiting import NotReadyError, wait_for

log = get_logger(__name__)

#: Seconds an answer may take. Every call is answered at once: none of them waits.
ANSWER_SECONDS = 10.0
ALIVE = frozenset({"STARTING", "RUNNING"})
#: supervisord leaves a program in these alone. EXITED is one of them for a trial only: a
#: service that has exited is about to be started again, as is one in BACKOFF.
ENDED = frozenset({"STOPPED", "FATAL", "UNKNOWN"})
STOPPABLE = ALIVE | {"BACKOFF"}

# Fault codes, supervisor.xmlrpc.Faults.
SHUTTING_DOWN = 6
BAD_NAME = 10
SPAWN_ERROR = 50
ALREADY_STARTED = 60
NOT_RUNNING = 70
ALREADY_ADDED = 90

SERVICE = "service."
TRIAL = "trial."
#: Its own log, beside its config.
DAEMON_LOG = "supervisord.log"

#: Seconds supervisord has to come up; it takes about a quarter of one.
START_SECONDS = 30.0

#: A service that ends sooner than this many seconds after its start has not started:
#: supervisord then waits a little longer before each new try.
SETTLE_SECONDS = 2

HEAD = """\
[supervisord]
logfile=supervisord.log
logfile_maxbytes=1MB
logfile_backups=1
loglevel=info
pidfile=supervisord.pid
umask=077
nocleanup=true
minfds=256
minprocs=16
identifier={identifier}
{user}
[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

PROGRAM = """
[program:{name}]
command=/bin/sh ../run/{script}
umask=022
autostart={again}
autorestart={again}
startsecs={start_seconds}
startretries=10
stopsignal=TERM
stopwaitsecs={stop_seconds:.0f}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile=../logs/{logfile}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


class GoneError(NvoiError):
    """supervisord is not there."""


class EndingError(GoneError):
    """supervisord is still there, but has been told to shut down."""


@dataclass(frozen=True)
class Info:
    """A program, and its process; ``pid`` is 0 where it does not run."""

    name: str
    state: str
    pid: int

    @property
    def is_alive(self) -> bool:
        """Whether the process runs, as far as supervisord has seen."""
        return self.state in ALIVE and self.pid > 0


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the Unix socket at ``path``."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        check_way(self._path.parent)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self.timeout)
            connection.connect(str(self._path))
            check_peer(connection, os.getuid())
        except BaseException:
            connection.close()
            raise
        self.sock = connection


def check_peer(connection: socket.socket, user: int) -> None:
    """Make sure that ``user`` is on the other side, where that is told: SO_PEERCRED, unix(7)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return
    size = struct.calcsize("3i")
    _, peer, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, size))
    if peer != user:
        raise NvoiError(
            f"the supervisord that answers is that of user {peer}, not of user {user}",
            hint="deploy as that user, or set NVOI_HOME",
        )


class Supervisor:
    """The supervisord behind the socket at ``path``; an answer may take ``seconds``."""

    def __init__(self, path: Path, seconds: float = ANSWER_SECONDS) -> None:
        self._path = path
        self._seconds = seconds

    def call(self, name: str, *args: str | bool, ignore: tuple[int, ...] = ()) -> Any:
        """Call a method of supervisord's; None for a fault whose code is in ``ignore``."""
        # A connection of its own for every call, so that threads may call at once.
        connection = UnixConnection(self._path, self._seconds)
        body = xmlrpc.client.dumps(args, f"supervisor.{name}").encode()
        try:
            connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
            answer, _ = xmlrpc.client.loads(connection.getresponse().read())
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in ignore:
                return None
            if fault.faultCode == SHUTTING_DOWN:
                raise EndingError("supervisord is ending", hint="deploy again") from None
            raise NvoiError(f"supervisord refuses {name}: {fault.faultString}") from None
        except TimeoutError:
            raise NvoiError(
                f"supervisord does not answer on {self._path}",
                hint="end it, then deploy again",
            ) from None
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in OF_MACHINE:
                raise
            raise GoneError(
                f"supervisord is not to be reached on {self._path}: {error}",
                hint="deploy again: it is started anew",
            ) from error
        finally:
            connection.close()
        return answer[0]

    def get_pid(self) -> int:
        pid: int = self.call("getPID")
        return pid

    def list_infos(self) -> dict[str, Info]:
        return {raw["name"]: build_info(raw) for raw in self.call("getAllProcessInfo")}

    def get_info(self, program: str) -> Info:
        return build_info(self.call("getProcessInfo", program))

    def start(self, program: str) -> None:
        """Start a program; nothing where it runs. That it could not start is seen in its state."""
        self.call("startProcess", program, False, ignore=(ALREADY_STARTED, SPAWN_ERROR))

    def begin_stop(self, program: str) -> None:
        """Send SIGTERM to a program; nothing where it does not run."""
        self.call("stopProcess", program, False, ignore=(NOT_RUNNING, BAD_NAME))

    def reload(self) -> tuple[list[str], list[str], list[str]]:
        """Read the config again; the programs that are new in it, changed, and gone from it."""
        [[added, changed, removed]] = self.call("reloadConfig")
        return added, changed, removed

    def add(self, program: str) -> None:
        self.call("addProcessGroup", program, ignore=(ALREADY_ADDED,))

    def remove(self, program: str) -> None:
        """Forget a program that has ended."""
        self.call("removeProcessGroup", program, ignore=(BAD_NAME,))

    def shut_down(self) -> None:
        """Stop all programs, then end. Returns at once."""
        self.call("shutdown", ignore=(SHUTTING_DOWN,))


def build_info(raw: dict[str, Any]) -> Info:
    return Info(raw["name"], raw["statename"], raw["pid"])


@dataclass(frozen=True, order=True)
class Program:
    """One process that supervisord keeps: a service of a release, or a service on trial.

    A trial is started once and not again when it ends.
    """

    service: str
    release: str
    trial: bool = False

    @property
    def name(self) -> str:
        """What supervisord calls it."""
        return (TRIAL if self.trial else SERVICE) + self.service

    @property
    def script(self) -> str:
        """Its launcher, below the ``run`` folder."""
        return f"{'trial' if self.trial else self.release}/{self.service}.sh"

    @property
    def logfile(self) -> str:
        """What it prints, below the ``logs`` folder."""
        return f"trial/{self.service}.log" if self.trial else f"{self.service}.log"


def build_conf(state: StateFolder, programs: Iterable[Program]) -> str:
    socket = state.socket
    head = HEAD.format(
        identifier=f"nvoi-{state.root.name}",
        socket=socket.name if socket.parent == state.supervisor else socket,
        # It wants to be told if it is to run as root.
        user=f"user={pwd.getpwuid(0).pw_name}\n" if os.getuid() == 0 else "",
    )
    return head + "".join(
        PROGRAM.format(
            name=program.name,
            script=program.script,
            logfile=program.logfile,
            again="false" if program.trial else "true",
            start_seconds=0 if program.trial else SETTLE_SECONDS,
            stop_seconds=STOP_SECONDS,
        )
        for program in sorted(programs)
    )


def write_conf(state: StateFolder, programs: Iterable[Program]) -> None:
    for folder in (state.supervisor, state.run, state.logs, state.logs / "trial"):
        make_private(folder)
    write_text(state.supervisor / "supervisord.conf", build_conf(state, programs))


def find_supervisor(state: StateFolder) -> Supervisor | None:
    """The app's supervisord, None where it does not run. One that is ending is waited for."""
    supervisor = Supervisor(state.socket)

    def look() -> Supervisor | None:
        try:
            supervisor.get_pid()
        except EndingError as error:
            raise NotReadyError("it is still stopping its processes") from error
        except GoneError:
            return None
        return supervisor

    what = "an earlier supervisord to end"
    try:
        return wait_for(look, what=what, seconds=3 * STOP_SECONDS, log=log)
    except NotReadyError as seen:
        raise NvoiError(
            f"the supervisord of {state.root} does not end: {seen}",
            hint=f"end it: its pid is in {state.supervisor / 'supervisord.pid'}",
        ) from seen


def get_supervisor(state: StateFolder) -> Supervisor:
    """The supervisord that an earlier step has started; a ServiceError if it has ended since."""
    supervisor = find_supervisor(state)
    if supervisor is None:
        raise ServiceError(
            "supervisord has ended in the middle of the deploy",
            hint=f"see {state.supervisor / 'supervisord.log'}",
        )
    return supervisor


def start_supervisor(state: StateFolder, environment: Mapping[str, str]) -> Supervisor:
    """Start the app's supervisord: a daemon in a session of its own, which outlives nvoi."""
    path = state.socket
    with suppress(FileExistsError):
        path.parent.mkdir(mode=PRIVATE)
    check_way(path.parent)
    log.debug("starting supervisord in %s", state.supervisor)
    launch(state, environment)
    supervisor = Supervisor(path)
    try:
        supervisor.get_pid()
    except GoneError as error:
        raise build_start_error(state, error.message) from error
    return supervisor


def launch(state: StateFolder, environment: Mapping[str, str]) -> None:
    """Run supervisord; it puts itself in the background once its socket is open."""
    words = [sys.executable, "-P", "-m", "supervisor.supervisord"]
    words += ["-c", str(state.supervisor / "supervisord.conf")]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(os.open(state.supervisor / "start.log", flags, PRIVATE_FILE), "wb") as output:
        wait = partial(process.join, seconds=START_SECONDS)
        try:
            status = process.work_with(
                words, environment, wait, folder=state.supervisor, output=output
            )
        except subprocess.TimeoutExpired as error:
            raise build_start_error(state, f"no answer in {START_SECONDS:.0f} s") from error
    if status != 0:
        raise build_start_error(state, f"exit status {status}")


def build_start_error(state: StateFolder, reason: str) -> NvoiError:
    output = read_tail(state.supervisor / "start.log") or read_tail(state.supervisor / DAEMON_LOG)
    return NvoiError(
        f"supervisord did not start: {reason}",
        hint=f"see {state.supervisor / 'supervisord.log'}",
        output=output,
    )


def shut_down(state: StateFolder) -> bool:
    """Stop supervisord with all it runs, and wait until it has gone; whether it ran."""
    path = state.socket
    supervisor = Supervisor(path)
    try:
        pid = supervisor.get_pid()
        # As it is now: soon the number may be another process's.
        daemon = find_running(pid)
        supervisor.shut_down()
    except EndingError:
        log.debug("supervisord is ending already")
        return find_supervisor(state) is None
    except GoneError:
        return False
    look = partial(look_for_end, [daemon] if daemon else [])
    try:
        wait_for(
            look,
            what="supervisord to end",
            seconds=2 * STOP_SECONDS,
            log=log,
            first_notice=NOTICE_SECONDS,
        )
    except NotReadyError:
        # In a container with the same folder it has the number of another process here.
        if not is_marked(pid, state.build_marks()):
            raise NvoiError(
                f"what answers on {path} names {describe_process(pid)}, which is no process of "
                "the app's",
                hint=f"see what listens there, and remove {path}",
            ) from None
        stop_processes([pid], what="supervisord")
    return True
