"""How visitors reach an app: by k3s' own Traefik, and by what the release before was reached by.

Traefik runs once, on the master, as its certificates are in one file on that disk. Requests are
led into its pod at the master's own ports: it sees who asks, and no other server takes part. Facts
are of the k3s documentation, "Helm" and "Networking Services", of Traefik's own, "EntryPoints" and
"ACME", and of its chart's values, which mean the same in all releases since k3s v1.30.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from nvoi.config.schema import Ingress
from nvoi.kubernetes.names import (
    DOMAIN,
    build_digest,
    build_labels,
    build_metadata,
    build_object,
)
from nvoi.kubernetes.ownership import Json, Manifest, read_reference
from nvoi.kubernetes.pods import INGRESS
from nvoi.kubernetes.registry import SYSTEM_NAMESPACE
from nvoi.kubernetes.workloads import PUBLIC_NAME, PUBLIC_PORT

#: The ports of the master that the public reaches.
PORTS = (80, 443)
#: The name of the chart, of its Deployment and of its class.
TRAEFIK = "traefik"
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
    labels = build_labels(COMPONENT, COMPONENT, TRAEFIK, COMPONENT)
    mark = {SETTINGS: describe_settings(settings)}
    metadata = build_metadata(TRAEFIK, labels, deploy_id, SYSTEM_NAMESPACE, mark)
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
    return build_object("Ingress", metadata, spec={"ingressClassName": TRAEFIK, "rules": rules})


def is_set_up(deployment: Json, settings: Ingress) -> bool:
    """Whether Traefik's Deployment was made from ``settings``."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    arguments = {word for one in containers for word in one.get("args") or ()}
    return arguments.issuperset(build_arguments(settings))


def keep_ways(live: Iterable[Json], wanted: Iterable[Manifest]) -> list[Manifest]:
    """``wanted``, which leaves open what visitors of ``live`` come by now.

    These are the ports of Services to which they are led, the place of the ingress among those
    whom a policy lets in, and the names that an Ingress serves, unless another is to serve them.
    """
    there, wanted = {read_reference(item): item for item in live}, list(wanted)
    names = {rule.get("host") for item in wanted for rule in list_rules(item)}
    return [
        keep_open(item, found, names) if (found := there.get(read_reference(item))) else item
        for item in wanted
    ]


def keep_open(item: Manifest, live: Json, names: set[str | None]) -> Manifest:
    """An object with what visitors come by in the live one; ``names`` are led elsewhere by then."""
    spec: Any = item.get("spec")
    if item["kind"] == "Service":
        changed = spec | {"ports": [*spec["ports"], *list_ports(spec, live["spec"])]}
    elif item["kind"] == "NetworkPolicy":
        found = live["spec"].get("ingress") or ()
        changed = spec | {"ingress": keep_ingress(spec["ingress"], found)}
    elif item["kind"] == "Ingress":
        kept = [rule for rule in list_rules(live) if rule.get("host") not in names]
        changed = spec | {"rules": [*list_rules(item), *kept]}
    else:
        return item
    return item | {"spec": changed}


def list_ports(wanted: Any, live: Any) -> list[Manifest]:
    """The port that visitors are led to, where it is there and no longer wanted."""
    is_there = any(port.get("name") == PUBLIC_NAME for port in live["ports"])
    if not is_there or any(port["port"] == PUBLIC_PORT for port in wanted["ports"]):
        return []
    return [wanted["ports"][0] | {"name": PUBLIC_NAME, "port": PUBLIC_PORT}]


def keep_ingress(wanted: Any, live: Any) -> Any:
    """A policy's wanted rules, which let the ingress in where the live ones do.

    A rule without peers lets everybody in.
    """
    is_let_in = any(INGRESS in (rule.get("from") or (INGRESS,)) for rule in live)
    return [
        rule | {"from": [*rule["from"], dict(INGRESS)]}
        if is_let_in and rule and INGRESS not in rule["from"]
        else rule
        for rule in wanted
    ]


def list_rules(item: Json | Manifest) -> list[Any]:
    spec: Any = item.get("spec")
    return list(spec.get("rules") or ()) if item["kind"] == "Ingress" else []
