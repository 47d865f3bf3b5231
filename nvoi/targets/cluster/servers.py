"""The step that reaches every server and finds out what it is like and lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nvoi.errors import NvoiError
from nvoi.k3s.survey import check_servers
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.step import Step

#: What engines call the architectures of the config.
PLATFORMS = {"x86": "linux/amd64", "arm64": "linux/arm64"}


def run(context: ClusterContext) -> None:
    """Reach them all at once.

    Raises:
        NvoiError: tells of all that cannot be reached, and all that is missing.
    """
    context.servers = context.provider.ensure_servers(context.application)
    look(context)


def look(context: ClusterContext) -> None:
    """Find out what the servers are like now."""
    context.facts = check_servers(
        context.connections,
        context.servers,
        context.application.k3s.version,
        context.cluster,
        lambda architectures: settle_platform(context, architectures),
    )
    check_architecture(context)
    context.surveyed = True


def settle_platform(context: ClusterContext, architectures: Mapping[str, str]) -> None:
    """Settle what the image is built for, once every server has told what it is.

    Where the config says it, it was settled before.
    """
    if context.platform.done():
        return
    different = sorted(set(architectures.values()))
    if len(different) == 1:
        context.platform.set_result(f"linux/{different[0]}")
        return
    context.platform.set_exception(
        NvoiError(
            f"the servers differ: {' and '.join(different)}",
            hint="no one image runs on all of them; name finished ones for several platforms as "
            "app.*.image",
        )
    )


def check_architecture(context: ClusterContext) -> None:
    """See that the servers can run the image, where the config says what it is built for.

    Raises:
        NvoiError: some cannot.
    """
    platform = find_platform(context)
    if platform is None or not context.needs_image:
        return
    others = [
        name for name, one in context.facts.items() if f"linux/{one.architecture}" != platform
    ]
    if others:
        raise NvoiError(
            f"the image is built for {platform}, which {', '.join(others)} cannot run",
            hint="`architecture` in the config is that of all servers; it may be left out",
        )


def find_platform(context: ClusterContext) -> str | None:
    """What the config says that the image is built for."""
    architecture = getattr(context.application.compute_provider, "architecture", None)
    return PLATFORMS.get(architecture or "")


def plan(context: ClusterContext) -> Iterator[str]:
    """The servers."""
    yield from context.provider.describe(context.application)
    yield "checks their system, memory, disk, ports, clock and rights"


SERVERS: Step[ClusterContext] = Step(name="Servers", run=run, plan=plan)
