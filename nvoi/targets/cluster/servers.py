"""The steps that look at the servers, leave out those that are away, and set up k3s on the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nvoi.config.schema import Application
from nvoi.errors import NvoiError, UsageError
from nvoi.invocation import name_command
from nvoi.k3s.drain import list_claims
from nvoi.k3s.install import Installer
from nvoi.k3s.networks import ensure_metadata_blocked
from nvoi.k3s.nodes import ClusterNode, format_address, list_nodes
from nvoi.k3s.plan import DEFAULT_VERSION, K3sSettings, find_orphans
from nvoi.k3s.survey import check_servers
from nvoi.kubernetes.names import SERVER_GROUP, build_app_selector
from nvoi.kubernetes.ownership import is_going, read_reference
from nvoi.kubernetes.registry import Credentials, build_credentials
from nvoi.log.levels import get_logger
from nvoi.log.masking import add_secrets
from nvoi.operation import Step
from nvoi.providers import Server
from nvoi.secret import Secret
from nvoi.targets.cluster.adoption import adopt_rented, list_rented
from nvoi.targets.cluster.boot import note_host_keys, welcome
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.departures import (
    check_surplus,
    describe_held,
    hold_servers,
    keep_servers,
    tell_surplus,
)
from nvoi.targets.cluster.room import check_room
from nvoi.targets.cluster.volumes import list_wanted_disks

log = get_logger("nvoi.cluster")

#: What engines call the architectures of the config.
PLATFORMS = {"x86": "linux/amd64", "arm64": "linux/arm64"}


def reach_servers(context: ClusterContext) -> None:
    check_surplus(context)
    # First whose they are: what is nobody's tells nothing of the app's master.
    adopt_rented(context)
    check_lost_master(context)
    tell_surplus(context)
    found = context.provider.ensure_servers()
    try:
        context.survey.servers = welcome(context, found)
        survey_servers(context)
    except NvoiError:
        tell_made(found)
        raise
    note_host_keys(context)


def check_lost_master(context: ClusterContext) -> None:
    """See that no data went unseen with a master that was deleted at the cloud.

    Servers that are not new were made along with a master: they are left of its cluster.

    Raises:
        UsageError: some did.
    """
    provider = context.provider
    servers = provider.list_servers() if provider.is_rented else ()
    if any(one.is_master for one in servers) or all(one.is_new for one in servers):
        return
    check_lost_data(context, servers)
    left = ", ".join(one.name for one in servers)
    log.warning("The master is gone: a new one is made, which %s will join", left)


def check_lost_data(context: ClusterContext, left: Sequence[Server]) -> None:
    """See that no data went with the master of the cluster that these servers are left of."""
    disks = list_wanted_disks(context) if left else ()
    if disks and not context.request.accept_data_move:
        raise UsageError(
            "the master is gone, and with it the cluster that "
            f"{', '.join(one.name for one in left)} belonged to and its data: {', '.join(disks)}",
            hint="bring its server back at the cloud; or deploy with --accept-data-move, which "
            "begins with an empty database, and load a dump",
        )


def tell_made(servers: Sequence[Server]) -> None:
    """Say which servers were made for a deploy that fails before it could use them."""
    if new := [server.name for server in servers if server.is_new]:
        log.warning(
            "%s %s, and %s money: the next deploy goes on from there, %s gives all back",
            ", ".join(new),
            *(("stays", "costs") if len(new) == 1 else ("stay", "cost")),
            name_command("delete"),
        )


def survey_servers(context: ClusterContext) -> None:
    survey = context.survey
    survey.facts = check_servers(
        context.connections,
        survey.servers,
        context.application.k3s.version,
        context.cluster,
        lambda architectures: settle_platform(context, architectures),
        spare=find_spare(context),
        ingress=context.application.uses_ingress,
    )
    leave_out_silent(context)
    check_architecture(context)
    check_room(context)
    survey.is_complete = True


def find_spare(context: ClusterContext) -> frozenset[str]:
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


def leave_out_silent(context: ClusterContext) -> None:
    """Go on without the servers that could not be reached, which their nodes explain."""
    servers, facts = context.survey.servers, context.survey.facts
    silent = [server for server in servers if server.name not in facts]
    if silent:
        nodes = {node.address: node for node in list_nodes(context.cluster)}
        leave_out(context, {one.name: nodes[format_address(one.host)] for one in silent})
        settle_platform(context, {name: one.architecture for name, one in facts.items()})


def settle_platform(context: ClusterContext, architectures: Mapping[str, str]) -> None:
    """Settle what the image is built for, once every server has told what it is.

    Where the config says it, it was settled before.
    """
    platform, different = context.image.platform, sorted(set(architectures.values()))
    if platform.done():
        return
    if len(different) == 1:
        platform.set_result(f"linux/{different[0]}")
        return
    platform.set_exception(
        NvoiError(
            f"the servers differ: {' and '.join(different)}",
            hint="no one image runs on all of them; name finished ones for several platforms as "
            "app.*.image",
        )
    )


def check_architecture(context: ClusterContext) -> None:
    platform = find_platform(context)
    if platform is None or not context.needs_image:
        return
    facts = context.survey.facts
    others = [name for name, one in facts.items() if f"linux/{one.architecture}" != platform]
    if others:
        raise NvoiError(
            f"the image is built for {platform}, which {', '.join(others)} cannot run",
            hint="`architecture` in the config is that of all servers; it may be left out",
        )


def find_platform(context: ClusterContext) -> str | None:
    architecture = getattr(context.application.compute_provider, "architecture", None)
    return PLATFORMS.get(architecture or "")


def build_settings(context: ClusterContext) -> K3sSettings:
    k3s = context.application.k3s
    return K3sSettings(
        version=k3s.version,
        install_url=k3s.install_url,
        system_default_registry=k3s.system_default_registry,
        mirrors=k3s.mirrors,
        encrypts=k3s.secrets_encryption,
        log_size=k3s.container_log_size,
        log_files=k3s.container_log_files,
        ingress=context.application.uses_ingress,
    )


def get_credentials(token: Secret) -> Credentials:
    """The registry's credentials, which no log shows from then on."""
    credentials = build_credentials(token)
    add_secrets(credentials.password.reveal(), credentials.basic.reveal())
    return credentials


