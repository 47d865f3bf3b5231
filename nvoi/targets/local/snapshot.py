"""Steps: the checkout becomes a release with links to its volumes; old releases go.

A ``mounts`` path that is relative becomes a link in the release. An absolute one cannot be
mounted without root: the service finds the folder by ``NVOI_MOUNT_<VOLUME>`` (upper case,
``-`` as ``_``), which is set for relative ones too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

from nvoi.errors import NvoiError
from nvoi.folders import remove_tree
from nvoi.log.levels import get_logger
from nvoi.log.rendering import format_count
from nvoi.operation import Step
from nvoi.outcome import STAMP_FORMAT
from nvoi.source import copy_entry
from nvoi.targets import read_checkout
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.programs import build_mount_name, stop_leftovers
from nvoi.targets.local.state import PRIVATE, StateFolder, find_size, make_private, replace_link
from nvoi.waiting import Reminder

log = get_logger(__name__)

#: A release of more says what makes it so large, before it is copied.
LARGE_BYTES = 50_000_000
MEGABYTE = 1_000_000


def run_snapshot(context: LocalContext) -> None:
    folder, names = context.request.directory, read_checkout(context.request).names
    make_private(context.state.releases)
    # Set before the folder is made, so that an interruption from here on removes it.
    context.release = build_name(context.state, datetime.now(UTC))
    sizes = {name: find_size(folder / name) for name in names}
    tell_size(sizes)
    copied = copy(folder, context.state.releases / context.release, sizes)
    files, size = format_count(copied, "file"), format_bytes(sum(sizes.values()))
    log.info("release %s: %s, %s, from %s", context.release, files, size, folder)


def tell_size(sizes: Mapping[str, int]) -> None:
    """Say what makes a release large, where it is."""
    total = sum(sizes.values())
    if total < LARGE_BYTES:
        return
    parts: Counter[str] = Counter()
    for name, size in sizes.items():
        parts[name.partition("/")[0]] += size
    largest = ", ".join(f"{name} {format_bytes(size)}" for name, size in parts.most_common(3))
    files = format_count(len(sizes), "file")
    log.info("copying %s in %s: %s", format_bytes(total), files, largest)


def copy(folder: Path, release: Path, sizes: Mapping[str, int]) -> int:
    """Make a release of the files that ``sizes`` names, and say now and then how far that is.

    Returns how many of them were still there.
    """
    release.mkdir(mode=PRIVATE)
    reminder, total = Reminder("the copy", log), format_bytes(sum(sizes.values()))
    copied = done = 0
    for name, size in sizes.items():
        copied += copy_entry(folder / name, release / name)
        done += size
        reminder.tell(f"{format_bytes(done)} of {total}")
    return copied


def format_bytes(number: int) -> str:
    """``812 bytes``, ``12 kB`` or ``300 MB``."""
    if number >= MEGABYTE:
        return f"{number / MEGABYTE:,.0f} MB"
    return f"{number / 1000:.0f} kB" if number >= 1000 else format_count(number, "byte")  # noqa: PLR2004 - a kilobyte


def undo_snapshot(context: LocalContext) -> None:
    """Remove the release, and end what its commands have left running in it."""
    if context.release:
        stop_leftovers(context.state, context.release)
        context.state.remove_release(context.release)


def plan_snapshot(context: LocalContext) -> Iterator[str]:
    yield f"would make a new release in {context.state.releases}"
    # Read behind the first line: a run asks only whether there is one.
    names = read_checkout(context.request).names
    yield f"would copy {format_count(len(names), 'file')} of {context.request.directory} to it"


def build_name(state: StateFolder, now: datetime) -> str:
    """A name that is later than every release's, also in the same second or with the clock back."""
    name = now.strftime(STAMP_FORMAT)
    latest = max((name for name in state.list_releases() if name.isdigit()), default="")
    if name > latest:
        return name
    after = datetime.strptime(latest, STAMP_FORMAT).replace(tzinfo=UTC) + timedelta(seconds=1)
    return after.strftime(STAMP_FORMAT)


def run_volumes(context: LocalContext) -> None:
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


def plan_volumes(context: LocalContext) -> Iterator[str]:
    for volume in list_volumes(context):
        folder = context.state.volumes / volume
        yield f"would keep {folder}" if folder.is_dir() else f"would make {folder}"
    for service, volume, path in list_mounts(context):
        folder = context.state.volumes / volume
        if PurePosixPath(path).is_absolute():
            yield f"would tell {service} by {build_mount_name(volume)} that {path} is {folder}"
        else:
            check_parents(context, service, path)
            yield f"would link {path} of the release to {folder}"


def check_parents(context: LocalContext, service: str, path: str) -> None:
    """See, before there is a release, that a mount's way in it will be plain folders."""
    directory = context.request.directory
    parents = {str(parent) for parent in PurePosixPath(path).parents}
    for name in sorted(parents.intersection(read_checkout(context.request).names)):
        if (directory / name).is_symlink() or not (directory / name).is_dir():
            raise build_mount_error(f"{service}: {path}", name, directory / name)


def list_volumes(context: LocalContext) -> list[str]:
    volumes = [volume for _, volume, _ in list_mounts(context)]
    return list(dict.fromkeys([*volumes, *context.sqlite_volumes]))


def list_mounts(context: LocalContext) -> list[tuple[str, str, str]]:
    return [
        (service.name, volume, path)
        for service in context.services
        for volume, path in service.mounts.items()
    ]


def link_mount(release: Path, service: str, path: str, folder: Path) -> None:
    """Put a link in the place of what the checkout has there: a mount hides that, too."""
    link = release / path
    make_parents(release, link.parent, f"{service}: {path}")
    if link.is_dir() and not link.is_symlink():
        remove_tree(link)
    replace_link(link, folder)


def make_parents(release: Path, parent: Path, mount: str) -> None:
    """Make the folders from ``release`` down to ``parent``, through no link.

    What stands behind one may be the user's own data, outside the release, or another volume.
    """
    place = release
    for part in parent.relative_to(release).parts:
        place /= part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise build_mount_error(mount, str(place.relative_to(release)), place)
        place.mkdir(exist_ok=True)


def build_mount_error(mount: str, name: str, place: Path) -> NvoiError:
    kind = "link" if place.is_symlink() else "file"
    return NvoiError(
        f"{mount} cannot be mounted: {name} is a {kind} in the checkout",
        hint="mount the volume at a path whose parents are plain folders",
    )


def run_prune(context: LocalContext) -> None:
    for release in list_surplus(context, context.state.list_releases()):
        log.info("removing release %s", release)
        context.state.remove_release(release)


def plan_prune(context: LocalContext) -> Iterator[str]:
    """Say which releases would be removed: a deploy adds one."""
    releases = context.state.list_releases()
    new = "the new release"
    for release in list_surplus(context, [*releases, new], current=new):
        yield f"would remove release {release}"


def list_surplus(
    context: LocalContext, releases: list[str], *, current: str | None = None
) -> list[str]:
    serving = current or context.state.find_current()
    old = [release for release in releases if release != serving]
    return old[: max(0, len(old) - context.application.keep_count)]


SNAPSHOT = Step("Copy the release", run=run_snapshot, plan=plan_snapshot, undo=undo_snapshot)
VOLUMES = Step("Make the volumes", run=run_volumes, plan=plan_volumes)
PRUNE = Step("Remove old releases", run=run_prune, plan=plan_prune)
