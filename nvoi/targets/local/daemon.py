"""The app's own supervisord: found, started, shut down."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from nvoi.errors import NvoiError
from nvoi.log.levels import get_logger
from nvoi.targets.local.client import EndingError, GoneError, Supervisor
from nvoi.targets.local.conf import Program, build_conf
from nvoi.targets.local.launcher import build_inherited, build_marks
from nvoi.targets.local.processes import (
    STOP_SECONDS,
    describe_process,
    is_marked,
    is_running,
    stop_processes,
)
from nvoi.targets.local.state import (
    PRIVATE,
    PRIVATE_FILE,
    State,
    check_private,
    make_private,
    remove_tree,
    write_private,
)
from nvoi.targets.local.tail import read_tail
from nvoi.waiting import NotReadyError, wait_for

log = get_logger(__name__)

#: Seconds supervisord has to come up; it takes about a quarter of one.
START_SECONDS = 30.0

#: Bytes of a Unix socket's path: 108 on Linux, 104 on BSD and macOS (unix(7), unix(4)), with
#: its NUL; supervisord binds a name with its pid behind it first, hence the room.
LONGEST_SOCKET_PATH = 104 - 1 - len(".4194304")


def get_socket(state: State) -> Path:
    """Where the app's supervisord listens.

    In the state folder; where that path is too long for a socket, in a private folder below
    ``/tmp``, the one place that is the same whatever the caller's environment.
    """
    path = state.supervisor / "supervisor.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(state.root)).hexdigest()[:16]
    return Path("/tmp") / f"nvoi-{os.getuid()}-{digest}" / "supervisor.sock"  # noqa: S108 - 0700, its owner is checked


def make_socket_folder(socket: Path) -> None:
    """Make the socket's folder, or make sure that it is this user's alone.

    Raises:
        NvoiError: somebody else has made it.
    """
    with suppress(FileExistsError):
        socket.parent.mkdir(mode=PRIVATE)
    check_private(socket.parent)


def require_supervisor() -> None:
    """Make sure that supervisor is installed.

    Raises:
        NvoiError: it is not.
    """
    if importlib.util.find_spec("supervisor") is None:
        raise NvoiError(
            "the local target needs supervisor, which is not installed",
            hint="pip install 'nvoi[local]'",
        )


def find_supervisor(state: State) -> Supervisor | None:
    """The app's supervisord, None where it does not run. One that is ending is waited for.

    Raises:
        NvoiError: one that is ending does not go within 30 s, or one does not answer.
    """
    supervisor = Supervisor(get_socket(state))

    def look() -> Supervisor | None:
        try:
            supervisor.get_pid()
        except EndingError as error:
            raise NotReadyError("it is still stopping its processes") from error
        except GoneError:
            return None
        return supervisor

    try:
        return wait_for(
            look, what="an earlier supervisord to end", seconds=3 * STOP_SECONDS, log=log
        )
    except NotReadyError as seen:
        raise NvoiError(
            f"the supervisord of {state.root} does not end: {seen}",
            hint=f"end it: its pid is in {state.supervisor / 'supervisord.pid'}",
        ) from seen


def write_conf(state: State, programs: Iterable[Program]) -> bool:
    """Write supervisord's config; whether it differs from the one that was there."""
    socket = get_socket(state)
    inside = socket.parent == state.supervisor
    text = build_conf(
        programs,
        identifier=f"nvoi-{state.root.name}",
        socket=socket.name if inside else str(socket),
        user=pwd.getpwuid(0).pw_name if os.getuid() == 0 else "",
    )
    path = state.supervisor / "supervisord.conf"
    for folder in (state.supervisor, state.run, state.logs, state.logs / "trial"):
        make_private(folder)
    if path.is_file() and path.read_text("utf-8") == text:
        return False
    write_private(path, text)
    return True


def ensure_supervisor(state: State, environ: Mapping[str, str]) -> Supervisor:
    """The app's supervisord, started where it does not run.

    It is a daemon in a session of its own, with a part of ``environ``, and outlives nvoi.

    Raises:
        NvoiError: it does not start; carries what it printed.
    """
    supervisor = find_supervisor(state)
    if supervisor is not None:
        return supervisor
    make_socket_folder(get_socket(state))
    log.debug("starting supervisord in %s", state.supervisor)
    start(state, environ)
    supervisor = Supervisor(get_socket(state))

    def look() -> Supervisor:
        try:
            supervisor.get_pid()
        except GoneError as error:
            raise NotReadyError(error.message) from error
        return supervisor

    try:
        return wait_for(look, what="supervisord to start", seconds=START_SECONDS, log=log)
    except NotReadyError as seen:
        raise build_start_error(state, str(seen)) from seen


def start(state: State, environ: Mapping[str, str]) -> None:
    """Start supervisord; it puts itself in the background once its socket is open."""
    words = [sys.executable, "-P", "-m", "supervisor.supervisord"]
    words += ["-c", str(state.supervisor / "supervisord.conf")]
    inherited = build_inherited(environ) | build_marks(state)
    if "PYTHONPATH" in environ:
        inherited["PYTHONPATH"] = environ["PYTHONPATH"]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    output = os.open(state.supervisor / "start.log", flags, PRIVATE_FILE)
    try:
        finished = subprocess.run(  # noqa: S603 - our own words, no shell
            words,
            cwd=state.supervisor,
            env=inherited,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            timeout=START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise build_start_error(state, f"no answer in {START_SECONDS:.0f} s") from error
    finally:
        os.close(output)
    if finished.returncode != 0:
        raise build_start_error(state, f"exit status {finished.returncode}")


def build_start_error(state: State, reason: str) -> NvoiError:
    """The error for a supervisord that does not come up, with what it printed."""
    output = read_tail(state.supervisor / "start.log") or read_tail(
        state.supervisor / "supervisord.log"
    )
    return NvoiError(
        f"supervisord did not start: {reason}",
        hint=f"see {state.supervisor / 'supervisord.log'}",
        output=output,
    )


def shut_down(state: State) -> bool:
    """Stop supervisord with all it runs, and wait until it has gone; whether it ran.

    Raises:
        NvoiError: it does not go, or what answers in its place is none of the app's.
    """
    supervisor = Supervisor(get_socket(state))
    pid = 0
    try:
        pid = supervisor.get_pid()
        supervisor.shut_down()
    except EndingError:
        log.debug("supervisord is ending already")
    except GoneError:
        return False

    def look() -> None:
        if is_running(pid) if pid else find_supervisor(state) is not None:
            raise NotReadyError("it is still stopping its processes")

    try:
        wait_for(look, what="supervisord to end", seconds=2 * STOP_SECONDS, log=log)
    except NotReadyError:
        if pid and not is_marked(pid, build_marks(state)):
            raise NvoiError(
                f"what answers on {get_socket(state)} names {describe_process(pid)}, which is no "
                "process of the app's",
                hint=f"see what listens there, and remove {get_socket(state)}",
            ) from None
        # Never 0: as a pid that would be this process's own group.
        stop_processes([pid] if pid else [], what="supervisord")
    return True


def remove_socket(state: State) -> None:
    """Remove the socket's folder below ``/tmp``, where there is one of this user's."""
    folder = get_socket(state).parent
    if folder == state.supervisor or not folder.is_dir() or folder.is_symlink():
        return
    if folder.lstat().st_uid == os.getuid():
        remove_tree(folder)
