"""The step that reaches every server and finds out what it is like and lacks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from nvoi.errors import NvoiError
from nvoi.k3s.configuration import K3sSettings
from nvoi.k3s.preparation import check_servers
from nvoi.providers import Server
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.step import Step

#: What engines call the architectures of the config.
PLATFORMS = {"x86": "linux/amd64", "arm64": "linux/arm64"}


class Architectures:
    """Settles what the image is built for, once every server has told what it is.

    Where the config says it, it was settled before.
    """

    def __init__(self, context: ClusterContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._found: dict[str, str] = {}

    def hear(self, server: Server, architecture: str) -> None:
        """Take what one server says."""
        # Several servers may tell at once, and what is settled cannot be settled again.
        with self._lock:
            self._found[server.name] = architecture
            if not self._context.platform.done():
                self._settle(architecture)

    def _settle(self, architecture: str) -> None:
        platform = self._context.platform
        different = sorted(set(self._found.values()))
        if len(different) > 1:
            platform.set_exception(
                NvoiError(
                    f"the servers differ: {' and '.join(different)}",
                    hint="no one image runs on all of them; name finished ones for several "
                    "platforms as app.*.image",
                )
            )
        elif len(self._found) == len(self._context.servers):
            platform.set_result(f"linux/{architecture}")


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
        build_settings(context),
        Architectures(context).hear,
        context.cluster,
    )
    check_architecture(context)
    context.surveyed = True


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


def build_settings(context: ClusterContext) -> K3sSettings:
    """What the config says of k3s."""
    k3s = context.application.k3s
    return K3sSettings(
        version=k3s.version,
        install_url=k3s.install_url,
        system_default_registry=k3s.system_default_registry,
        mirrors=k3s.mirrors,
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
