"""The app's own supervisord: its config, how it is found, started and shut down.

All paths in the config are relative to its own folder, where supervisord is started: a path of
the user's may hold characters that mean something in this format.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nvoi import process
from nvoi.errors import NvoiError, ServiceError
from nvoi.folders import check_way, remove_tree
from nvoi.log.levels import get_logger
from nvoi.targets.local.client import EndingError, GoneError, Supervisor
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
    PRIVATE,
    PRIVATE_FILE,
    StateFolder,
    make_private,
    read_tail,
    write_text,
)
from nvoi.waiting import NotReadyError, wait_for

log = get_logger(__name__)

SERVICE = "service."
TRIAL = "trial."
#: Its own log, beside its config.
DAEMON_LOG = "supervisord.log"

#: Seconds supervisord has to come up; it takes about a quarter of one.
START_SECONDS = 30.0

#: Bytes of a Unix socket's path: 108 on Linux, 104 on BSD and macOS (unix(7), unix(4)), with
#: its NUL; supervisord binds a name with its pid behind it first, hence the room.
LONGEST_SOCKET_PATH = 104 - 1 - len(".4194304")

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
    socket = get_socket(state)
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


def get_socket(state: StateFolder) -> Path:
    """Where the app's supervisord listens.

    In the state folder; where that path is too long for a socket, in a private folder below
    ``/tmp``, the one place that is the same whatever the caller's environment.
    """
    path = state.supervisor / "supervisor.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(state.root)).hexdigest()[:16]
    return Path("/tmp") / f"nvoi-{os.getuid()}-{digest}" / "supervisor.sock"  # noqa: S108 - 0700, the way to it is checked


def remove_socket(state: StateFolder) -> None:
    folder = get_socket(state).parent
    if folder == state.supervisor or not folder.is_dir() or folder.is_symlink():
        return
    if folder.lstat().st_uid == os.getuid():
        remove_tree(folder)


def find_supervisor(state: StateFolder) -> Supervisor | None:
    """The app's supervisord, None where it does not run. One that is ending is waited for."""
    supervisor = Supervisor(get_socket(state))

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
    path = get_socket(state)
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
        begin = partial(process.start, words, environment, folder=state.supervisor, output=output)
        try:
            status = process.work_with(
                begin, partial(process.join, seconds=START_SECONDS), process.kill_tree
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
    path = get_socket(state)
    supervisor = Supervisor(path)
    try:
        pid = supervisor.get_pid()
        # As it is now: soon the number may be another process's.
        process = find_running(pid)
        supervisor.shut_down()
    except EndingError:
        log.debug("supervisord is ending already")
        return find_supervisor(state) is None
    except GoneError:
        return False
    look = partial(look_for_end, [process] if process else [])
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
