"""The steps before a release, beside those of its servers: image, lock, registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from nvoi.errors import NvoiError, ServiceError
from nvoi.images.build import Build
from nvoi.images.context import check_copies, find_dockerfile
from nvoi.images.engines import find_engine
from nvoi.images.push import open_registry, push
from nvoi.images.registries import Registry, find_same
from nvoi.k3s.datastore import build_datastore_copies
from nvoi.k3s.survey import find_token
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.manifests import build_priority
from nvoi.kubernetes.ownership import (
    Json,
    get_label,
    is_unchanged,
    read_reference,
)
from nvoi.kubernetes.progress import is_ready
from nvoi.kubernetes.registry import (
    CLUSTER_IP,
    IMAGE,
    NAME,
    PORT,
    SYSTEM_NAMESPACE,
    build_reference,
    build_registry,
)
from nvoi.log.levels import get_logger
from nvoi.log.rendering import format_count
from nvoi.operation import Step
from nvoi.source import Source
from nvoi.targets import read_checkout
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.domains import set_ingress_up
from nvoi.targets.cluster.lock import take_lock
from nvoi.targets.cluster.pull import pull_all
from nvoi.targets.cluster.servers import find_platform, get_credentials, survey_servers
from nvoi.targets.cluster.state import choose_stamp

log = get_logger("nvoi.cluster")
lock_log = get_logger("nvoi.lock")

#: Seconds until the registry and the name service are up: their images may have to come over a
#: slow line.
REGISTRY_SECONDS = 300.0
NAME_SERVICE_SECONDS = 120.0
# CoreDNS has kept the label of what it replaced (Kubernetes documentation, "Using CoreDNS for
# Service Discovery"; k3s, manifests/coredns.yaml).
NAME_KEY, NAME_SERVICE = "k8s-app", "kube-dns"


def hold_lock(context: ClusterContext) -> None:
    context.lock = take_lock(
        context.connections, context.master.host, context.holder, wait=context.request.lock_wait
    )
    context.stack.callback(context.lock.release)
    lock_log.info("Held; nobody else changes these servers now")
    if context.survey.is_complete and context.lock.rival is not None:
        lock_log.info("Another run was at work meanwhile: looking at the servers again")
        survey_servers(context)


def start_registry(context: ClusterContext) -> None:
    """Have the cluster hold what all of its apps share."""
    k3s, deploy_id = context.application.k3s, context.request.deploy_id
    node, image = context.survey.nodes[context.master.name], k3s.registry_image or IMAGE
    credentials = context.survey.credentials
    assert credentials is not None  # noqa: S101 - k3s was set up with them
    *parts, registry = build_registry(deploy_id, credentials, node=node, image=image)
    parts += [
        build_datastore_copies(deploy_id, node=node, image=image, keep=k3s.datastore_copies),
        build_priority(deploy_id),
    ]
    live = context.cluster.get(["deployments"], namespace=SYSTEM_NAMESPACE)
    own = next((item for item in live if item["metadata"]["name"] == NAME), None)
    if own is not None and is_unchanged(own, registry) and is_ready(own):
        found = context.cluster.apply(parts)
    else:
        pull_all(context, live, [registry], [context.master])
        found = context.cluster.roll_out([*parts, registry], seconds=REGISTRY_SECONDS)
        # On a new cluster both come up side by side.
        live = context.cluster.get(["deployments"], namespace=SYSTEM_NAMESPACE)
    context.survey.registry = get_registry_address(found)
    # Whatever starts from here on needs names.
    wait_for_names(context.cluster, live)
    set_ingress_up(context)


def get_registry_address(items: Iterable[Json]) -> tuple[str, int]:
    for item in items:
        if item["kind"] == "Service" and item["metadata"]["name"] == NAME:
            return item["spec"]["clusterIP"], item["spec"]["ports"][0]["port"]
    raise ServiceError("the registry has no address in the cluster")


def wait_for_names(cluster: Cluster, deployments: Iterable[Json]) -> None:
    """Wait until names are answered in the cluster; say so where they are not.

    ``deployments`` are those of the system's namespace. A cluster may have another name service
    than k3s's own, and an app may need none.
    """
    waiting = [
        read_reference(item)
        for item in deployments
        if get_label(item, NAME_KEY) == NAME_SERVICE
        if not (item.get("status") or {}).get("readyReplicas")
    ]
    if not waiting:
        return
    log.info("Waiting until names are answered in the cluster")
    try:
        cluster.follow(waiting, NAME_SERVICE_SECONDS)
    except ServiceError as error:
        log.warning(
            "The cluster's DNS does not answer, so pods cannot find each other by name: %s", error
        )


def begin_build(context: ClusterContext) -> None:
    platform = find_platform(context)
    if platform is not None:
        context.image.platform.set_result(platform)
    if not context.needs_image:
        return
    source, dockerfile = read_build(context)
    context.image.engine = find_engine(context.request.environ)
    context.image.build = Build(
        engine=context.image.engine,
        source=source,
        dockerfile=dockerfile,
        tag=context.tag,
        platform=context.image.platform,
        environ=context.request.environ,
        cache=find_cache(context),
        logins=context.application.registries,
    ).start()
    # Whatever ends the run ends the build.
    context.stack.callback(context.image.build.cancel)
    log.info("Building with %s, while the servers are prepared", context.image.engine.name)


def read_build(context: ClusterContext) -> tuple[Source, Path]:
    """What the image is built from: the files, and the one with the instructions."""
    source = read_checkout(context.request)
    dockerfile = find_dockerfile(context.request.directory, context.request.dockerfile)
    check_copies(dockerfile, source)
    return source, dockerfile


def find_cache(context: ClusterContext) -> Callable[[], Registry | None]:
    """How a build finds the layers of the last image, where the cluster is there already."""
    stack = context.stack.enter_context(ExitStack())
    # Whoever rents them out is asked once, and before the next step asks.
    servers = context.provider.list_servers()

    def find() -> Registry | None:
        try:
            if not servers or not servers[0].is_master:
                return None
            connections, host = context.connections, servers[0].host
            token = find_token(connections, host)
            if token is None:
                return None
            credentials = get_credentials(token)
            opened = open_registry(
                connections, host, CLUSTER_IP, PORT, credentials=credentials, patience=False
            )
            return stack.enter_context(opened)
        except NvoiError as error:
            log.debug("No layers from the cluster: %s", error)
            return None

    return find


def push_image(context: ClusterContext) -> None:
    if context.image.build is None or context.image.engine is None:
        return
    image = context.image.build.wait()
    with context.open_registry() as registry:
        context.image.tags = registry.list_tags(context.repository)
        same = find_same(registry, context.repository, image.id)
        if same is None:
            # Another run may have begun to build in the same second, and have pushed by now.
            stamp = choose_stamp(image.stamp, context.image.tags)
            environ = context.request.environ
            digest = push(context.image.engine, image, registry, environ, stamp=stamp)
        else:
            stamp, digest = same
            log.info("The image has not changed since %s: nothing to push", stamp)
    context.image.user = image.user
    context.image.reference = build_reference(f"{context.repository}:{stamp}", digest)


def plan_build(context: ClusterContext) -> Iterator[str]:
    if context.needs_image:
        yield f"builds {context.tag}"
        # Looked for behind the first line: a run asks only whether there is one.
        source, file = read_build(context)
        engine = find_engine(context.request.environ)
        files = format_count(len(source.names), "file")
        yield f"takes {file} and {files} of the checkout, with {engine.name}"


def plan_push(context: ClusterContext) -> Iterator[str]:
    if context.needs_image:
        yield "pushes the image to the registry over SSH, only the layers that it lacks"


def plan_registry(context: ClusterContext) -> Iterator[str]:
    yield "sees that the registry of the cluster is up, and lets in nobody but its nodes"
    copies = context.application.k3s.datastore_copies
    yield f"has k3s' datastore copied once a day on the master, the last {copies} kept"
    if context.application.uses_ingress:
        yield "has k3s' Traefik take visitors at ports 80 and 443 of the master"


def plan_lock(context: ClusterContext) -> Iterator[str]:
    yield f"takes the deploy lock of {context.application.name}'s master, which all its apps share"


BUILD: Step[ClusterContext] = Step(name="Build", run=begin_build, plan=plan_build)
PUSH: Step[ClusterContext] = Step(name="Image", run=push_image, plan=plan_push)
LOCK: Step[ClusterContext] = Step(name="Lock", run=hold_lock, plan=plan_lock)
REGISTRY: Step[ClusterContext] = Step(name="Registry", run=start_registry, plan=plan_registry)
