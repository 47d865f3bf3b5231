"""What is told of rented servers, whichever the cloud: plans and faults. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from nvoi.config.schema import Application
from nvoi.errors import Fault, NvoiError
from nvoi.invocation import name_command
from nvoi.providers.inventory import Inventory, Resource
from nvoi.providers.rented import list_wanted

AS_IT_IS_TO_BE = "has all that the config names, as it is to be"


T = TypeVar("T")


def describe_wanted(application: Application) -> Iterator[str]:
    """What the config names, where nobody knows what of it is there."""
    for server in list_wanted(application):
        place = f" in {server.location}" if server.location else ""
        yield f"needs server {server.name}, a {server.type}{place}"
        for volume in server.volumes:
            yield f"needs volume {volume.name}, {volume.size} GB"


def describe_changes(
    seen: Inventory[Any], shared: Iterable[str], *, with_volumes: bool
) -> list[str]:
    """What is made, changed and removed, a line each; ``shared`` is of what all servers have."""
    lines = [*shared, *describe_parts(seen)]
    lines += [f"takes over {one}, and labels it" for one in seen.strangers]
    lines += describe_surplus(seen, with_volumes=with_volumes)
    return lines or [AS_IT_IS_TO_BE]


def describe_deletion(resources: Iterable[Resource], kept: Collection[Resource]) -> list[str]:
    """What is deleted and what stays, a line each."""
    lines = []
    for one in resources:
        if one.is_data:
            lines.append(describe_volume(one.name, goes=one not in kept))
        else:
            lines.append(f"deletes {one}{f', a {one.type}' if one.is_server else ''}")
    return lines


def describe_parts(seen: Inventory[Any]) -> Iterator[str]:
    """The servers and volumes that are made, and those that grow."""
    for server in seen.wanted:
        place = seen.get_place(server)
        if seen.find_server(server.name) is None:
            yield f"makes server {server.name}, a {server.type} in {place}"
        for volume in server.volumes:
            found = seen.find_data(volume.name)
            if found is None:
                yield f"makes volume {volume.name}, {volume.size} GB in {place}"
            elif found.size < volume.size:
                sizes = f"from {found.size} GB to {volume.size} GB"
                yield f"extends volume {volume.name} {sizes}"


def describe_silence(error: NvoiError) -> str:
    return f"cannot ask what there is: {error}"


def describe_closing(firewall: str, ports: Iterable[int]) -> str:
    """What becomes of ports that the release before may need."""
    return f"closes {describe_ports(ports)} of {firewall}, once the new release serves"


def describe_ports(ports: Iterable[int]) -> str:
    return " and ".join(f"tcp/{port}" for port in ports)


def describe_surplus(seen: Inventory[Any], *, with_volumes: bool) -> Iterator[str]:
    """What becomes of all that the config no longer names."""
    for server in seen.surplus:
        yield f"deletes server {server.name}, which the config no longer names"
    for volume in seen.surplus_data:
        yield describe_volume(volume.name, goes=with_volumes)


def describe_volume(name: str, *, goes: bool) -> str:
    """What becomes of a disk with data."""
    if goes:
        return f"deletes volume {name} with all its data"
    return f"keeps volume {name}; --delete-volumes deletes it"


def build_left_error(cloud: str, left: Mapping[T, NvoiError | None], hint: str) -> NvoiError:
    """The error of what could not be deleted, with the reasons that are known."""
    lines = [f"{one}: {error.message}" if error else str(one) for one, error in left.items()]
    return NvoiError(f"left at {cloud}: {'; '.join(lines)}", hint=hint)


def build_moved_error(there: str, wanted: str, trace: object, key: str) -> NvoiError:
    """The error of an app that is elsewhere already: its cluster cannot be in two regions.

    Args:
        trace: what says so.
        key: what of the config says where it is to be.
    """
    return NvoiError(
        f"the app is in {there} already, and the config says {wanted}: {trace}",
        hint=f"set the {key} that it had again; to move it, save the data, and run "
        f"{name_command('delete --delete-volumes')} first",
    )


def build_strangers_error(
    cloud: str, strangers: Iterable[object], mark: str, place: str
) -> NvoiError:
    """The error of a delete that leaves what bears the app's names, and no ``mark`` of anybody."""
    return NvoiError(
        f"left at {cloud}: {', '.join(map(str, strangers))}: no {mark} says whose they are",
        hint=f"delete them {place}, or take them over by {name_command('deploy --adopt')}",
    )


def list_volume_faults(seen: Inventory[Any], word: str) -> Iterator[Fault]:
    """Why volumes cannot be as the config says; ``word`` is the cloud's for their places."""
    for server, volume in seen.list_volumes():
        found, place = seen.find_data(volume.name), seen.get_place(server)
        if found is not None and found.size > volume.size:
            message = f"the volume has {found.size} GB, and none can shrink; give it these"
            yield Fault(0, 0, f"{volume.path}.size", message)
        if found is not None and found.place != place:
            message = f"the volume is in {found.place}, and its server in {place}"
            yield Fault(0, 0, volume.path, f"{message}; both must be in one {word}")
