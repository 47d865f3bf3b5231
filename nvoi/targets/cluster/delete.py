"""The steps of `nvoi delete`: each does all it can, and the last one says what it could not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from nvoi.errors import (
    ClusterSilenceError,
    ConnectionFailedError,
    HostsError,
    InputError,
    LockError,
    NvoiError,
)
from nvoi.images.cleanup import remove_here
from nvoi.images.engines import find_engine
from nvoi.k3s.drain import uninstall
from nvoi.k3s.facts import Facts
from nvoi.k3s.nodes import (
    ClusterNode,
    forget_app,
    format_address,
    list_nodes,
    list_other_apps,
    parse_address,
)
from nvoi.k3s.survey import survey
from nvoi.kubernetes.names import SERVER_GROUP
from nvoi.kubernetes.ownership import is_owned, is_removable, read_reference
from nvoi.kubernetes.registry import SYSTEM_NAMESPACE
from nvoi.log.levels import get_logger
from nvoi.operation import Step
from nvoi.providers import Server
from nvoi.targets.cluster.cleanup import clean_nodes, clean_registry, remove_objects
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.domains import give_ports_back, had_traefik, plan_deletion, remove
from nvoi.targets.cluster.prepare import get_registry_address, hold_lock, plan_lock
from nvoi.targets.cluster.release import load_state
from nvoi.targets.cluster.servers import get_credentials
from nvoi.targets.cluster.teardown import (
    ask_cluster,
    check_apps_and_claims,
    check_master,
    detach_disks,
    find_servers,
    find_servers_or_go_on,
    give_all_back,
)
from nvoi.targets.cluster.volumes import (
    delete_claims,
    delete_folders,
    list_volumes,
    list_wanted_disks,
    tell_data,
)

log = get_logger("nvoi.cluster")

WORKLOADS = "the app's workloads"
ROUTES = "what leads its domains to it"


def reach_servers(context: ClusterContext) -> None:
    find_servers_or_go_on(context)
    if not context.survey.servers and context.deletion.is_known:
        log.info("There are no servers")
        return
    look_at_servers(context)


def look_at_servers(context: ClusterContext) -> None:
    """See what is on the servers.

    Raises:
        UsageError: rented ones are not to be given back, as others may need what is there.
    """
    found, failures = context.survey, context.deletion.failures
    is_rented = context.provider.is_rented
    for name, one in survey(context.connections, found.servers).items():
        if isinstance(one, Facts):
            found.facts[name] = one
        elif is_rented:
            log.warning("%s", one)
        else:
            log.error("%s", one)
            failures.append(f"what is on {name}, which cannot be reached")
    if is_rented:
        check_apps_and_claims(context)
        for name in (one.name for one in found.servers if one.name not in found.facts):
            log.warning("%s cannot be reached; it is given back all the same", name)
    elif not found.is_reached:
        # Without its lock and its word nothing is known of what runs on the others.
        log.warning("The master cannot be reached: all on the servers stays as it is")
        failures += [f"what is on {name}, of which its master must tell" for name in found.facts]
        found.facts.clear()


def attempt(
    context: ClusterContext, what: str, work: Callable[[], None], *, in_cluster: bool = False
) -> None:
    """Do ``work``; where it fails, say so, remember it, and go on.

    A cluster that did not answer is not waited for again.
    """
    if in_cluster and context.deletion.is_unreachable:
        log.error("Not removed: %s: the cluster does not answer", what)
        context.deletion.failures.append(what)
        return
    try:
        work()
    except NvoiError as error:
        for one in error.errors if isinstance(error, HostsError) else [error]:
            log.error("Not removed: %s: %s", what, one)  # noqa: TRY400 - told in a line
        context.deletion.failures.append(what)
        is_unreachable = isinstance(error, ClusterSilenceError | ConnectionFailedError)
        context.deletion.is_unreachable = context.deletion.is_unreachable or is_unreachable


def take_lock(context: ClusterContext) -> None:
    """Take the lock, where there is a master to take it on.

    Raises:
        LockError: another run has it.
        UsageError: the run that had it before has brought another app to rented servers.
    """
    if not context.survey.is_reached:
        log.info("There is none to take")
        return
    try:
        hold_lock(context)
    except NvoiError as error:
        if isinstance(error, LockError) or not context.provider.is_rented:
            raise
        log.warning("%s: its servers are given back all the same", error)
    if context.provider.is_rented and context.lock is not None and context.lock.rival is not None:
        # Whoever had it may have been another app's first deploy.
        check_apps_and_claims(context)


def remove_workloads(context: ClusterContext) -> None:
    if context.survey.has_cluster:
        attempt(context, WORKLOADS, lambda: delete_objects(context), in_cluster=True)
    elif context.survey.is_reached:
        log.info("There is no cluster")
    else:
        log.info("Its master cannot be reached")


def delete_objects(context: ClusterContext) -> None:
    load_state(context)
    context.deletion.has_begun = True
    app = context.application.name
    own = [item for item in context.state.objects if is_owned(item, app)]
    remove_objects(context, sorted(read_reference(item) for item in own if is_removable(item)))


def remove_domains(context: ClusterContext) -> None:
    survey, deletion = context.survey, context.deletion
    is_removed = survey.has_cluster and WORKLOADS not in deletion.failures
    may_run = context.provider.is_rented and bool(survey.servers) and not is_removed
    # Also where the config has no more names: what the app had for them is told by the cluster.
    app = context.application
    deletion.is_served = may_run and not (app.cloudflare is None and app.ingress is None)
    if deletion.is_served:
        log.info("What leads its domains to it goes after the servers, on which it may still run")
        return
    attempt(context, ROUTES, partial(remove, context))
    if is_removed and not context.provider.is_rented and had_traefik(context):
        shared = partial(give_ports_back, context)
        attempt(context, "what the ingress was set up with", shared, in_cluster=True)


def remove_images(context: ClusterContext) -> None:
    if context.survey.has_cluster and not context.provider.is_rented:
        registry, servers = partial(empty_registry, context), context.survey.list_reached()
        attempt(context, "the images in the registry", registry, in_cluster=True)
        attempt(context, "the images on the servers", lambda: clean_nodes(context, servers, ()))
    attempt(context, "the images on this machine", partial(remove_images_here, context))


def empty_registry(context: ClusterContext) -> None:
    services = context.cluster.get(["services"], namespace=SYSTEM_NAMESPACE)
    try:
        context.survey.registry = get_registry_address(services)
    except NvoiError:
        log.info("There is no registry")
        return
    token = context.survey.facts[context.master.name].k3s.token
    context.survey.credentials = get_credentials(token) if token else None
    clean_registry(context, ())


def remove_images_here(context: ClusterContext) -> None:
    try:
        engine = find_engine(context.request.environ)
    except NvoiError:
        return
    remove_here(engine, context.repository, (), context.request.environ)


def remove_volumes(context: ClusterContext) -> None:
    if context.provider.is_rented:
        detach_disks(context)
        return
    if not context.request.delete_volumes:
        tell_data(context)
        return
    if WORKLOADS in context.deletion.failures:
        log.error("Not removed: its data: what uses it may still run")
        context.deletion.failures.append("its data")
        return
    if context.survey.has_cluster:
        disks = partial(delete_claims, context)
        attempt(context, "its disks in the cluster", disks, in_cluster=True)
    for server in context.survey.list_reached():
        attempt(context, f"the volumes of {server.name}", partial(delete_folders, context, server))


def remove_cluster(context: ClusterContext) -> None:
    """Take the app's marks off its servers, and k3s where that was asked for."""
    if not context.survey.has_cluster or context.provider.is_rented:
        return
    if WORKLOADS not in context.deletion.failures:
        # By its marks other apps know that the cluster is still needed.
        cluster, app = context.cluster, context.application.name
        attempt(
            context,
            "the app's marks on its servers",
            lambda: forget_app(cluster, list_nodes(cluster), app),
            in_cluster=True,
        )
    if context.request.with_cluster:
        attempt(context, "k3s", partial(uninstall_k3s, context), in_cluster=True)


