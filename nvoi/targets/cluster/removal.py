"""The steps of `nvoi delete`: each does all it can, and the last one says what it could not."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from nvoi.errors import NvoiError
from nvoi.images.cleanup import remove_here
from nvoi.images.engines import find_engine
from nvoi.k3s.nodes import forget_app, list_nodes, list_other_apps
from nvoi.k3s.removal import uninstall
from nvoi.kubernetes.ownership import KINDS, find_claims, is_owned, read_reference
from nvoi.log.levels import get_logger
from nvoi.providers import Server
from nvoi.ssh.host import as_root
from nvoi.targets.cluster.cleaning import clean_nodes, clean_registry, tell_removed
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.reaching import (
    attempt,
    attempt_in_cluster,
    has_cluster,
    is_reached,
    list_reached,
)
from nvoi.targets.cluster.registry import get_address
from nvoi.targets.cluster.state import read_state
from nvoi.targets.cluster.volumes import list_places
from nvoi.targets.step import Step

log = get_logger("nvoi.cluster")

CLAIMS = ("persistentvolumeclaims",)
WORKS = "the app's workloads"


def remove_workloads(context: ClusterContext) -> None:
    """Remove all that the app has in the cluster but its data."""
    if has_cluster(context):
        attempt(context, WORKS, lambda: delete_objects(context))
    elif is_reached(context):
        log.info("There is no cluster")
    else:
        log.info("Its master cannot be reached")


def delete_objects(context: ClusterContext) -> None:
    """Delete the app's objects, and wait until their pods are gone."""
    read_state(context)
    app = context.application.name
    own = [read_reference(item) for item in context.live if is_owned(item, app)]
    gone = sorted(reference for reference in own if reference.kind in KINDS)
    if gone:
        context.cluster.delete(gone)
    tell_removed(gone)


def remove_images(context: ClusterContext) -> None:
    """Remove the app's images from the registry, the nodes and this machine."""
    if has_cluster(context):
        attempt_in_cluster(context, "the images in the registry", lambda: empty_registry(context))
        servers = list_reached(context)
        attempt(context, "the images on the servers", lambda: clean_nodes(context, servers, ()))
    attempt(context, "the images on this machine", lambda: empty_here(context))


def empty_registry(context: ClusterContext) -> None:
    """Remove them from the registry, where there is one."""
    services = context.cluster.get(["services"], namespace="kube-system")
    try:
        context.registry = get_address(services)
    except NvoiError:
        log.info("There is no registry")
        return
    clean_registry(context, ())


def empty_here(context: ClusterContext) -> None:
    """Remove them from this machine, where there is something that builds images."""
    try:
        engine = find_engine(context.request.environ)
    except NvoiError:
        return
    remove_here(engine, context.repository, (), context.request.environ)


def remove_volumes(context: ClusterContext) -> None:
    """Remove the app's data, where that was asked for."""
    if not context.request.delete_volumes:
        for server in context.servers:
            for folder in server.volumes:
                log.info("Its data stays: %s: %s", server.name, folder)
        return
    if WORKS in context.failures:
        log.error("Not removed: its data: what uses it may still run")
        context.failures.append("its data")
        return
    if has_cluster(context):
        attempt_in_cluster(context, "its disks in the cluster", lambda: delete_claims(context))
    for server in list_reached(context):
        attempt(context, f"the volumes of {server.name}", partial(delete_folders, context, server))


def delete_folders(context: ClusterContext, server: Server) -> None:
    """Delete what a server's volumes hold."""
    command = context.provider.build_volumes_removal(server)
    if command is None:
        return
    context.check_lock()
    context.connections.run(server.host, as_root(server.host, command))
    for folder in server.volumes:
        log.info("Removed %s: %s", server.name, folder)


def delete_claims(context: ClusterContext) -> None:
    """Delete the disks that the cluster found for the app."""
    claims = find_claims(context.application.name, context.cluster.get(CLAIMS))
    if claims:
        context.cluster.delete(claims)
    tell_removed(claims)


def remove_cluster(context: ClusterContext) -> None:
    """Take the app's marks off its servers, and k3s where that was asked for."""
    if not has_cluster(context):
        return
    if WORKS not in context.failures:
        # By its marks other apps know that the cluster is still needed.
        attempt_in_cluster(context, "the app's marks on its servers", lambda: unmark(context))
    if context.request.with_cluster:
        attempt_in_cluster(context, "k3s", lambda: take_down(context))


def unmark(context: ClusterContext) -> None:
    """Say that the app uses the nodes no more."""
    forget_app(context.cluster, list_nodes(context.cluster), context.application.name)


def take_down(context: ClusterContext) -> None:
    """Uninstall k3s everywhere.

    Raises:
        NvoiError: others need the cluster, or it holds data that is to be kept.
    """
    others = list_other_apps(list_nodes(context.cluster), context.application.name)
    if others:
        raise NvoiError(
            f"the cluster also runs {', '.join(others)}",
            hint="delete them first, the last one with it",
        )
    # Also what an app that was deleted earlier has left there.
    claims = [str(read_reference(item)) for item in context.cluster.get(CLAIMS)]
    if claims:
        raise NvoiError(
            f"the cluster's own disk has data, which would go with it: {', '.join(claims)}",
            hint="delete the apps that it is of with --delete-volumes",
        )
    context.check_lock()
    uninstall(context.connections, list_reached(context))


def finish(context: ClusterContext) -> None:
    """Say whether all of it is gone.

    Raises:
        NvoiError: it is not.
    """
    attempt(context, "what was rented for it", lambda: give_back(context))
    if context.failures:
        left = ", ".join(dict.fromkeys(context.failures))
        raise NvoiError(
            f"not all of {context.application.name} is gone; left: {left}",
            hint="mend what is said above and run it again: it goes on from what is there",
        )


def give_back(context: ClusterContext) -> None:
    """Give back what was rented, the data where that was asked for."""
    context.provider.delete_servers(
        context.application, with_volumes=context.request.delete_volumes
    )


def plan_volumes(context: ClusterContext) -> Iterator[str]:
    """What becomes of the data."""
    verb = "removes" if context.request.delete_volumes else "keeps"
    for server, folder in list_places(context.application):
        yield f"{verb} {server}: {folder}"
    for item in context.manifests.database:
        spec: Any = item["spec"]
        if spec.get("volumeClaimTemplates"):
            yield f"{verb} the disk that the cluster found for {read_reference(item)}"


def plan_cluster(context: ClusterContext) -> Iterator[str]:
    """What becomes of k3s."""
    if context.request.with_cluster:
        yield "takes k3s off all servers, where no other app uses it"


WORKLOADS: Step[ClusterContext] = Step(
    name="App",
    run=remove_workloads,
    plan=lambda context: [f"removes all of {context.application.name} in the cluster but its data"],
)
IMAGES: Step[ClusterContext] = Step(
    name="Images",
    run=remove_images,
    plan=lambda context: [f"removes {context.repository} from registry, servers and this machine"],
)
DATA: Step[ClusterContext] = Step(name="Volumes", run=remove_volumes, plan=plan_volumes)
CLUSTER: Step[ClusterContext] = Step(name="Cluster", run=remove_cluster, plan=plan_cluster)
FINISH: Step[ClusterContext] = Step(
    name="End", run=finish, plan=lambda _: ["says what could not be removed"]
)
