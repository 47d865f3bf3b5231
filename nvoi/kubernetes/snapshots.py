"""What a look at the cluster has shown."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Self

from nvoi.errors import ServiceError
from nvoi.kubernetes.names import NAMESPACE
from nvoi.kubernetes.ownership import KINDS, Json, Reference, read_items


@dataclass(frozen=True)
class Snapshot:
    """Objects of one namespace; ``items`` are all but the pods and events."""

    items: tuple[Json, ...] = ()
    pods: tuple[Json, ...] = ()
    events: tuple[Json, ...] = ()

    def with_events(self, events: tuple[Json, ...]) -> Self:
        """The same with other events."""
        return replace(self, events=events)


def read_objects(text: str) -> tuple[Json, ...]:
    """The objects in what ``kubectl get --output=json`` printed.

    Raises:
        ServiceError: it is no such thing.
    """
    try:
        return read_items(json.loads(text))
    except (ValueError, TypeError, AttributeError) as error:
        # Not the text, which may hold anything.
        raise ServiceError(f"the cluster's answer cannot be read: {type(error).__name__}") from None


def read_names(text: str, namespace: str = NAMESPACE) -> frozenset[Reference]:
    """The objects that ``kubectl get --output=name`` printed, such as ``deployment.apps/NAME``.

    Kinds that nvoi does not make are left out.
    """
    kinds = {kind.lower(): kind for kind in KINDS}
    pairs = (line.split("/", 1) for line in text.split())
    return frozenset(
        Reference(kinds[kind], name, namespace)
        for resource, name in pairs
        if (kind := resource.partition(".")[0]) in kinds
    )


def read_snapshot(text: str) -> Snapshot:
    """What ``kubectl get --output=json`` printed, by kinds.

    Raises:
        ServiceError: it is no such thing.
    """
    objects = read_objects(text)
    return Snapshot(
        items=tuple(item for item in objects if item["kind"] not in {"Pod", "Event"}),
        pods=tuple(item for item in objects if item["kind"] == "Pod"),
        events=tuple(item for item in objects if item["kind"] == "Event"),
    )
