"""Where what comes back runs: on the servers that it had, or where the config has it now.

A deploy may have renamed or removed its server groups since, also one that was cut off.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

from nvoi.errors import NvoiError
from nvoi.k3s.nodes import ClusterNode, build_marker
from nvoi.kubernetes.data import list_groups
from nvoi.kubernetes.names import SECRET_CHECKSUM, SERVER_GROUP
from nvoi.kubernetes.ownership import WORKLOADS, Manifest, is_adopted, read_reference
from nvoi.kubernetes.pods import stamp_template
from nvoi.kubernetes.releases import ReleaseRecord
from nvoi.log.levels import get_logger

log = get_logger("nvoi.cluster")

#: What of a pod's spec holds it to nodes.
PLACEMENT = ("nodeSelector", "affinity")


def find_groups(app: str, nodes: Iterable[ClusterNode]) -> set[str]:
    own = build_marker(app)
    groups = (node.labels.get(SERVER_GROUP) for node in nodes if own in node.markers)
    return {group for group in groups if group}


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
        yield move(item, other) if other and is_lost(item, groups) else item


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
    return list_groups(item) if item["kind"] in WORKLOADS and not is_adopted(item) else ()


def is_lost(item: Manifest, groups: Collection[str]) -> bool:
    """Whether something is held to groups that no server is in."""
    own = list_held_groups(item)
    return bool(own) and {*own}.isdisjoint(groups)


def move(item: Manifest, other: Manifest) -> Manifest:
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
