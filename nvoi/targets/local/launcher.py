"""Launchers: the shell script that supervisord runs for a service.

The environment goes through a 0700 file and never through a command line or supervisord's
config, which has a quoting of its own and would show it to others.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from nvoi.config.environment import build_environment
from nvoi.config.schema import Application, AppService
from nvoi.targets.local.state import PRIVATE, State, make_private, write_private

#: What a service gets of the caller's environment. Not the whole of it: it may hold keys.
INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ"),
    *("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LC_NUMERIC", "LC_TIME"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)

#: What supervisord adds to the environment of its processes (its manual, "Subprocesses").
ADDED_BY_SUPERVISOR = (
    *("SUPERVISOR_ENABLED", "SUPERVISOR_SERVER_URL"),
    *("SUPERVISOR_PROCESS_NAME", "SUPERVISOR_GROUP_NAME"),
)

#: Where the caller has no PATH: what POSIX systems always have.
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def build_inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the caller's environment that services, and supervisord, get."""
    inherited = {name: environ[name] for name in INHERITED if name in environ}
    inherited.setdefault("PATH", DEFAULT_PATH)
    return inherited


def build_marks(
    state: State, release: str | None = None, program: str | None = None
) -> dict[str, str]:
    """Variables by which every process of the app can be known, also without supervisord.

    Args:
        state: the app's.
        release: for the processes of one release only.
        program: for those that supervisord's program of this name has started only.
    """
    marks = {"NVOI_STATE": str(state.root), "NVOI_RELEASE": release, "NVOI_PROGRAM": program}
    return {name: value for name, value in marks.items() if value is not None}


def build_mount_name(volume: str) -> str:
    """The variable that tells a service where a volume is: ``NVOI_MOUNT_<VOLUME>``."""
    return "NVOI_MOUNT_" + re.sub(r"[^A-Z0-9]", "_", volume.upper())


def build_service_environment(
    application: Application,
    service: AppService,
    state: State,
    release: str,
    environ: Mapping[str, str],
    *,
    port: int | None = None,
) -> dict[str, str]:
    """Everything a service's processes get as their environment.

    Later wins: the caller's, as :data:`INHERITED` lists; ``NVOI_STATE`` and
    ``NVOI_RELEASE``; a ``NVOI_MOUNT_<VOLUME>`` for each volume; what the config says.

    Args:
        application: the app.
        service: one of its services.
        state: where the app's volumes are.
        release: the name of the release it runs from.
        environ: the caller's environment.
        port: for a trial, the port to listen on instead of the service's own.
    """
    database = application.database
    is_sqlite = database is not None and database.engine == "sqlite3"
    volume = next(iter(database.mount), None) if database is not None and is_sqlite else None
    environment = build_inherited(environ) | build_marks(state, release)
    for name in (*service.mounts, *([volume] if volume else [])):
        environment[build_mount_name(name)] = str(state.volumes / name)
    configured = build_environment(
        application, service, sqlite_mount=str(state.volumes / volume) if volume else None
    )
    environment |= configured
    if port is not None:
        environment["PORT"] = str(port)
    return environment


def build_launcher(
    service: str, release: Path, command: str, environment: Mapping[str, str]
) -> str:
    """The script that becomes ``command`` in ``release`` with exactly ``environment``."""
    unwanted = [name for name in (*INHERITED, *ADDED_BY_SUPERVISOR) if name not in environment]
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


def write_launcher(path: Path, text: str) -> None:
    """Write a launcher that only this user can read and run; makes its folder."""
    make_private(path.parent)
    write_private(path, text, mode=PRIVATE)
