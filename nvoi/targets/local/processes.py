"""Processes of this machine, as the kernel tells of them in ``/proc`` (proc(5)).

Where there is no ``/proc`` the functions that find say "none" or fall back to signals.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from nvoi.errors import NvoiError
from nvoi.log.levels import get_logger
from nvoi.waiting import NotReadyError, wait_for

log = get_logger(__name__)

PROC = Path("/proc")

#: Seconds between SIGTERM and SIGKILL: as docker stop, and as supervisord is told.
STOP_SECONDS = 10.0

#: The state of a listening socket in /proc/net/tcp (include/net/tcp_states.h).
LISTENING = "0A"


def list_pids() -> Iterator[int]:
    """The ids of all processes that ``/proc`` shows."""
    with suppress(OSError):
        for name in os.listdir(PROC):  # noqa: PTH208 - hundreds of names, as plain text
            if name.isdigit():
                yield int(name)


def find_status(pid: int) -> tuple[str, int, int] | None:
    """The state letter, parent and process group of ``pid``, None where it is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The second field is the command in brackets, which may itself hold brackets.
    state, parent, group = text.rpartition(")")[2].split()[:3]
    return state, int(parent), int(group)


def list_lineage(pid: int) -> Iterator[int]:
    """``pid``, the process that started it, and so on, as far as they still run."""
    while pid and (status := find_status(pid)):
        yield pid
        pid = status[1]


def is_running(pid: int) -> bool:
    """Whether ``pid`` runs; a zombie does not."""
    if PROC.joinpath("self").exists():
        status = find_status(pid)
        return status is not None and status[0] not in "ZX"
    return can_signal(lambda: os.kill(pid, 0))


def is_group_running(group: int) -> bool:
    """Whether any process of the process group runs; a zombie does not."""
    if not can_signal(lambda: os.killpg(group, 0)):
        return False
    if not PROC.joinpath("self").exists():
        return True
    return bool(list_members(group))


def list_members(group: int) -> list[int]:
    """The processes of the process group that run; none where there is no ``/proc``."""
    found = ((pid, find_status(pid)) for pid in list_pids())
    return [pid for pid, status in found if status and status[2] == group and status[0] not in "ZX"]


def can_signal(send: Callable[[], None]) -> bool:
    """Whether there is somebody that ``send`` could signal, ours or not."""
    try:
        send()
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def find_marked(marks: Mapping[str, str]) -> list[int]:
    """The running processes of this user that were started with ``marks`` in their environment.

    None where there is no ``/proc``.
    """
    return [
        pid
        for pid in list_pids()
        if pid != os.getpid() and is_running(pid) and is_marked(pid, marks)
    ]


def is_marked(pid: int, marks: Mapping[str, str]) -> bool:
    """Whether ``pid`` was started with ``marks``; yes where there is no ``/proc``."""
    if not PROC.joinpath("self").exists():
        return True
    return {os.fsencode(f"{name}={value}") for name, value in marks.items()} <= read_environ(pid)


def read_environ(pid: int) -> set[bytes]:
    """The environment ``pid`` was started with; empty where it may not be read."""
    try:
        return set((PROC / str(pid) / "environ").read_bytes().split(b"\0"))
    except OSError:
        return set()


def stop_processes(pids: Iterable[int], *, what: str, grace: float = STOP_SECONDS) -> None:
    """SIGTERM to each process, and SIGKILL to those that are still there after ``grace`` seconds.

    Raises:
        NvoiError: one of them does not go.
    """
    left = list(pids)
    for stop_signal, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, STOP_SECONDS)):
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, stop_signal)
        try:
            wait_for(partial(look_for_end, left), what=f"{what} to stop", seconds=seconds, log=log)
        except NotReadyError:
            left = [pid for pid in left if is_running(pid)]
        else:
            return
    raise NvoiError(f"{what} cannot be stopped: pid {', '.join(map(str, left))} is still there")


def look_for_end(pids: Iterable[int]) -> None:
    """See that none of ``pids`` runs.

    Raises:
        NotReadyError: some do.
    """
    running = [str(pid) for pid in pids if is_running(pid)]
    if running:
        raise NotReadyError(f"pid {', '.join(running)} is still there")


def describe_process(pid: int) -> str:
    """``nginx (pid 812)``; only the number where the name cannot be read."""
    try:
        name = (PROC / str(pid) / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return f"pid {pid}"
    return f"{name} (pid {pid})"


def is_port_free(port: int) -> bool:
    """Whether a service could listen on ``port``, on all addresses.

    A port that this user may not take at all (below 1024, ip(7)) is not taken: what is in
    its way is told by the service itself.
    """
    return all(
        can_bind(family, address, port)
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))  # noqa: S104 - bound to try, never listened on
    )


def can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    """Whether ``address`` and ``port`` are free; yes where the machine lacks the family."""
    try:
        probe = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return True
    with probe:
        # As servers do: connections that are long closed are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def find_free_ports(count: int, *, avoid: Iterable[int] = ()) -> list[int]:
    """``count`` different ports that are free on the loopback address, none of ``avoid``."""
    avoided = set(avoid)
    taken: list[socket.socket] = []
    try:
        ports: list[int] = []
        while len(ports) < count:
            # Kept open until all are found, so that none is given twice.
            probe = socket.socket()
            taken.append(probe)
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            if port not in avoided:
                ports.append(port)
        return ports
    finally:
        for probe in taken:
            probe.close()


def find_listener(port: int) -> int | None:
    """The process that listens on ``port``; None where it cannot be known."""
    return next(list_listeners(port), None)


def list_listeners(port: int) -> Iterator[int]:
    """The processes that listen on ``port``, as far as it can be known: several may share it."""
    links = {f"socket:[{inode}]" for inode in list_listening_inodes(port)}
    if links:
        yield from (pid for pid in list_pids() if holds_any(pid, links))


def list_listening_inodes(port: int) -> Iterator[str]:
    """The inodes of the sockets that listen on ``port``, from ``/proc/net/tcp`` and ``tcp6``."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text("ascii", "replace").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def holds_any(pid: int, links: set[str]) -> bool:
    """Whether one of the open files of ``pid`` is one of ``links``."""
    folder = PROC / str(pid) / "fd"
    try:
        return any(os.readlink(folder / name) in links for name in os.listdir(folder))  # noqa: PTH115, PTH208 - thousands of them
    except OSError:
        return False