def uninstall_k3s(context: ClusterContext) -> None:
    nodes, claims = ask_cluster(context, context.master)
    if others := list_other_apps(nodes, context.application.name):
        raise NvoiError(
            f"the cluster also runs {', '.join(others)}",
            hint="delete them first, the last one with it",
        )
    # Also what an app that was deleted earlier has left there.
    if claims:
        raise NvoiError(
            f"the cluster's own disk has data, which would go with it: {', '.join(claims)}",
            hint="delete the apps that own this data, with --delete-volumes",
        )
    context.check_lock()
    strays = list_strays(context, nodes)
    uninstall(context.connections, [*strays, *context.survey.list_reached()])


def list_strays(context: ClusterContext, nodes: Iterable[ClusterNode]) -> Iterator[Server]:
    """The servers of nodes that the config does not name, such as one that left it since."""
    # Of a server that is reached the node's name counts: there may be another way to it by now.
    known = {one.k3s.node_name for one in context.survey.facts.values()}
    known |= {format_address(server.host) for server in context.survey.servers}
    for node in nodes:
        host = parse_address(node.address or "", node.name)
        if host is not None and not {node.name, node.address} & known and not node.is_master:
            yield Server(node.name, node.labels.get(SERVER_GROUP, ""), host)


def finish(context: ClusterContext) -> None:
    """Give back what was rented, and say whether all of it is gone.

    Raises:
        NvoiError: it is not.
    """
    deletion = context.deletion
    if context.provider.is_rented:
        # What was left on the servers goes with them.
        deletion.failures = [one for one in deletion.failures if one != WORKLOADS]
        try:
            if not deletion.is_known:
                find_servers(context)
                deletion.is_known = True
                look_at_servers(context)
                take_lock(context)
            give_all_back(context)
        except NvoiError as error:
            log.error("Not given back: %s", error)  # noqa: TRY400 - told in a line
            reason = error.message.partition("\n")[0]
            deletion.failures.append(f"what was rented for it ({reason})")
        if deletion.is_served:
            attempt(context, ROUTES, partial(remove, context))
    if deletion.failures:
        left = ", ".join(dict.fromkeys(deletion.failures))
        raise NvoiError(
            f"not all of {context.application.name} is gone; left: {left}",
            hint="mend what is said above and run it again: it goes on from what is there",
        )