def install_k3s(context: ClusterContext) -> None:
    build, survey, name = context.image.build, context.survey, context.application.name
    if build is not None and build.is_done:
        # Where it has failed, nothing needs to be installed for it.
        build.wait()
    check_lost_data(context, find_orphans(survey.servers, survey.facts))
    installer = Installer(
        context.connections,
        context.cluster,
        survey.servers,
        build_settings(context),
        name,
        spare=find_spare(context),
    )
    if context.provider.is_rented:
        ensure_metadata_blocked(context.connections, survey.servers, survey.facts)
    tasks = installer.ensure_k3s(survey.facts)
    survey.nodes = {task.server.name: task.node.name for task in tasks}
    survey.credentials = get_credentials(tasks[0].node.token)
    survey.all_nodes = tuple(installer.nodes)
    nodes = {node.name: node for node in installer.nodes}
    found = {server.name: nodes[survey.nodes[server.name]] for server in survey.servers}
    survey.regrouped = {
        name: group
        for name, group in installer.groups.items()
        if group != nodes[name].labels.get(SERVER_GROUP)
    }
    leave_out(context, {name: node for name, node in found.items() if not node.is_ready})
    hold_servers(context, nodes.values())
    free_pods(context, nodes.values())


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
        gone = [
            read_reference(pod)
            for pod in pods
            for owner in pod["metadata"].get("ownerReferences") or ()
            if owner["kind"] == "ReplicaSet" and not is_going(pod)
        ]
        if gone:
            log.info("%s: what was on it starts elsewhere", node.name)
            context.cluster.delete(gone, wait=False)


def plan_servers(context: ClusterContext) -> Iterator[str]:
    if context.provider.is_rented:
        # A run asks the provider for no more than it needs.
        yield "makes what the account lacks of the config"
        with_volumes = context.request.delete_volumes
        yield from context.provider.describe(with_volumes=with_volumes)
        try:
            check_surplus(context)
            list_rented(context)
            check_lost_master(context)
        except UsageError:
            raise
        except NvoiError as error:
            log.debug("What leaves is not known: %s", error)
    else:
        yield from context.provider.describe()
    yield "checks their system, memory, disk, ports, clock and rights"


def plan_k3s(context: ClusterContext) -> Iterator[str]:
    yield f"has k3s {context.application.k3s.version or DEFAULT_VERSION} on every server"
    yield "gives servers that the config no longer names no new pods, and lets them serve"


SERVERS: Step[ClusterContext] = Step(name="Servers", run=reach_servers, plan=plan_servers)
K3S: Step[ClusterContext] = Step(
    name="k3s",
    run=install_k3s,
    plan=plan_k3s,
    undo=keep_servers,
    undoes=describe_held,
)
