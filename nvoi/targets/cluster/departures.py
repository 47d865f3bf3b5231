"""Servers that leave, as the config no longer names them: held before the rollout, then removed.

They go once the release serves: until then, the one before it needs the servers that it runs on.
None goes with data unasked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from nvoi.errors import NvoiError, UsageError
from nvoi.invocation import name_command
from nvoi.k3s.drain import (
    check_claims,
    drain_nodes,
    hold_nodes,
    keep_nodes,
    list_claims,
    remove_nodes,
)
from nvoi.k3s.nodes import (
    ClusterNode,
    find_left,
    forget_app,
    format_address,
    list_nodes,
    list_other_apps,
)
from nvoi.kubernetes.names import SERVER_GROUP, build_app_selector
from nvoi.kubernetes.ownership import Reference, read_reference
from nvoi.log.levels import get_logger
from nvoi.operation import Step
from nvoi.parallel import work_on_all
from nvoi.providers import Server
from nvoi.providers.disks import build_detachment
from nvoi.providers.rented import list_volume_names, list_wanted
from nvoi.ssh.host import as_root
from nvoi.targets.cluster.context import ClusterContext

log = get_logger("nvoi.k3s")

#: Seconds that pods of servers that leave may take to start elsewhere.
MOVE_SECONDS = 600.0


def check_surplus(context: ClusterContext) -> None:
    """Find the rented servers that leave, before anything is changed.

    Raises:
        UsageError: they have volumes, or the cluster itself may be on them.
    """
    surplus = context.survey.surplus = context.provider.list_surplus()
    if not surplus:
        return
    names = ", ".join(server.name for server in surplus)
    if not any(server.is_master for server in context.provider.list_servers()):
        raise UsageError(
            f"the config names another master, and the cluster may be on {names}",
            hint="a cluster does not move: name its group as master again; or save the data, "
            f"{name_command('delete')}, and deploy anew",
        )
    disks = ", ".join(disk.name for server in surplus for disk in server.disks)
    if disks and not context.request.delete_volumes:
        raise UsageError(
            f"{names}: not in the config any more, and all data on {disks} would go",
            hint="name the group in the config again; or save the data, and deploy with "
            "--delete-volumes",
        )


def tell_surplus(context: ClusterContext) -> None:
    for server in context.survey.surplus:
        log.info(
            "%s is not in the config any more: it is drained once the new release serves, and "
            "given back%s",
            server.name,
            " with its volumes" if server.disks else "",
        )


def hold_servers(context: ClusterContext, nodes: Iterable[ClusterNode]) -> None:
    """Give servers that leave the config no new pods; those that other apps use go on as they are.

    Raises:
        NvoiError: the disk of one has data that would go with it.
    """
    survey, app = context.survey, context.application.name
    left = find_left([*nodes], {*survey.nodes.values(), *survey.away}, app)
    survey.leaving = tuple(left)
    hold_nodes(context.cluster, [*filter(is_own, left)])


def is_own(node: ClusterNode) -> bool:
    """Whether no other app uses a node that bears this one's marker."""
    return len(node.markers) == 1


def keep_servers(context: ClusterContext) -> None:
    """Have servers take pods again that were to leave, in the groups that they had.

    The release before needs them.
    """
    survey = context.survey
    leaving, survey.leaving = survey.leaving, ()
    regrouped, survey.regrouped = survey.regrouped, {}

    def regroup(node: str) -> None:
        change = {"metadata": {"labels": {SERVER_GROUP: regrouped[node]}}}
        context.cluster.change(Reference("Node", node), change)
        log.info("%s is in the server group %s again", node, regrouped[node])

    try:
        if leaving:
            keep_nodes(context.cluster, leaving)
    finally:
        work_on_all([*regrouped], regroup)


def describe_held(context: ClusterContext) -> str:
    survey = context.survey
    held = ["the cordon of old servers"] * any(map(is_own, survey.leaving))
    held += ["the groups of servers"] if survey.regrouped else []
    return " and ".join(held)


def free_servers(context: ClusterContext) -> None:
    own = find_left(list_nodes(context.cluster), (), context.application.name)
    keep_nodes(context.cluster, own)


