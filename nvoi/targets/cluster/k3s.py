"""The step that has k3s on every server, and every server in the cluster."""

from __future__ import annotations

from nvoi.k3s.install import Installer
from nvoi.k3s.plan import DEFAULT_VERSION, K3sSettings
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.step import Step


def run(context: ClusterContext) -> None:
    """Install or change what differs, on all servers side by side as far as their order allows.

    Raises:
        NvoiError: a server does not become a node; or the build has failed meanwhile, and
            nothing needs to be installed for it.
    """
    if context.build is not None and context.build.is_done:
        context.build.wait()
    settings, name = build_settings(context), context.application.name
    installer = Installer(context.connections, context.cluster, context.servers, settings, name)
    context.nodes = installer.ensure_k3s(context.facts)


def build_settings(context: ClusterContext) -> K3sSettings:
    """What the config says of k3s."""
    k3s = context.application.k3s
    return K3sSettings(
        version=k3s.version,
        install_url=k3s.install_url,
        system_default_registry=k3s.system_default_registry,
        mirrors=k3s.mirrors,
    )


K3S: Step[ClusterContext] = Step(
    name="k3s",
    run=run,
    plan=lambda context: [
        f"has k3s {context.application.k3s.version or DEFAULT_VERSION} on every server"
    ],
)
