"""Servers that a deploy goes on without, as they are away: workers that hold no data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nvoi.config.schema import Application
from nvoi.errors import NvoiError
from nvoi.k3s.drain import list_claims
from nvoi.k3s.nodes import ClusterNode
from nvoi.kubernetes.names import build_app_selector
from nvoi.kubernetes.ownership import is_going, read_reference
from nvoi.log.levels import get_logger
from nvoi.providers import Server
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.state import Json

log = get_logger("nvoi.k3s")


def find_spare(context: ClusterContext) -> frozenset[str]:
    """The servers that a deploy may go on without, by their names."""
    if context.request.require_all_servers:
        return frozenset()
    servers = context.survey.servers
    return frozenset(one.name for one in servers if not one.is_master and not one.volumes)


def leave_out(context: ClusterContext, away: Mapping[str, ClusterNode]) -> None:
    """Go on without the servers in ``away``, which has their nodes by their names.

    Raises:
        NvoiError: one of them has data of a database, or something can run nowhere else.
    """
    survey = context.survey
    present = tuple(server for server in survey.servers if server.name not in away)
    for server in survey.servers if away else ():
        node = away.get(server.name)
        if node is None:
            continue
        needs = [*find_needs(context.application, server, present)]
        needs += [f"data of {claim} is on it" for claim in list_claims(context.cluster, node.name)]
        if needs:
            raise NvoiError(
                f"{server.host}: its node is {node.state}, and {'; '.join(needs)}",
                hint="bring the server back, or take it out of the config",
            )
        log.warning("%s: its node is %s: the deploy goes on without it", server.host, node.state)
        survey.away = (*survey.away, node.name)
    survey.servers = present


def find_needs(application: Application, server: Server, others: Sequence[Server]) -> Iterator[str]:
    """What cannot run on any of the other servers."""
    groups = {one.group for one in others}
    services: dict[str, Any] = {**application.services, **application.app}
    if application.database is not None:
        services["database"] = application.database
    for name, service in services.items():
        if server.group in service.servers and groups.isdisjoint(service.servers):
            yield f"{name} can run nowhere else"


def free_pods(context: ClusterContext, nodes: Iterable[ClusterNode]) -> None:
    """Delete the pods of the app's Deployments on nodes that are away: new ones start elsewhere.

    Kubernetes itself does that after five minutes.
    """
    names = {*context.survey.away, *(node.name for node in context.survey.leaving)}
    own = build_app_selector(context.application.name)
    for node in nodes:
        if node.is_ready or node.name not in names:
            continue
        pods = context.cluster.get(["pods"], selector=own, fields=f"spec.nodeName={node.name}")
        gone = [read_reference(pod) for pod in pods if is_replica(pod) and not is_going(pod)]
        if gone:
            log.info("%s: what was on it starts elsewhere", node.name)
            context.cluster.delete(gone, wait=False)


def is_replica(pod: Json) -> bool:
    """Whether a pod is one of a Deployment's."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return any(owner["kind"] == "ReplicaSet" for owner in owners)