def remove_servers(context: ClusterContext) -> None:
    """Move what is left on servers that leave, take these out of the cluster, and give them back.

    Raises:
        NvoiError: it cannot be moved, and they stay; or they cannot be given back.
    """
    survey, cluster = context.survey, context.cluster
    names = {node.name for node in survey.leaving}
    nodes = list_nodes(cluster) if names or survey.surplus else []
    left = [node for node in nodes if node.name in names]
    shared = [node for node in left if not is_own(node)]
    own = [node for node in left if node not in shared]
    try:
        if context.provider.is_rented:
            keep_shared(context, nodes)
            give_surplus_back(context, own)
        elif left:
            for node in shared:
                log.info("%s stays a node for other apps", node.name)
            forget_app(cluster, shared, context.application.name)
            kept = {format_address(server.host) for server in survey.servers}
            settle = partial(wait_for_moved, context)
            remove_nodes(context.connections, cluster, own, kept=kept, settle=settle)
    except NvoiError as error:
        message = f"release {context.rollout.stamp} serves, but {error.message}"
        raise NvoiError(message, hint=error.hint, output=error.output) from error


def keep_shared(context: ClusterContext, nodes: Iterable[ClusterNode]) -> None:
    """Have rented servers stay that other apps use, as long as these do; they keep their marks."""
    survey = context.survey
    for node in nodes:
        others = ", ".join(list_other_apps([node], context.application.name))
        for server in survey.surplus if others else ():
            if server.name == node.name or format_address(server.host) == node.address:
                log.warning(
                    "%s is not given back, and goes on to cost: it runs %s", node.name, others
                )
                survey.surplus = tuple(one for one in survey.surplus if one is not server)
                survey.servers += (server,)


def give_surplus_back(context: ClusterContext, nodes: Sequence[ClusterNode]) -> None:
    """Give rented servers back, once nothing is on them.

    Their nodes go last: an agent that still runs would bring one back.
    """
    surplus, with_volumes = context.survey.surplus, context.request.delete_volumes
    names = {server.name for server in surplus}
    for node in nodes:
        if not node.is_ready and node.name in names:
            check_claims(node, list_claims(context.cluster, node.name))
    if nodes:
        drain_nodes(context.cluster, nodes, settle=partial(wait_for_moved, context))
    # Also disks whose servers an earlier run has given back.
    if surplus or with_volumes:
        context.check_lock()
        detach_unwanted(context)
        context.provider.delete_surplus(surplus, with_volumes=with_volumes)
    if nodes:
        context.cluster.delete([Reference("Node", node.name) for node in nodes], wait=False)
    for server in surplus:
        log.ok("%s is given back", server.name)


def detach(context: ClusterContext, servers: Sequence[Server]) -> None:
    """Have servers write what is left to their disks, and use them no longer."""

    def run(server: Server) -> None:
        command = build_detachment(server)
        context.connections.run(server.host, as_root(server.host, command))

    work_on_all(servers, run)


def detach_unwanted(context: ClusterContext) -> None:
    """Have servers that stay no longer use disks that the config does not name any more."""
    if not context.request.delete_volumes:
        return
    wanted = list_volume_names(list_wanted(context.application))
    unwanted = [
        replace(server, disks=disks)
        for server in context.survey.servers
        if (disks := tuple(disk for disk in server.disks if disk.name not in wanted))
    ]
    if unwanted:
        detach(context, unwanted)


def wait_for_moved(context: ClusterContext) -> None:
    kept = map(read_reference, context.manifests.kept)
    workloads = [one for one in kept if one.kind in {"Deployment", "StatefulSet"}]
    if workloads:
        selector = build_app_selector(context.application.name)
        # What moves takes others down for a moment.
        context.cluster.follow(workloads, MOVE_SECONDS, selector=selector, is_patient=True)


def plan(context: ClusterContext) -> Iterator[str]:
    # Which these are is known once the nodes are.
    survey = context.survey
    if survey.leaving or survey.surplus or not survey.nodes:
        yield "drains and removes servers that the config no longer names, as the release serves"


DEPART: Step[ClusterContext] = Step(name="Old servers", run=remove_servers, plan=plan)