def plan_volumes(context: ClusterContext) -> Iterator[str]:
    verb = "removes" if context.request.delete_volumes else "keeps"
    if context.provider.is_rented:
        yield f"{verb} all volumes with their data"
        return
    for server, folder in list_volumes(context):
        yield f"{verb} {server}: {folder}"
    yield f"{verb} volumes that the config no longer names"
    for one in list_wanted_disks(context):
        yield f"{verb} the disk that the cluster found for {one}"


def plan_cluster(context: ClusterContext) -> Iterator[str]:
    if context.request.with_cluster and not context.provider.is_rented:
        yield "takes k3s off all servers, where no other app uses it"


def plan_servers(context: ClusterContext) -> Iterator[str]:
    if context.provider.is_rented:
        yield "reaches the servers that there are and that answer"
    else:
        yield from context.provider.describe()


def plan_images(context: ClusterContext) -> Iterator[str]:
    places = "this machine" if context.provider.is_rented else "registry, servers and this machine"
    yield f"removes {context.repository} from {places}"


def plan_end(context: ClusterContext) -> Iterator[str]:
    if context.provider.is_rented:
        yield "gives back what was rented"
        with_volumes = context.request.delete_volumes
        yield from context.provider.describe_deletion(with_volumes=with_volumes)
        try:
            find_servers(context)
        except NvoiError as error:
            if isinstance(error, InputError):
                raise
            log.debug("Which servers there are is not known: %s", error)
        check_master(context)
    yield "says what could not be removed"


DELETE: tuple[Step[ClusterContext], ...] = (
    Step(name="Servers", run=reach_servers, plan=plan_servers),
    Step(name="Lock", run=take_lock, plan=plan_lock),
    Step(
        name="App",
        run=remove_workloads,
        plan=lambda context: [
            f"removes all of {context.application.name} in the cluster but its data"
        ],
    ),
    Step(name="Domains", run=remove_domains, plan=plan_deletion),
    Step(name="Images", run=remove_images, plan=plan_images),
    Step(name="Volumes", run=remove_volumes, plan=plan_volumes),
    Step(name="Cluster", run=remove_cluster, plan=plan_cluster),
    Step(name="End", run=finish, plan=plan_end),
)
