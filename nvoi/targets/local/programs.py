"""What supervisord runs for the app, and the release it runs it from."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from nvoi.errors import ServiceError
from nvoi.log.levels import get_logger
from nvoi.targets.local.client import ENDED, STOPPABLE, Info, Supervisor
from nvoi.targets.local.conf import TRIAL, Program
from nvoi.targets.local.daemon import ensure_supervisor, find_supervisor, write_conf
from nvoi.targets.local.launcher import build_marks
from nvoi.targets.local.processes import (
    PROC,
    STOP_SECONDS,
    find_marked,
    is_group_running,
    is_marked,
    list_members,
    stop_processes,
)
from nvoi.targets.local.record import Record
from nvoi.targets.local.state import State, replace_link
from nvoi.waiting import NotReadyError, wait_for

log = get_logger(__name__)

#: Looks for a process that ends are this many seconds apart at most: a deploy waits for them.
LONGEST_PAUSE = 0.2


def list_programs(record: Record | None) -> list[Program]:
    """The programs of a release's services; none for no release."""
    return [Program(service) for service in record or ()]


def stop_programs(state: State, supervisor: Supervisor, names: Iterable[str]) -> None:
    """Stop programs side by side: SIGTERM to their process groups, SIGKILL after 10 s.

    A program has stopped when no process of its group is left: a shell may be gone before
    the server it started has closed its port. What it has started in another group, as a
    daemon, is stopped after it.

    Raises:
        NvoiError: something does not stop.
    """
    wanted = frozenset(names)
    groups: set[int] = set()

    def look() -> None:
        infos = [info for name, info in supervisor.list_infos().items() if name in wanted]
        for info in infos:
            if info.pid:
                groups.add(info.pid)
            if info.state in STOPPABLE:
                supervisor.begin_stop(info.name)
        left = [get_service(info.name) for info in infos if not has_ended(info)]
        if left or any(is_group_running(group) for group in groups):
            raise NotReadyError(f"{', '.join(left) or 'a process it started'} still runs")

    what = f"{', '.join(sorted(map(get_service, wanted)))} to stop"
    try:
        # supervisord sends its SIGKILL meanwhile; what it does not know of is ours to end.
        wait_for(look, what=what, seconds=STOP_SECONDS + 2, log=log, longest_pause=LONGEST_PAUSE)
    except NotReadyError:
        kill_groups(groups, build_marks(state))
        try:
            wait_for(look, what=what, seconds=STOP_SECONDS, log=log)
        except NotReadyError as seen:
            raise ServiceError(f"waited in vain for {what}: {seen}") from seen
    stop_daemons(state, wanted)


def stop_daemons(state: State, programs: Iterable[str]) -> None:
    """Stop what programs that have stopped have left running."""
    for program in sorted(programs):
        pids = find_marked(build_marks(state, program=program))
        if pids:
            service = get_service(program)
            log.info("%s: stopping %d processes that it left running", service, len(pids))
            stop_processes(pids, what=f"what {service} left running")


def has_ended(info: Info) -> bool:
    """Whether a program runs no more, and will not by itself."""
    return info.state in ENDED or (info.state == "EXITED" and info.name.startswith(TRIAL))


def kill_groups(groups: Iterable[int], marks: Mapping[str, str]) -> None:
    """SIGKILL to what is left of process groups that hold a process started with ``marks``."""
    for group in groups:
        if PROC.exists() and not any(is_marked(pid, marks) for pid in list_members(group)):
            continue
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def get_service(program: str) -> str:
    """The service of supervisord's name for a program."""
    return program.partition(".")[2]


def ensure_programs(state: State, supervisor: Supervisor, programs: Collection[Program]) -> None:
    """Make supervisord's programs exactly these; those that go are stopped first.

    Those that are new and are services start.
    """
    wanted = {program.name for program in programs}
    known = supervisor.list_infos()
    surplus = [name for name in known if name not in wanted]
    stop_programs(state, supervisor, surplus)
    for name in surplus:
        supervisor.remove(name)
    if write_conf(state, programs) or not wanted <= known.keys():
        supervisor.reload()
    for name in sorted(wanted - known.keys()):
        supervisor.add(name)


def find_launched(state: State, service: str) -> str | None:
    """The release whose launcher supervisord runs for ``service``."""
    try:
        return (state.run / f"{service}.sh").readlink().parent.name
    except OSError:
        return None


def link_launchers(state: State, release: str, services: Iterable[str]) -> None:
    """Let supervisord run the launchers of ``release``, from the next start of each."""
    wanted = {f"{service}.sh" for service in services}
    for link in state.run.glob("*.sh"):
        if link.name not in wanted:
            link.unlink()
    for name in wanted:
        replace_link(state.run / name, Path(release) / name)


def ensure_serving(
    state: State, supervisor: Supervisor, release: str | None, record: Record
) -> list[Program]:
    """Run the services of ``release`` and nothing else; None for no release at all.

    Services of another release, and trials, are stopped first. The new ones are started;
    whether they stay up is for others to watch. Returns the programs that were started.
    """
    infos = supervisor.list_infos()
    programs = list_programs(record)
    kept = {
        program.name
        for program in programs
        if is_serving(state, infos.get(program.name), program, release)
    }
    stop_programs(state, supervisor, [name for name in infos if name not in kept])
    link_launchers(state, release or "", record)
    ensure_programs(state, supervisor, programs)
    started = [program for program in programs if program.name not in kept]
    for program in started:
        supervisor.start(program.name)
    return started


def restore(
    state: State, release: str | None, record: Record, environ: Mapping[str, str]
) -> list[Program]:
    """Run the services of ``release`` and nothing else, whatever has become of supervisord.

    Args:
        state: the app's.
        release: the last good one; None where there is none, and nothing is to run.
        record: what it runs.
        environ: the caller's environment.

    Returns:
        The programs that were started.
    """
    supervisor = find_supervisor(state)
    if supervisor is None:
        stop_leftovers(state)
        if release is None:
            return []
        log.info("supervisord is not running: starting it again for release %s", release)
        link_launchers(state, release, record)
        write_conf(state, list_programs(record))
        supervisor = ensure_supervisor(state, environ)
    return ensure_serving(state, supervisor, release, record)


def is_serving(state: State, info: Info | None, program: Program, release: str | None) -> bool:
    """Whether a program runs, and from ``release``."""
    return info is not None and info.is_alive and find_launched(state, program.service) == release


def stop_leftovers(state: State, release: str | None = None) -> None:
    """Stop what runs without supervisord: it, or a run of nvoi, was killed.

    Args:
        state: the app's.
        release: stop what belongs to this release only.
    """
    pids = find_marked(build_marks(state, release))
    if pids:
        log.warning("stopping %d processes that were left running", len(pids))
        stop_processes(pids, what="what was left running")
