"""What supervisord runs for the app, and the release it runs it from.

A launcher is the shell script that supervisord runs for a service. The environment goes through
that 0600 file and never through a command line or supervisord's config, which has a quoting of
its own and would show it to others.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import sysconfig
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from nvoi.config.environment import build_environment
from nvoi.config.schema import AppService
from nvoi.errors import ServiceError
from nvoi.log.levels import get_logger
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.processes import (
    NOTICE_SECONDS,
    STOP_SECONDS,
    find_marked,
    is_marked,
    list_members,
    name_pids,
    stop_processes,
    tell_killed,
)
from nvoi.targets.local.state import StateFolder, find_size, make_private, read_tail, write_text
from nvoi.targets.local.supervisor import (
    DAEMON_LOG,
    ENDED,
    STOPPABLE,
    TRIAL,
    Info,
    Program,
    Supervisor,
    find_supervisor,
    start_supervisor,
    write_conf,
)
from nvoi.waiting import NotReadyError, wait_for

log = get_logger(__name__)

#: What a service gets of the caller's environment. Not the whole of it: it may hold keys.
INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ"),
    *("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LC_NUMERIC", "LC_TIME"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)

#: What makes a Python another environment's: nvoi may run in one, and the app's is its own.
OF_PYTHON = ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")

#: What supervisord adds to the environment of its processes (its manual, "Subprocesses").
ADDED_BY_SUPERVISOR = (
    *("SUPERVISOR_ENABLED", "SUPERVISOR_SERVER_URL"),
    *("SUPERVISOR_PROCESS_NAME", "SUPERVISOR_GROUP_NAME"),
)

#: Where the caller has no PATH: what POSIX systems always have.
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"

#: Looks for a process that ends are this many seconds apart at most: a deploy waits for them.
LONGEST_PAUSE = 0.2


def build_inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the caller's environment that services, and supervisord, get."""
    inherited = {name: environ[name] for name in INHERITED if name in environ}
    inherited["PATH"] = build_path(environ.get("PATH", "")) or DEFAULT_PATH
    return inherited


def build_path(path: str) -> str:
    """``PATH`` without the programs of nvoi's own environment.

    There an app's ``pip install`` would replace what nvoi itself runs on. A Python that is no
    virtual environment, nor one of conda's, shares its folder with the rest of the system.
    """
    is_conda = Path(sys.prefix, "conda-meta").is_dir()
    if sys.prefix == sys.base_prefix and not is_conda:
        return path
    own = os.path.realpath(sysconfig.get_path("scripts"))
    return os.pathsep.join(one for one in path.split(os.pathsep) if os.path.realpath(one) != own)


def build_mount_name(volume: str) -> str:
    """The variable that tells a service where a volume is: ``NVOI_MOUNT_<VOLUME>``."""
    return "NVOI_MOUNT_" + re.sub(r"[^A-Z0-9]", "_", volume.upper())


def find_health_port(service: AppService) -> int | None:
    """The port that a healthcheck asks, where it is another than the service's own."""
    check = service.healthcheck
    if check is None or check.type == "exec" or check.port == service.port:
        return None
    return check.port


def build_service_environment(
    context: LocalContext, service: AppService, ports: Mapping[str, int | None] | None = None
) -> dict[str, str]:
    """Everything a service's processes get as their environment.

    Later wins: the caller's, as :data:`INHERITED` lists; what is the local target's own; what
    the config says; ``ports``, the variables that tell a trial where to listen.
    """
    state, databases = context.state, context.sqlite_volumes[:1]
    environment = build_inherited(context.request.environ) | state.build_marks(context.release)
    # Into a file or a pipe Python writes when 8 KB have come together, which may be never.
    environment["PYTHONUNBUFFERED"] = "1"
    for name in (*service.mounts, *databases):
        environment[build_mount_name(name)] = str(state.volumes / name)
    health_port = find_health_port(service)
    if health_port is not None:
        environment["NVOI_HEALTH_PORT"] = str(health_port)
    mount = str(state.volumes / databases[0]) if databases else None
    configured = build_environment(context.application, service, sqlite_mount=mount)
    told = {name: str(port) for name, port in (ports or {}).items()}
    return {**environment, **configured, **told}


def build_launcher(
    service: str, release: Path, command: str, environment: Mapping[str, str]
) -> str:
    """The script that becomes ``command`` in ``release`` with exactly ``environment``."""
    others = (*INHERITED, *OF_PYTHON, *ADDED_BY_SUPERVISOR)
    unwanted = [name for name in others if name not in environment]
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    lines = [
        "#!/bin/sh",
        f"# {service} of release {release.name}",
        f"cd {shlex.quote(str(release))} || exit 1",
        f"unset {' '.join(unwanted)}",
        *exports,
        f"exec /bin/sh -c {shlex.quote(command)}",
    ]
    return "\n".join(lines) + "\n"


def write_launcher(
    context: LocalContext, program: Program, command: str, environment: Mapping[str, str]
) -> None:
    state = context.state
    marks = state.build_marks(program.release, program.name)
    folder, path = state.releases / program.release, state.run / program.script
    make_private(path.parent)
    text = build_launcher(program.service, folder, command, {**environment, **marks})
    write_text(path, text)


