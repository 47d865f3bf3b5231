"""Processes of this machine, their ports, and the time they have to end (``STOP_SECONDS``)."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from nvoi.errors import NvoiError
from nvoi.log.levels import get_logger
from nvoi.waiting import NotReadyError, wait_for

# Without it a config can be written and checked; a run says that it is missing.
with suppress(ModuleNotFoundError):
    import psutil

log = get_logger(__name__)

#: Seconds between SIGTERM and SIGKILL: as docker stop, and as supervisord is told.
STOP_SECONDS = 10.0
#: Seconds until the log says what is waited for.
NOTICE_SECONDS = 2.0
#: Processes that a line names.
MOST_NAMED = 5


def find_running(pid: int) -> psutil.Process | None:
    """The process that has this number now; None where none runs."""
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
    return process if is_running(process) else None


def is_running(process: psutil.Process) -> bool:
    """Whether a process goes on; a later one with its number is another."""
    try:
        ended = process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
        return not ended and process.is_running()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def list_lineage(pid: int) -> list[int]:
    """``pid``, the process that started it, and so on, as far as they still run."""
    found: list[int] = []
    # Where one of them ends meanwhile, those before it are still what they were.
    with suppress(psutil.Error):
        process: psutil.Process | None = psutil.Process(pid)
        while process is not None:
            found.append(process.pid)
            process = process.parent()
    return found


def list_members(group: int) -> list[int]:
    members = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == group and find_running(pid):
                members.append(pid)
    return members


def find_marked(marks: Mapping[str, str]) -> list[int]:
    return [
        pid
        for pid in psutil.pids()
        if pid != os.getpid() and is_marked(pid, marks) and find_running(pid)
    ]


def is_marked(pid: int, marks: Mapping[str, str]) -> bool:
    """Whether ``pid`` was started with ``marks``, as far as this user may know."""
    try:
        return marks.items() <= psutil.Process(pid).environ().items()
    except (psutil.Error, OSError):
        return False


def stop_processes(pids: Iterable[int], *, what: str) -> None:
    """SIGTERM to each process, and SIGKILL to those that are still there after 10 s."""
    left = [process for pid in pids if (process := find_running(pid))]
    last = ""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in left:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.send_signal(number)
        if number == signal.SIGKILL:
            tell_killed(what)
        try:
            return wait_for(
                partial(look_for_end, left),
                what=f"{what} to stop",
                seconds=STOP_SECONDS,
                log=log,
                first_notice=NOTICE_SECONDS,
            )
        except NotReadyError as seen:
            last = str(seen)
    raise NvoiError(f"{what} cannot be stopped: {last}")


def tell_killed(what: str) -> None:
    log.warning("%s was killed: it did not end within %.0f s of SIGTERM", what, STOP_SECONDS)


def look_for_end(processes: Iterable[psutil.Process]) -> None:
    running = [process.pid for process in processes if is_running(process)]
    if running:
        raise NotReadyError(f"{name_pids(running)} still runs")


def name_pids(pids: Sequence[int]) -> str:
    """``pid 812, 813``; of many the first ones, and how many more there are."""
    more = len(pids) - MOST_NAMED
    named = ", ".join(map(str, pids[:MOST_NAMED]))
    return f"pid {named} and {more} more" if more > 0 else f"pid {named}"


def describe_process(pid: int) -> str:
    """``nginx (pid 812)``; only the number where the name cannot be read."""
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"pid {pid}"


def list_listeners(port: int) -> list[int]:
    """The processes that listen on ``port``, as far as this user may know: several may share it."""
    return [
        pid
        for pid, one in list_connections()
        if pid and one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port
    ]


def list_connections() -> Iterator[tuple[int | None, Any]]:
    """The TCP connections of all processes, each behind the process's id."""
    try:
        yield from ((one.pid, one) for one in psutil.net_connections("tcp"))
    except psutil.AccessDenied:
        # macOS tells them all at once to root alone.
        for each in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                yield from ((each.pid, one) for one in each.net_connections("tcp"))


def is_port_free(port: int) -> bool:
    """Whether a service could listen on ``port``, on all addresses.

    A port that this user may not take at all (below 1024, ip(7)) is not taken: what is in
    its way is told by the service itself.
    """
    # BSD lets all addresses be taken beside a single one.
    places = ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::"))  # noqa: S104 - bound to try, never listened on
    return all(can_bind(family, address, port) for family, address in places)


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
