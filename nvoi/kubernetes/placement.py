"""Where workloads run and their data is, and what becomes of both where the config changes.

A workload that is given another place finds no data there, and a database makes a new, empty one.
What comes back, of a release that is gone back to or taken back, runs on the servers that it had,
or where the config has it now: its server groups may have been renamed or removed since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from nvoi.errors import NvoiError
from nvoi.kubernetes.names import NAME, NAMESPACE, SECRET_CHECKSUM, SERVER_GROUP
from nvoi.kubernetes.ownership import (
    WORKLOADS,
    Json,
    Manifest,
    get_label,
    is_adopted,
    read_reference,
)
from nvoi.kubernetes.pods import stamp_template
from nvoi.kubernetes.releases import ReleaseRecord
from nvoi.log.levels import get_logger

log = get_logger("nvoi.cluster")

DATABASE = "the database"
#: What of a pod's spec holds it to nodes.
PLACEMENT = ("nodeSelector", "affinity")


@dataclass(frozen=True)
class DataLocation:
    """Where a workload has data: a folder of its servers, or a disk that the cluster found."""

    name: str
    groups: tuple[str, ...]
    is_disk: bool = False

    @property
    def claim(self) -> str:
        """Of a disk, ``NAMESPACE/CLAIM``."""
        return f"{NAMESPACE}/{self.name.rpartition('/')[2]}"

    def __str__(self) -> str:
        """As it reads after "its data is"."""
        location = (
            f"on {self.name}, a disk that the cluster found" if self.is_disk else f"in {self.name}"
        )
        return f"{location}, on a server of {' or '.join(self.groups)}" if self.groups else location


@dataclass(frozen=True)
class Move:
    """Data of a service that a release would leave behind ``before`` and look for ``after``.

    Without ``after`` the service has no data any more; where both are the same nothing is there.
    """

    service: str
    before: DataLocation
    after: DataLocation | None = None

    @property
    def is_possible(self) -> bool:
        """Whether there can be data at the new location: a disk never leaves its server."""
        return (
            self.after is None or self.before == self.after or self.before.name != self.after.name
        )

    def __str__(self) -> str:
        if self.after is None:
            return f"the data of {self.service} is {self.before}; the config mounts it nowhere"
        if self.after == self.before:
            return f"the data of {self.service} should be {self.before}; that folder is not there"
        if not self.is_possible:
            groups = " or ".join(self.after.groups)
            return (
                f"the data of {self.service} is {self.before}; it cannot follow to {groups}: give "
                f"{self.service} a `mount` there"
            )
        return f"the data of {self.service} is {self.before}; the config has it {self.after}"


def list_moves(
    live: Iterable[Json], wanted: Iterable[Manifest], lacking: Collection[str] = ()
) -> list[Move]:
    """What ``wanted`` would leave behind of the data that ``live`` uses, the app's objects.

    What is not among ``wanted`` is removed, and its data kept: that is no move. ``lacking`` are
    folders that a server should have and has not.
    """
    old = {read_reference(item): item for item in live if item["kind"] in WORKLOADS}
    return [
        move
        for item in wanted
        if (reference := read_reference(item)) in old
        for move in list_moves_of(
            name_service(item), list_locations(old[reference]), list_locations(item), lacking
        )
    ]


def name_service(item: Manifest) -> str:
    return DATABASE if item["kind"] == "StatefulSet" else str(get_label(item, NAME))


def list_moves_of(
    service: str, before: list[DataLocation], after: list[DataLocation], lacking: Collection[str]
) -> Iterator[Move]:
    names = [location.name for location in after]
    for location in before:
        if location.name not in names:
            yield Move(service, location, next((one for one in after if one not in before), None))
        elif location.is_disk and not {*location.groups} <= {
            *after[names.index(location.name)].groups
        }:
            yield Move(service, location, after[names.index(location.name)])
        elif not location.is_disk and location.name in lacking:
            yield Move(service, location, location)
    # A database has its data on the first of its volumes.
    if service == DATABASE and before and before[0].name in names[1:]:
        yield Move(service, before[0], after[0])


def list_locations(item: Json | Manifest) -> list[DataLocation]:
    """The locations of a workload's data, in the order of its mounts."""
    spec: Any = item["spec"]
    pod, groups = spec["template"]["spec"], list_allowed_groups(item)
    folders = {
        one["name"]: one["hostPath"]["path"]
        for one in pod.get("volumes") or ()
        if "hostPath" in one
    }
    disks = {
        name: f"persistentvolumeclaim/{name}-{read_reference(item).name}-0"
        for one in spec.get("volumeClaimTemplates") or ()
        if (name := one["metadata"]["name"])
    }
    mounted = dict.fromkeys(
        mount["name"] for one in pod["containers"] for mount in one.get("volumeMounts") or ()
    )
    return [
        DataLocation(disks.get(name) or folders[name], groups, is_disk=name in disks)
        for name in mounted
        if name in disks or name in folders
    ]