def ensure_supervisor(context: LocalContext) -> Supervisor:
    """The app's supervisord; where it does not run, it is started with the last good release."""
    state, environ = context.state, context.request.environ
    supervisor = find_supervisor(state)
    if supervisor is not None:
        return supervisor
    write_conf(state, context.previous_programs)
    environment = build_inherited(environ) | state.build_marks()
    if "PYTHONPATH" in environ:
        environment["PYTHONPATH"] = environ["PYTHONPATH"]
    return start_supervisor(state, environment)


def ensure_programs(
    state: StateFolder, supervisor: Supervisor, programs: Collection[Program]
) -> list[str]:
    """Let supervisord run exactly these programs; all others are stopped first.

    Whether the new ones stay up is for others to watch. Returns the services that did not run.
    """
    write_conf(state, programs)
    added, changed, removed = supervisor.reload()
    stop_programs(state, supervisor, [*changed, *removed])
    for name in (*changed, *removed):
        supervisor.remove(name)
    for name in (*added, *changed):
        supervisor.add(name)
    infos = supervisor.list_infos()
    idle = [program for program in programs if not infos[program.name].is_alive]
    # What one has left running may have the port that it is about to need. Of those that were
    # stopped now, nothing is left.
    stop_daemons(state, {program.name for program in idle} - {*changed})
    for program in idle:
        supervisor.start(program.name)
    return [program.service for program in idle]


def restore(context: LocalContext) -> list[str]:
    """Run the last good release and nothing else, whatever has become of supervisord.

    Returns the services that did not run.
    """
    state = context.state
    if find_supervisor(state) is None:
        stop_leftovers(state)
        if context.previous is None:
            return []
        log.info("supervisord is not running: starting it again for release %s", context.previous)
    return ensure_programs(state, ensure_supervisor(context), context.previous_programs)


def stop_programs(state: StateFolder, supervisor: Supervisor, names: Iterable[str]) -> None:
    """Stop programs side by side: SIGTERM to their process groups, SIGKILL after 10 s.

    A program has stopped when no process of its group is left: a shell may be gone before
    the server it started has closed its port. What it has started in another group, as a
    daemon, is stopped after it.
    """
    wanted = frozenset(names)
    groups: set[int] = set()
    log_size = find_size(state.supervisor / DAEMON_LOG)
    wait = partial(
        wait_for,
        partial(look_for_stop, supervisor, wanted, groups),
        what=f"{', '.join(sorted(map(get_service, wanted)))} to stop",
        log=log,
        longest_pause=LONGEST_PAUSE,
        first_notice=NOTICE_SECONDS,
    )
    try:
        # supervisord sends its SIGKILL meanwhile; what it does not know of is ours to end.
        wait(seconds=STOP_SECONDS + 2)
    except NotReadyError:
        tell_killed("a process that a service started")
        kill_groups(groups, state.build_marks())
        try:
            wait(seconds=STOP_SECONDS)
        except NotReadyError as seen:
            raise ServiceError(f"services do not stop: {seen}") from seen
    for name in find_killed(state, log_size):
        tell_killed(get_service(name))
    stop_daemons(state, wanted)


def look_for_stop(supervisor: Supervisor, wanted: Collection[str], groups: set[int]) -> None:
    """Ask those of the ``wanted`` that run to stop, and note their process groups."""
    infos = [info for name, info in supervisor.list_infos().items() if name in wanted]
    groups.update(info.pid for info in infos if info.pid)
    for info in infos:
        if info.state in STOPPABLE:
            supervisor.begin_stop(info.name)
    left = [get_service(info.name) for info in infos if not has_ended(info)]
    if left or any(map(list_members, groups)):
        raise NotReadyError(f"{', '.join(left) or 'a process that a service started'} still runs")


def find_killed(state: StateFolder, log_size: int) -> list[str]:
    """The programs that supervisord has sent SIGKILL since its log had ``log_size`` bytes."""
    lines = read_tail(state.supervisor / DAEMON_LOG, log_size, lines=1000)
    return re.findall(r"killing '(\S+)' \(\d+\) with SIGKILL", "\n".join(lines))


def has_ended(info: Info) -> bool:
    """Whether a program runs no more, and will not by itself."""
    return info.state in ENDED or (info.state == "EXITED" and info.name.startswith(TRIAL))


def get_service(program: str) -> str:
    return program.partition(".")[2]


def kill_groups(groups: Iterable[int], marks: Mapping[str, str]) -> None:
    """SIGKILL to what is left of process groups that hold a process started with ``marks``."""
    for group in groups:
        if any(is_marked(pid, marks) for pid in list_members(group)):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)


def stop_daemons(state: StateFolder, programs: Collection[str]) -> None:
    left = find_marked(state.build_marks()) if programs else []
    for program in sorted(programs):
        marks = state.build_marks(program=program)
        pids = [pid for pid in left if is_marked(pid, marks)]
        if pids:
            service = get_service(program)
            log.info("%s: stopping processes that it left running: %s", service, name_pids(pids))
            stop_processes(pids, what=f"what {service} left running")


def stop_leftovers(state: StateFolder, release: str | None = None) -> None:
    """Stop what runs without supervisord, of one release or of all: it, or nvoi, was killed."""
    pids = find_marked(state.build_marks(release))
    if pids:
        log.warning("stopping processes that were left running: %s", name_pids(pids))
        stop_processes(pids, what="what was left running")
