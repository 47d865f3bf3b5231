"""Rented servers at the end of their app: found, looked at, and given back.

No other app goes with them, which may use them as servers of their own, and no data on their own
disks goes unasked.
"""

from __future__ import annotations

from nvoi.errors import InputError, NvoiError, UsageError
from nvoi.invocation import name_command
from nvoi.k3s.nodes import ClusterNode, list_nodes, list_other_apps
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.ownership import read_reference
from nvoi.log.levels import get_logger
from nvoi.log.rendering import format_count
from nvoi.providers import Server
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.departures import detach
from nvoi.targets.cluster.volumes import CLAIMS, list_wanted_disks

log = get_logger("nvoi.cluster")

SAVE = "save it, and add --delete-volumes"


def find_servers_or_go_on(context: ClusterContext) -> None:
    """Find the servers. Where the account of rented ones is silent, the end looks again."""
    try:
        find_servers(context)
    except NvoiError as error:
        if isinstance(error, InputError) or not context.provider.is_rented:
            raise
        log.warning("%s; all that is rented is looked for once more at the end", error)
        context.deletion.is_known = False


def find_servers(context: ClusterContext) -> None:
    """Find those too that the config no longer names: what is on them is the app's all the same.

    Raises:
        UsageError: of some no label says whose they are.
    """
    context.list_servers()
    if context.provider.is_rented:
        context.survey.surplus = context.provider.list_surplus()
        context.survey.servers += context.survey.surplus
    if others := [one.name for one in context.survey.servers if not one.is_labelled]:
        raise UsageError(
            f"no label says whose these servers are: {', '.join(others)}",
            hint=f"{name_command('deploy --adopt')} takes over what the gem nvoi 0.2 has made, and "
            f"{name_command('delete')} gives it back then; or delete them at the cloud",
        )


def check_apps_and_claims(context: ClusterContext) -> None:
    """See that no other app is on rented servers, and no data on their own disks goes unasked.

    Raises:
        UsageError: one is, or some would; or nobody can say.
    """
    check_master(context)
    others, claims = list_apps_and_claims(context)
    if others:
        raise UsageError(
            f"the servers also run {', '.join(others)}",
            hint="delete these first, and the app whose servers they are last",
        )
    if claims and not context.request.delete_volumes:
        raise UsageError(
            f"the servers' own disks have data, which would go with them: {', '.join(claims)}",
            hint=SAVE,
        )


def check_master(context: ClusterContext) -> None:
    """See that no data goes unasked with servers of a group that was the master's.

    Raises:
        UsageError: the master may be among those that the config no longer names.
    """
    survey = context.survey
    is_known = not survey.surplus or any(server.is_master for server in survey.servers)
    if not is_known and not context.request.delete_volumes:
        names = ", ".join(server.name for server in survey.surplus)
        raise UsageError(
            "the config names another master, and the cluster with data of its own may be on "
            f"{names}",
            hint=f"name its group as master again; or {SAVE}",
        )


def list_apps_and_claims(context: ClusterContext) -> tuple[list[str], list[str]]:
    """The other apps on the servers, and what data is on disks that the cluster found for it.

    Where a cluster cannot tell, the config does what of the data is the app's.

    Raises:
        UsageError: nobody says whether there are other apps.
    """
    survey, others, claims = context.survey, list[str](), list[str]()
    running = [one for one in survey.list_reached() if survey.facts[one.name].k3s.role == "server"]
    for server in running:
        try:
            nodes, disks = ask_cluster(context, server)
        except NvoiError as error:
            context.deletion.is_unreachable |= server.is_master
            accept_unknown(
                context,
                f"which apps use the cluster on {server.name} is not known: {error.message}",
                "`systemctl restart k3s` there starts it again, `journalctl -u k3s` says what "
                "ails it",
            )
            nodes, disks = [], list_wanted_disks(context)
        others += list_other_apps(nodes, context.application.name)
        claims += disks
    silent = [] if running else list_silent(context)
    if silent:
        accept_unknown(
            context,
            f"which apps use {', '.join(silent)} is not known, as nobody can look there",
            "start what is down at the cloud, or mend the way to it",
        )
    is_told = not silent and context.deletion.is_known
    claims = claims if is_told else list_wanted_disks(context)
    return [*dict.fromkeys(others)], [*dict.fromkeys(claims)]


def ask_cluster(context: ClusterContext, master: Server) -> tuple[list[ClusterNode], list[str]]:
    """The nodes, which say whose apps they run, and the claims in the cluster of ``master``.

    Raises:
        NvoiError: it does not answer.
    """
    cluster = context.cluster
    if not master.is_master:
        # The config names another group as the master by now.
        cluster = context.stack.enter_context(Cluster(context.connections, master.host))
    return list_nodes(cluster), [str(read_reference(item)) for item in cluster.get(CLAIMS)]


def list_silent(context: ClusterContext) -> list[str]:
    """The servers that cannot be reached; on one that never was, there is nothing of anybody's."""
    survey = context.survey
    return [one.name for one in survey.servers if one.name not in survey.facts and not one.is_new]


def accept_unknown(context: ClusterContext, reason: str, remedy: str) -> None:
    """Go on only where the user has said that no other app is there.

    Raises:
        UsageError: the user has not.
    """
    if not context.request.with_cluster:
        raise UsageError(
            f"{reason}: nothing is given back, as another app may be there",
            hint=f"{remedy}; if no other app is there, {name_command('delete --cluster')} gives "
            "all of it back",
        )
    log.warning("%s: all of it is given back all the same", reason)


def detach_disks(context: ClusterContext) -> None:
    """Have all that was written be on the disks that stay, before their servers go."""
    servers = [server for server in context.survey.list_reached() if server.disks]
    if context.request.delete_volumes or not servers:
        return
    try:
        detach(context, servers)
    except NvoiError as error:
        log.warning("What was written last may not be on the volumes: %s", error)


def give_all_back(context: ClusterContext) -> None:
    with_volumes = context.request.delete_volumes
    kept = context.provider.delete_servers(with_volumes=with_volumes)
    for disk in kept:
        log.info("Its data stays: volume %s", disk)
    context.deletion.remark = "0 billable resources left"
    if kept:
        volumes = format_count(len(kept), "volume")
        goes_on, these = ("costs", "it") if len(kept) == 1 else ("cost", "them")
        context.deletion.remark = (
            f"{volumes} left, which {goes_on} money: {name_command('delete --delete-volumes')} "
            f"gives {these} back"
        )
