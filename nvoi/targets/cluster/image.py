"""The steps that build the app's image while the servers are prepared, and push it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from nvoi.errors import NvoiError
from nvoi.images.build import Build
from nvoi.images.context import check_copies, find_dockerfile
from nvoi.images.engines import find_engine
from nvoi.images.push import open_registry as open_registry_at
from nvoi.images.push import push
from nvoi.images.registry import Registry, find_same
from nvoi.kubernetes.registry import CLUSTER_IP, PORT, build_reference
from nvoi.log.levels import get_logger
from nvoi.naming import build_image_tag
from nvoi.operation import Step
from nvoi.source import Source
from nvoi.targets.checkout import read_checkout
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.prepare import find_platform
from nvoi.targets.cluster.state import choose_stamp

log = get_logger("nvoi.cluster")


def begin_build(context: ClusterContext) -> None:
    """Begin the build; it goes on by itself."""
    platform = find_platform(context)
    if platform is not None:
        context.image.platform.set_result(platform)
    if not context.needs_image:
        log.info("All services run finished images")
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


def find_cache(context: ClusterContext) -> Callable[[], str | None]:
    """How a build finds the layers of the last image, where the cluster is there already."""
    stack = context.stack.enter_context(ExitStack())

    def find() -> str | None:
        try:
            servers = context.provider.list_servers(context.application)
            if not servers:
                return None
            opened = open_registry_at(context.connections, servers[0].host, CLUSTER_IP, PORT)
            return stack.enter_context(opened).address
        except NvoiError as error:
            log.debug("No layers from the cluster: %s", error)
            return None

    return find


def push_image(context: ClusterContext) -> None:
    """Wait for the build, and have the registry hold what it made."""
    if context.image.build is None or context.image.engine is None:
        log.info("The services' images are finished ones: nothing to push")
        return
    image = context.image.build.wait()
    with open_registry(context) as registry:
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
    context.image.reference = build_reference(f"{context.repository}:{stamp}", digest)


def open_registry(context: ClusterContext) -> AbstractContextManager[Registry]:
    """The cluster's registry, as long as the context lasts."""
    if context.survey.registry is None:
        raise NvoiError("the cluster has no registry")
    address, port = context.survey.registry
    return open_registry_at(context.connections, context.master.host, address, port)


def plan_build(context: ClusterContext) -> Iterator[str]:
    if context.needs_image:
        source, file = read_build(context)
        tag = build_image_tag(context.application.name, context.moment)
        yield f"builds {tag} from {file} and {len(source.names)} files"


def plan_push(context: ClusterContext) -> Iterator[str]:
    if context.needs_image:
        yield "pushes the image to the registry over SSH, only the layers that it lacks"


BUILD: Step[ClusterContext] = Step(name="Build", run=begin_build, plan=plan_build)
PUSH: Step[ClusterContext] = Step(name="Image", run=push_image, plan=plan_push)
