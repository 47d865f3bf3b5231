"""Servers that the config no longer names: held before the rollout, removed once it serves.

Until a release serves, the one before it needs the servers that it runs on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nvoi.errors import NvoiError
from nvoi.k3s.drain import hold_nodes, keep_nodes, remove_nodes
from nvoi.k3s.nodes import ClusterNode, find_left, forget_app, format_address, list_nodes
from nvoi.kubernetes.names import SERVER_GROUP, build_app_selector
from nvoi.kubernetes.ownership import Reference, read_reference
from nvoi.log.levels import get_logger
from nvoi.operation import Step
from nvoi.parallel import work_on_all
from nvoi.targets.cluster.context import ClusterContext

log = get_logger("nvoi.k3s")

#: Seconds that pods of servers that leave may take to start elsewhere.
MOVE_SECONDS = 600.0


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
    try:
        if leaving:
            keep_nodes(context.cluster, leaving)
    finally:
        work_on_all([*regrouped], lambda name: change_group(context, name, regrouped[name]))


def change_group(context: ClusterContext, node: str, group: str) -> None:
    change = {"metadata": {"labels": {SERVER_GROUP: group}}}
    context.cluster.change(Reference("Node", node), change)
    log.info("%s is in the server group %s again", node, group)


def describe_held(context: ClusterContext) -> str:
    """What :func:`keep_servers` takes back; empty where that is nothing."""
    survey = context.survey
    held = ["the cordon of old servers"] * any(map(is_own, survey.leaving))
    held += ["the groups of servers"] if survey.regrouped else []
    return " and ".join(held)


def free_servers(context: ClusterContext) -> None:
    """Have all of the app's servers take pods again that a deploy was to remove."""
    own = find_left(list_nodes(context.cluster), (), context.application.name)
    keep_nodes(context.cluster, own)


def remove_servers(context: ClusterContext) -> None:
    """Move what is left on servers that leave, and take these out of the cluster.

    Raises:
        NvoiError: it cannot be moved; they stay.
    """
    names = {node.name for node in context.survey.leaving}
    if not names:
        return
    left = [node for node in list_nodes(context.cluster) if node.name in names]
    shared = [node for node in left if not is_own(node)]
    for node in shared:
        log.info("%s stays a node for other apps", node.name)
    forget_app(context.cluster, shared, context.application.name)
    try:
        remove_nodes(
            context.connections,
            context.cluster,
            [node for node in left if node not in shared],
            kept={format_address(server.host) for server in context.survey.servers},
            settle=lambda: wait_for_moved(context),
        )
    except NvoiError as error:
        message = f"release {context.rollout.stamp} serves, but {error.message}"
        raise NvoiError(message, hint=error.hint, output=error.output) from error


def wait_for_moved(context: ClusterContext) -> None:
    """Wait until all of the app's pods are ready again, wherever they are."""
    kept = map(read_reference, context.manifests.kept)
    workloads = [one for one in kept if one.kind in {"Deployment", "StatefulSet"}]
    if workloads:
        selector = build_app_selector(context.application.name)
        # What moves takes others down for a moment.
        context.cluster.follow(workloads, MOVE_SECONDS, selector=selector, is_patient=True)


def plan(context: ClusterContext) -> Iterator[str]:
    # Which these are is known once the nodes are.
    if context.survey.leaving or not context.survey.nodes:
        yield "drains and removes servers that the config no longer names, as the release serves"


DEPART: Step[ClusterContext] = Step(name="Old servers", run=remove_servers, plan=plan)
