"""Contexts of runs that have seen a cluster; nothing is reached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nvoi.config.schema import Config
from nvoi.errors import NvoiError
from nvoi.k3s.nodes import build_marker
from nvoi.kubernetes.manifests import Manifests, build_manifests
from nvoi.kubernetes.names import NAMESPACE, SERVER_GROUP
from nvoi.kubernetes.ownership import Reference, read_reference
from nvoi.kubernetes.releases import build_record
from nvoi.operation import Request
from nvoi.providers.ssh import OwnServers
from nvoi.ssh.connections import build_connections
from nvoi.ssh.routes import Routes
from nvoi.targets.cluster.context import ClusterContext, Rollout
from nvoi.targets.cluster.state import State
from tests.unit.config.texts import parse, ssh
from tests.unit.kubernetes.configs import build_release

STAMPS = tuple(f"2026010{day}000000" for day in range(1, 7))
DATABASE = (
    "\ndatabase: {servers: [main], adapter: postgres, secrets: "
    "{POSTGRES_USER: u, POSTGRES_PASSWORD: p, POSTGRES_DB: d}}"
)
SERVERS = "servers: {main: {host: 10.0.0.1}}\n"
WEB = SERVERS + "app: {web: {servers: [main], port: 3000}}"


def build(text: str, stamp: str) -> Manifests:
    """The manifests of a release."""
    return build_manifests(build_release(ssh(text), stamp=stamp))


def record(
    stamp: str,
    before: str | None = None,
    *,
    text: str = WEB,
    image: str | None = None,
    begun: bool = False,
) -> Any:
    """The record of a release, as the cluster has it; each runs an image of its own, or this."""
    release = build_release(ssh(text), stamp=stamp, image=image or f"registry.example/web:{stamp}")
    made = build_manifests(release)
    manifests = (*made.database, *made.services, *made.apps)
    return build_record(release, manifests, before=before, is_begun=begun)


def build_node(group: str, app: str = "shop") -> Any:
    """A node of an app, as the cluster has it."""
    labels = {SERVER_GROUP: group, build_marker(app): "true"}
    return {"kind": "Node", "metadata": {"name": f"{group}-1", "labels": labels}}


def serving(item: Any) -> Any:
    """A workload that is ready, as the cluster has it."""
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), 1)
    status = counts | {"availableReplicas": 1, "observedGeneration": 1}
    return item | {"metadata": item["metadata"] | {"generation": 1}, "status": status}


def find_namespace(item: Any, default: str | None) -> str | None:
    """Where an object is; one that does not say it is where it is looked for."""
    found: str | None = item.get("metadata", {}).get("namespace", default)
    return found


class LiveCluster:
    """In the place of a cluster: keeps what it was asked for, and refuses what it is told to.

    ``found`` are its objects by what the API calls their kinds; ``given`` are the manifests that
    it was given last, by what it was to do with them.
    """

    def __init__(self, **found: Iterable[Any]) -> None:
        self.found = found
        self.refuses: dict[str, NvoiError] = {}
        self.looks: list[str] = []
        self.asked: list[tuple[str, list[str]]] = []
        self.given: dict[str, list[Any]] = {}

    def get(
        self, kinds: Sequence[object], *, namespace: str | None = NAMESPACE, **_: object
    ) -> tuple[Any, ...]:
        # Queries are asked for together: for all that an app may have.
        names = [kind for kind in kinds if isinstance(kind, str)] or ["all"]
        self.looks += names
        found = (item for name in names for item in self.found.get(name, ()))
        return tuple(item for item in found if namespace in {None, find_namespace(item, namespace)})

    def find_existing(self, _references: object) -> frozenset[Reference]:
        return frozenset()

    def apply(self, manifests: Iterable[Any], **_: object) -> tuple[Any, ...]:
        return self._give("apply", manifests)

    def roll_out(self, manifests: Iterable[Any], **_: object) -> tuple[Any, ...]:
        return self._give("roll out", manifests)

    def restore(self, before: Iterable[Any], created: Iterable[Reference], **_: object) -> None:
        self._give("restore", before)
        self.take("remove", created)

    def change(self, reference: Reference, _change: object) -> None:
        self.take("change", [reference])

    def delete(self, references: Iterable[Reference], *, wait: bool = True) -> None:
        self.take("delete" if wait else "delete later", references)

    def follow(self, references: Iterable[Reference], *_: object, **__: object) -> None:
        self.take("follow", references)

    def note_pods(self, selector: str) -> None:
        self.take("note", [selector])

    def free_crashing(self, selector: str) -> None:
        self.take("free", [selector])

    def take(self, verb: str, references: Iterable[object]) -> None:
        self.asked.append((verb, [str(one) for one in references]))
        if verb in self.refuses:
            raise self.refuses[verb]

    def _give(self, verb: str, manifests: Iterable[Any]) -> tuple[Any, ...]:
        self.given[verb] = [*manifests]
        self.take(verb, map(read_reference, self.given[verb]))
        return (*self.given[verb],)


def connect(context: ClusterContext, cluster: Any) -> Any:
    """Have a run meet this cluster."""
    context.__dict__["cluster"] = cluster
    return cluster


def build_disk(node: str, claim: str = "data-db-shop-0") -> Any:
    """A disk on a node, as the cluster has it."""
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    reference = {"namespace": "default", "name": claim}
    spec = {"claimRef": reference, "nodeAffinity": {"required": terms}}
    return {"metadata": {"name": "disk"}, "spec": spec}


def see(live: Iterable[Any], *, text: str = WEB, stamp: str | None = None) -> ClusterContext:
    """The context of a run of the config ``text`` that has read ``live``."""
    config: Config = parse(ssh(text))
    context = ClusterContext(
        request=Request(config, Path(), Path(), "run", stamp=stamp),
        provider=OwnServers(config.application, Routes()),
        connections=build_connections(config.application.ssh_keys, Path(), {}),
        stack=ExitStack(),
        moment=datetime.now(UTC),
        rollout=Rollout(STAMPS[-1]),
    )
    context.state = State(context.application.name, (*live,))
    return context
