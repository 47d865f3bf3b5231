"""The servers of an app at its end: found, given back where rented, and none with data unasked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from nvoi.errors import InputError, NvoiError, UsageError
from nvoi.invocation import name_command
from nvoi.k3s.nodes import list_nodes, list_other_apps
from nvoi.kubernetes.ownership import read_reference
from nvoi.log.levels import get_logger
from nvoi.log.rendering import format_count
from nvoi.parallel import work_on_all
from nvoi.providers import Server
from nvoi.providers.disks import build_detachment
from nvoi.ssh.host import as_root
from nvoi.targets.cluster.context import ClusterContext

log = get_logger("nvoi.cluster")

CLAIMS = ("persistentvolumeclaims",)
SAVE = "save it, and add --delete-volumes"


def list_known(context: ClusterContext) -> bool:
    """Find the servers; whether that could be done. Rented ones are looked for at the end again."""
    try:
        find_servers(context)
    except NvoiError as error:
        if isinstance(error, InputError) or not context.provider.is_rented:
            raise
        log.warning("%s; all that is rented is looked for once more at the end", error)
        return False
    return True


def find_servers(context: ClusterContext) -> None:
    """Find those too that the config no longer names: what is on them is the app's all the same."""
    context.list_servers()
    if context.provider.is_rented:
        context.survey.surplus = context.provider.list_surplus(context.application)
        context.survey.servers += context.survey.surplus
    check_labels(context.survey.servers)


def check_labels(servers: Iterable[Server]) -> None:
    """See that all servers are known to be the app's.

    Raises:
        UsageError: of some no label says whose they are.
    """
    if others := [server.name for server in servers if not server.is_labelled]:
        raise UsageError(
            f"no label says whose these servers are: {', '.join(others)}",
            hint=f"{name_command('deploy --adopt')} takes over what the gem nvoi 0.2 has made, and "
            f"{name_command('delete')} gives it back then; or delete them at the cloud",
        )


def check_data(context: ClusterContext, *, is_known: bool) -> None:
    """Whether no data on the own disks of rented servers goes unasked, and no other app.

    Args:
        is_known: whether the servers could be looked for.

    Raises:
        UsageError: some would.
    """
    if check_master(context):
        return
    others, claims = find_company(context) if is_known else ([], list_wanted_disks(context))
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


def check_master(context: ClusterContext) -> bool:
    """See that the servers to be asked for data are known; whether nobody has to be asked.

    Raises:
        UsageError: the master may be among those that the config no longer names.
    """
    survey = context.survey
    if not survey.surplus or any(server.is_master for server in survey.servers):
        return False
    if not context.request.delete_volumes:
        names = ", ".join(server.name for server in survey.surplus)
        raise UsageError(
            "the config names another master, and the cluster with data of its own may be on "
            f"{names}",
            hint=f"name its group as master again; or {SAVE}",
        )
    return True


def find_company(context: ClusterContext) -> tuple[list[str], list[str]]:
    """The other apps on the servers, and what data is on disks that the cluster found for it.

    Where the cluster cannot tell, the config does.
    """
    if not context.survey.servers or (context.survey.is_reached and not context.survey.has_cluster):
        return [], []
    if context.survey.is_reached:
        with suppress(NvoiError):
            others = list_other_apps(list_nodes(context.cluster), context.application.name)
            return others, [str(read_reference(item)) for item in context.cluster.get(CLAIMS)]
    return [], list_wanted_disks(context)


def list_wanted_disks(context: ClusterContext) -> list[str]:
    """What the config has on disks that the cluster finds."""
    items: Any = context.manifests.database
    return [str(read_reference(item)) for item in items if item["spec"].get("volumeClaimTemplates")]


def detach(context: ClusterContext, servers: Sequence[Server]) -> None:
    """Have servers write what is left to their disks, and use them no longer."""

    def run(server: Server) -> None:
        command = build_detachment(server)
        context.connections.run(server.host, as_root(server.host, command))

    work_on_all(servers, run)


def detach_disks(context: ClusterContext) -> None:
    """Have all that was written be on the disks that stay, before their servers go."""
    servers = [server for server in context.survey.list_reached() if server.disks]
    if context.request.delete_volumes or not servers:
        return

    try:
        detach(context, servers)
    except NvoiError as error:
        log.warning("What was written last may not be on the volumes: %s", error)


def give_back(context: ClusterContext) -> None:
    with_volumes = context.request.delete_volumes
    kept = context.provider.delete_servers(context.application, with_volumes=with_volumes)
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
