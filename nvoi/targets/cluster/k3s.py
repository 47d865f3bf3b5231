"""The step that has k3s on every server, and every server in the cluster."""

from __future__ import annotations

from nvoi.k3s.installation import ensure_k3s
from nvoi.k3s.membership import ensure_nodes
from nvoi.k3s.versions import DEFAULT_VERSION
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.servers import build_settings
from nvoi.targets.step import Step


def run(context: ClusterContext) -> None:
    """Install or change what differs, on all servers side by side as far as their order allows.

    Raises:
        NvoiError: a server does not become a node; or the build has failed meanwhile, and
            nothing needs to be installed for it.
    """
    if context.build is not None and context.build.is_done:
        context.build.wait()
    settings, cluster = build_settings(context), context.cluster
    context.nodes = ensure_k3s(
        context.connections,
        context.servers,
        context.facts,
        settings,
        cluster,
        app=context.application.name,
    )
    ensure_nodes(
        context.connections, cluster, context.servers, context.nodes, context.application.name
    )


K3S: Step[ClusterContext] = Step(
    name="k3s",
    run=run,
    plan=lambda context: [
        f"has k3s {context.application.k3s.version or DEFAULT_VERSION} on every server"
    ],
)
