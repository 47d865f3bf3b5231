"""The local target: the app's services on this machine, kept by supervisord.

No root, no containers, no account: anyone can try a config, a dashboard or a pipeline.
Releases and state are described in :mod:`nvoi.targets.local.state`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from nvoi.config.schema import Application
from nvoi.errors import ConfigError, Fault
from nvoi.log.levels import get_logger
from nvoi.operation import Request, Step, Target
from nvoi.targets.local.context import LocalContext, open_context, preview, require_extra
from nvoi.targets.local.rollout import SWITCH, TRIAL
from nvoi.targets.local.snapshot import PRUNE, SNAPSHOT, VOLUMES
from nvoi.targets.local.steps import PORTS, PREPARE, RECOVERY, REMOVE, STOP, SUPERVISE

log = get_logger(__name__)

#: A volume is a folder here.
VOLUME_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
VOLUME_FAULT = "a volume's name is a folder's here: letters, digits, `.`, `_` and `-`"

#: What `nvoi deploy` does here. Until SWITCH the old release serves undisturbed.
DEPLOY: tuple[Step[LocalContext], ...] = (
    RECOVERY,
    PORTS,
    SNAPSHOT,
    VOLUMES,
    PREPARE,
    SUPERVISE,
    TRIAL,
    SWITCH,
    PRUNE,
)

#: What `nvoi delete` does here.
DELETE: tuple[Step[LocalContext], ...] = (STOP, REMOVE)


def check(request: Request) -> None:
    """Say what is passed over; raise a ConfigError of all that cannot run here.

    Its faults have no line: the document has been read long ago.
    """
    application = request.config.application
    faults = [Fault(0, 0, path, message) for path, message in find_faults(application)]
    if faults:
        raise ConfigError("config", faults)
    for message in find_limits(application):
        log.warning("%s", message)
    for service in application.app.values():
        if service.domain:
            log.info("%s: its domain is for servers; here it is on localhost", service.name)


def find_faults(application: Application) -> Iterator[tuple[str, str]]:
    """The path and the text of everything that rules a deploy out."""
    owners: dict[int, str] = {}
    for name, service in application.app.items():
        path = f"application.app.{name}"
        if not service.command:
            yield (
                f"{path}.command",
                "is required on this machine: there is no image whose command could run",
            )
        if service.port is not None and (owner := owners.setdefault(service.port, name)) != name:
            yield (
                f"{path}.port",
                f"{service.port} is the port of {owner} too: on one machine each needs its own",
            )
    yield from find_mount_faults(application)
    database = application.database
    if database is not None and database.engine in {"postgres", "mysql"} and not database.url:
        yield (
            "application.database.url",
            f"is required on this machine: name a {database.engine} server that runs already",
        )


def find_mount_faults(application: Application) -> Iterator[tuple[str, str]]:
    """Mounts that would leave their folder, or hide one another: all services share a release."""
    for volume in application.database.mount if application.database else ():
        if not VOLUME_NAME.fullmatch(volume):
            yield f"application.database.mount.{volume}", VOLUME_FAULT
    volumes: dict[PurePosixPath, str] = {}
    for name, service in application.app.items():
        for volume, text in service.mounts.items():
            place, path = f"application.app.{name}.mounts.{volume}", PurePosixPath(text)
            if not VOLUME_NAME.fullmatch(volume):
                yield place, VOLUME_FAULT
            if path.is_absolute():
                continue
            if not path.parts or ".." in path.parts:
                yield place, f"{text!r} is no folder below the app's own"
                continue
            volumes.setdefault(path, volume)
            yield from ((place, fault) for fault in find_overlaps(volumes, path, volume))


def find_overlaps(
    volumes: Mapping[PurePosixPath, str], path: PurePosixPath, volume: str
) -> Iterator[str]:
    """Why ``volume`` cannot be mounted at ``path``, next to what is mounted already."""
    if volumes[path] != volume:
        yield f"{str(path)!r} is where volume {volumes[path]} is mounted"
    for other in volumes:
        # What stands where the inner one goes, in the outer one's data, would be removed.
        if path in other.parents or other in path.parents:
            yield f"{str(path)!r} and {str(other)!r} are mounted one inside the other"


def find_limits(application: Application) -> Iterator[str]:
    if not application.app:
        yield "application.app names no service: nothing will run"
    for name, service in application.app.items():
        if service.replicas is not None and service.replicas > 1:
            yield f"{name}: replicas are ignored on this machine, one process runs"
    for name, auxiliary in application.services.items():
        yield (
            f"services.{name} is not started: {auxiliary.image} needs containers, which the local "
            "target does not run; start it yourself where the app needs it"
        )


TARGET: Target[LocalContext] = Target(
    name="local",
    check=check,
    open=open_context,
    preview=preview,
    deploy=DEPLOY,
    delete=DELETE,
)

__all__ = ["DELETE", "DEPLOY", "TARGET", "LocalContext", "require_extra"]
