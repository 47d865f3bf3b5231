"""Contexts of runs that have seen a cluster; nothing is reached."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nvoi.config.schema import Config
from nvoi.k3s.nodes import build_marker
from nvoi.kubernetes.manifests import Manifests, build_manifests
from nvoi.kubernetes.names import SERVER_GROUP
from nvoi.kubernetes.releases import build_record
from nvoi.operation import Request
from nvoi.providers.ssh import OwnServers
from nvoi.ssh.connections import build_connections
from nvoi.targets.cluster.context import ClusterContext, Rollout
from nvoi.targets.cluster.state import State
from tests.unit.config.texts import parse, ssh
from tests.unit.kubernetes.configs import build_release

STAMPS = tuple(f"2026010{day}000000" for day in range(1, 7))
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


def see(live: Iterable[Any], *, text: str = WEB, stamp: str | None = None) -> ClusterContext:
    """The context of a run of the config ``text`` that has read ``live``."""
    config: Config = parse(ssh(text))
    context = ClusterContext(
        request=Request(config, Path(), Path(), "run", stamp=stamp),
        provider=OwnServers(),
        connections=build_connections(config.application.ssh_keys, Path(), {}),
        stack=ExitStack(),
        moment=datetime.now(UTC),
        rollout=Rollout(STAMPS[-1]),
    )
    context.state = State(context.application.name, (*live,))
    return context
