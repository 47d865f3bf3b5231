"""The cluster's own ingress: k3s' Traefik, how nvoi sets it up, and what brings it to an app.

Traefik runs once, on the master, as its certificates are in one file on that disk. Requests are
led into its pod at the master's own ports: it sees who asks, and no other server takes part. Facts
are of the k3s documentation, "Helm" and "Networking Services", of Traefik's own, "EntryPoints" and
"ACME", and of its chart's values, which mean the same in all releases since k3s v1.30.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nvoi.config.schema import Ingress
from nvoi.kubernetes.names import DOMAIN, build_digest, build_labels, build_metadata, build_object
from nvoi.kubernetes.ownership import Manifest
from nvoi.kubernetes.registry import SYSTEM_NAMESPACE

Json = Mapping[str, Any]

#: The ports of the master that the public reaches.
PORTS = (80, 443)
#: The name of the chart, of its Deployment and of its class.
NAME = "traefik"
COMPONENT = "ingress"
RESOLVER = "nvoi"
#: What its HelmChartConfig was made from, as JSON.
SETTINGS = "nvoi.io/ingress"
#: Where the chart mounts the disk that its certificates are on.
FOLDER = "/data"
#: Seconds that a request may take to arrive whole; Traefik's own 60 end an upload on a slow line.
READ_SECONDS = 600


def build_chart_config(settings: Ingress | None, deploy_id: str) -> Manifest:
    """What k3s sets its Traefik up by, for all apps of the cluster; None where none needs it.

    Without any settings k3s would have it take the ports of all servers.
    """
    values = build_values(settings) if settings else build_idle_values()
    labels = build_labels(COMPONENT, COMPONENT, NAME, COMPONENT)
    mark = {SETTINGS: describe_settings(settings)}
    metadata = build_metadata(NAME, labels, deploy_id, SYSTEM_NAMESPACE, mark)
    # JSON is YAML.
    content = json.dumps(values, indent=2)
    return build_object("HelmChartConfig", metadata, spec={"valuesContent": content})


def describe_settings(settings: Ingress | None) -> str:
    """What two apps of a cluster must agree on; empty for none."""
    return f"{settings.email} at {settings.directory_url}" if settings else ""


def build_values(settings: Ingress) -> Json:
    return {
        # It is on the disk of one server, and so is the disk.
        "nodeSelector": {"node-role.kubernetes.io/control-plane": "true"},
        "persistence": {"enabled": True},
        # Two at once would want the same ports.
        "updateStrategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
        },
        "service": {"enabled": False},
        "ports": {
            name: {"hostPort": port} for name, port in zip(("web", "websecure"), PORTS, strict=True)
        },
        "additionalArguments": [*build_arguments(settings)],
    }


def build_arguments(settings: Ingress) -> list[str]:
    """Traefik's own arguments, which all versions of the chart hand on as they are.

    Each authority has a file of its own: certificates of one are never taken for another's.
    """
    acme, web = f"--certificatesResolvers.{RESOLVER}.acme", "--entryPoints.web"
    file = f"{FOLDER}/acme-{build_digest(settings.directory_url)}.json"
    timeouts = "transport.respondingTimeouts"
    return [
        f"{acme}.email={settings.email}",
        f"{acme}.caServer={settings.directory_url}",
        f"{acme}.storage={file}",
        f"{acme}.httpChallenge.entryPoint=web",
        # Made in no time, where a key of RSA takes seconds on a small server.
        f"{acme}.keyType=EC256",
        f"{web}.http.redirections.entryPoint.to=:443",
        f"{web}.http.redirections.entryPoint.scheme=https",
        f"{web}.http.redirections.entryPoint.permanent=true",
        f"--entryPoints.websecure.{timeouts}.readTimeout={READ_SECONDS}s",
    ]


def build_idle_values() -> Json:
    return {
        "deployment": {"enabled": False},
        "service": {"enabled": False},
        # The certificates stay for when it is needed again.
        "persistence": {"enabled": True},
    }


def build_ingress(
    app: str,
    service: str,
    *,
    workload: str,
    port: int,
    hostnames: Sequence[str],
    deploy_id: str,
) -> Manifest:
    """What has Traefik lead ``hostnames`` to a Service, with a certificate for each."""
    labels = build_labels(app, service, workload, DOMAIN)
    router = "traefik.ingress.kubernetes.io/router"
    annotations = {
        f"{router}.entrypoints": "websecure",
        f"{router}.tls": "true",
        f"{router}.tls.certresolver": RESOLVER,
    }
    backend = {"service": {"name": workload, "port": {"number": port}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    metadata = build_metadata(workload, labels, deploy_id, annotations=annotations)
    rules = [{"host": one, "http": {"paths": [path]}} for one in hostnames]
    return build_object("Ingress", metadata, spec={"ingressClassName": NAME, "rules": rules})


def is_set_up(deployment: Json, settings: Ingress) -> bool:
    """Whether Traefik's Deployment was made from ``settings``."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    arguments = {word for one in containers for word in one.get("args") or ()}
    return arguments.issuperset(build_arguments(settings))