def list_allowed_groups(item: Json | Manifest) -> tuple[str, ...]:
    """The server groups that a workload may run on; empty is all."""
    spec: Any = item["spec"]
    pod = spec["template"]["spec"]
    selected = (pod.get("nodeSelector") or {}).get(SERVER_GROUP)
    if selected:
        return (selected,)
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    return tuple(
        group
        for term in required.get("nodeSelectorTerms") or ()
        for expression in term.get("matchExpressions") or ()
        if expression["key"] == SERVER_GROUP
        for group in expression["values"]
    )


def place_records(
    records: Iterable[ReleaseRecord], wanted: Iterable[Manifest], groups: Collection[str]
) -> list[ReleaseRecord]:
    """Releases where they would run now: by that it is told which are the same."""
    items = [*wanted]
    return [replace(one, manifests=(*place(one.manifests, items, groups),)) for one in records]


def place(
    items: Iterable[Manifest], wanted: Iterable[Manifest], groups: Collection[str]
) -> Iterator[Manifest]:
    """``items``, those that are held to groups without a server moved to where ``wanted`` is held.

    Args:
        items: what is put back.
        wanted: what the config says.
        groups: the server groups that there are.
    """
    others = {read_reference(item): item for item in wanted if not is_lost(item, groups)}
    for item in items:
        other = others.get(read_reference(item))
        yield hold_to_servers_of(item, other) if other and is_lost(item, groups) else item


def check_placement(record: ReleaseRecord, placed: ReleaseRecord, groups: Collection[str]) -> None:
    """Tell what of a release was placed anew, and see that there are servers for all of it.

    Raises:
        NvoiError: for a service there is none.
    """
    for item, now in zip(record.apps, placed.apps, strict=True):
        name, before = read_reference(item), " or ".join(list_held_groups(item))
        if is_lost(now, groups):
            raise NvoiError(
                f"release {record.stamp} has {name} on servers of {before}, and none is in that "
                "group any more",
                hint="check its commit out and deploy it, which puts the servers into its groups",
            )
        if item is not now:
            after = " or ".join(list_held_groups(now))
            log.info("%s is placed on %s, as no server is in %s any more", name, after, before)


def list_held_groups(item: Manifest) -> tuple[str, ...]:
    """The server groups that something is held to; empty where that is none."""
    return list_allowed_groups(item) if item["kind"] in WORKLOADS and not is_adopted(item) else ()


def is_lost(item: Manifest, groups: Collection[str]) -> bool:
    """Whether something is held to groups that no server is in."""
    own = list_held_groups(item)
    return bool(own) and {*own}.isdisjoint(groups)


def hold_to_servers_of(item: Manifest, other: Manifest) -> Manifest:
    """A workload as it is, on the servers that ``other`` is held to."""
    spec: Any = item["spec"]
    wanted: Any = other["spec"]
    template = spec["template"]
    pod = {key: value for key, value in template["spec"].items() if key not in PLACEMENT}
    others = wanted["template"]["spec"].items()
    pod |= {key: value for key, value in others if key in PLACEMENT}
    labels = template["metadata"]["labels"]
    checksum = template["metadata"]["annotations"][SECRET_CHECKSUM]
    metadata = {"labels": labels, "annotations": {SECRET_CHECKSUM: checksum}}
    stamped = stamp_template({"metadata": metadata, "spec": pod}, labels, checksum)
    return item | {"spec": spec | {"template": stamped}}
