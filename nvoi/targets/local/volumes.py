"""Step: folders that outlive releases, and links to them where the services look.

A ``mounts`` path that is relative becomes a link in the release. An absolute one cannot be
mounted without root: the service finds the folder by ``NVOI_MOUNT_<VOLUME>`` (upper case,
``-`` as ``_``), which is set for relative ones too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from nvoi.errors import NvoiError
from nvoi.log.levels import get_logger
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.launcher import build_mount_name
from nvoi.targets.local.state import guard_storage, make_private, remove_tree, replace_link
from nvoi.targets.step import Step

log = get_logger(__name__)


def run(context: LocalContext) -> None:
    """Make the folders and the links."""
    with guard_storage(context.state):
        for volume in list_volumes(context):
            make_private(context.state.volumes / volume)
        for service, volume, path in list_mounts(context):
            folder = context.state.volumes / volume
            if PurePosixPath(path).is_absolute():
                log.warning(
                    "%s: %s cannot be mounted without root; the folder is %s, in the service's %s",
                    service,
                    path,
                    folder,
                    build_mount_name(volume),
                )
            else:
                link_mount(context.state.releases / context.release, service, path, folder)


def plan(context: LocalContext) -> Iterator[str]:
    """Say which folders would be made, and which links."""
    for volume in list_volumes(context):
        folder = context.state.volumes / volume
        yield f"would keep {folder}" if folder.is_dir() else f"would make {folder}"
    for service, volume, path in list_mounts(context):
        folder = context.state.volumes / volume
        if PurePosixPath(path).is_absolute():
            yield f"would tell {service} by {build_mount_name(volume)} that {path} is {folder}"
        else:
            yield f"would link {path} of the release to {folder}"


def list_volumes(context: LocalContext) -> list[str]:
    """The volumes that the app's services and its sqlite3 database use."""
    volumes = {volume: None for _, volume, _ in list_mounts(context)}
    database = context.application.database
    if database is not None and database.engine == "sqlite3":
        volumes.update(dict.fromkeys(database.mount))
    return list(volumes)


def list_mounts(context: LocalContext) -> list[tuple[str, str, str]]:
    """Service, volume and path of every mount."""
    return [
        (service.name, volume, path)
        for service in context.services
        for volume, path in service.mounts.items()
    ]


def link_mount(release: Path, service: str, path: str, folder: Path) -> None:
    """Put a link in the place of what the checkout has there: a mount hides that, too.

    Raises:
        NvoiError: a folder on the way is a link or a file. What stands behind a link may be
            the user's own data, outside the release, or another volume.
    """
    link = release / path
    make_parents(release, link.parent, f"{service}: {path}")
    if link.is_dir() and not link.is_symlink():
        remove_tree(link)
    replace_link(link, folder)


def make_parents(release: Path, parent: Path, mount: str) -> None:
    """Make the folders from ``release`` down to ``parent``, through no link."""
    place = release
    for part in parent.relative_to(release).parts:
        place /= part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            kind = "link" if place.is_symlink() else "file"
            raise NvoiError(
                f"{mount} cannot be mounted: {place.relative_to(release)} is a {kind} in the "
                "checkout",
                hint="mount the volume at a path whose parents are plain folders",
            )
        place.mkdir(exist_ok=True)


VOLUMES = Step("Make the volumes", run=run, plan=plan)
