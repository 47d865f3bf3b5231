"""cloudflared: it connects the cluster to a tunnel at Cloudflare, from inside, so no port is open.

Facts are of Cloudflare's documentation, "Tunnel run parameters" and "Tunnel metrics".
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass

from nvoi.kubernetes.manifests import build_budget, build_deployment, build_spread
from nvoi.kubernetes.names import (
    DOMAIN,
    build_checksum,
    build_labels,
    build_metadata,
    build_object,
    build_secret_name,
)
from nvoi.kubernetes.ownership import Manifest
from nvoi.kubernetes.pods import (
    LEAST_SECURITY,
    build_pod,
    build_probe,
    build_resources,
    stamp_template,
)
from nvoi.kubernetes.workloads import Resources
from nvoi.naming import build_connector_name
from nvoi.secret import Secret

IMAGE = "cloudflare/cloudflared:2026.8.2"
#: Whom the image runs as.
USER = 65532
REPLICAS = 2
#: Seconds that what visitors have asked may take when a pod ends, and until it is killed.
DRAIN_SECONDS, GRACE_SECONDS = 30, 35
METRICS_PORT = 2000
TOKEN_FOLDER, TOKEN_KEY = "/etc/cloudflared-token", "token"
RESOURCES = Resources(
    requested_memory="64Mi",
    requested_cpu="50m",
    memory_limit="256Mi",
    cpu_limit="500m",
    disk_limit="1Gi",
)
#: The annotation with the id of the tunnel.
TUNNEL = "nvoi.io/tunnel"


@dataclass(frozen=True)
class Connector:
    """What connects to one tunnel, the one of an app's service."""

    app: str
    service: str
    tunnel_id: str
    token: Secret
    deploy_id: str

    @property
    def name(self) -> str:
        return build_connector_name(self.app, self.service)

    @property
    def checksum(self) -> str:
        return build_checksum([self.token.reveal()])

    @property
    def labels(self) -> dict[str, str]:
        return build_labels(self.app, self.service, self.name, DOMAIN)

    def build_metadata(self, name: str) -> Manifest:
        mark = {TUNNEL: self.tunnel_id}
        return build_metadata(name, self.labels, self.deploy_id, annotations=mark)


def build_cloudflared(connector: Connector) -> tuple[Manifest, ...]:
    """All objects of a connector. They bear the app's name: its policy lets them reach its pods."""
    name, metadata = connector.name, connector.build_metadata(connector.name)
    secret = build_secret_name(name, connector.checksum)
    token = b64encode(connector.token.reveal().encode()).decode()
    template: Manifest = {
        "metadata": {"labels": connector.labels},
        "spec": build_connector_pod(name, secret),
    }
    stamped = stamp_template(template, connector.labels, connector.checksum)
    data, own = {TOKEN_KEY: token}, connector.build_metadata(secret)
    return (
        build_object("Secret", own, type="Opaque", immutable=True, data=data),
        build_budget(name, metadata),
        # A new one is connected before an old one goes.
        build_deployment(metadata, stamped, rolls=True, replicas=REPLICAS),
    )


def build_connector_pod(name: str, secret: str) -> Manifest:
    """The spec of a pod, which runs on a node of its own where there are several."""
    context = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        # The token's file is its group's: a Secret's files are root's.
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return build_pod(
        build_container(),
        securityContext=context,
        terminationGracePeriodSeconds=GRACE_SECONDS,
        topologySpreadConstraints=build_spread(name),
        volumes=[{"name": TOKEN_KEY, "secret": {"secretName": secret, "defaultMode": 0o440}}],
    )


def build_container() -> Manifest:
    values = {
        # No argument, which whoever lists the node's processes could read.
        "TUNNEL_TOKEN_FILE": f"{TOKEN_FOLDER}/{TOKEN_KEY}",
        "TUNNEL_METRICS": f"0.0.0.0:{METRICS_PORT}",
        "TUNNEL_GRACE_PERIOD": f"{DRAIN_SECONDS}s",
        "NO_AUTOUPDATE": "true",
    }

    def get(path: str) -> Manifest:
        return {"httpGet": {"path": path, "port": METRICS_PORT, "scheme": "HTTP"}}

    return {
        "name": "cloudflared",
        "image": IMAGE,
        "args": ["tunnel", "run"],
        "env": [{"name": key, "value": value} for key, value in values.items()],
        "ports": [{"containerPort": METRICS_PORT, "protocol": "TCP"}],
        "resources": build_resources(RESOURCES),
        "securityContext": LEAST_SECURITY | {"readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": TOKEN_KEY, "mountPath": TOKEN_FOLDER, "readOnly": True}],
        # It is ready once it is connected, and it lives as long as it answers at all: to start it
        # anew does not help where Cloudflare is out of reach.
        "readinessProbe": build_probe(get("/ready"), 5),
        "livenessProbe": build_probe(get("/healthcheck"), 10, 5, 6),
    }
