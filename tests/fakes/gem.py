"""A cluster as the Ruby gem nvoi 0.2 leaves it: its objects, and k3s as it set that up.

The objects are those of its templates (getnvoi/cli v0.2.2, ``templates``, ``deploy_service.rb`` and
``setup_k3s.rb``), applied as its kubectl did.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

from tests.fakes.cluster_state import ClusterState
from tests.fakes.k3s_host import K3sHost

MANAGER = "kubectl-client-side-apply"
VERSION = "v1.33.4+k3s1"
IMAGE = "localhost:30500/nvoi-shop:20250101000000"
#: Of the master: a worker has node-ip, flannel-iface and node-name alone.
ARGUMENTS = """\
bind-address={0}
advertise-address={0}
node-ip={0}
tls-san={0}
flannel-iface=eth0
flannel-backend=wireguard-native
disable=traefik
write-kubeconfig-mode=644
cluster-cidr=10.42.0.0/16
service-cidr=10.43.0.0/16
"""


def make_app(cluster: ClusterState) -> None:
    """Have the cluster hold all that the gem makes of ``shop``, and its pods run."""
    items = [
        *build_service("shop-web", IMAGE, 3000, replicas=2, secret="app-secret-shop"),
        build_deployment("shop-worker", IMAGE, secret="app-secret-shop"),
        *build_service("shop-cache", "redis:7", 6379, secret="shop-cache-secret"),
        build_deployment("cloudflared-web", "cloudflare/cloudflared:latest"),
        *build_service("nvoi-registry", "registry:2", 5000),
        *(build_secret(name) for name in ("app-secret-shop", "shop-cache-secret")),
        *build_database(),
    ]
    for item in items:
        cluster.apply(item, MANAGER)


def build_metadata(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": "default"}


def build_secret(name: str) -> dict[str, Any]:
    data = {"stringData": {"A": "b"}, "type": "Opaque"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": build_metadata(name)} | data


def build_deployment(
    name: str, image: str, port: int | None = None, *, replicas: int = 1, secret: str = ""
) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "app", "image": image}
    if port:
        container["ports"] = [{"containerPort": port}]
    if secret:
        source = {"secretKeyRef": {"name": secret, "key": "A"}}
        container["env"] = [{"name": "A", "valueFrom": source}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": build_metadata(name),
        "spec": {"replicas": replicas} | build_pods(name, container),
    }


def build_pods(name: str, container: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }


def build_service(name: str, image: str, port: int, **more: Any) -> Iterator[dict[str, Any]]:
    yield build_deployment(name, image, port, **more)
    ports = [{"port": port, "targetPort": port, "protocol": "TCP"}]
    specification = {"selector": {"app": name}, "ports": ports, "type": "ClusterIP"}
    head = {"apiVersion": "v1", "kind": "Service", "metadata": build_metadata(name)}
    yield head | {"spec": specification}


def build_database(
    adapter: str = "postgres", image: str = "postgres:16", port: int = 5432
) -> list[dict[str, Any]]:
    name = "db-shop"
    container = {
        "name": adapter,
        "image": image,
        "env": [{"name": "PGDATA", "value": "/var/lib/postgresql/data/pgdata"}],
        "ports": [{"containerPort": port}],
        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/postgresql/data"}],
    }
    pods = build_pods(name, container)
    folder = {"path": "/opt/nvoi/volumes/shop-main-data", "type": "DirectoryOrCreate"}
    pods["template"]["spec"]["volumes"] = [{"name": "data", "hostPath": folder}]
    ports = [{"port": port, "targetPort": port, "protocol": "TCP"}]
    return [
        build_secret("db-secret-shop"),
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": build_metadata(name),
            "spec": {"serviceName": name, "replicas": 1} | pods,
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": build_metadata(name),
            "spec": {"clusterIP": "None", "selector": {"app": name}, "ports": ports},
        },
    ]


def make_master(host: K3sHost, cluster: ClusterState, enter: tuple[str, ...], address: str) -> str:
    """Have a machine be the master that the gem has set up; the name of its node."""
    name = platform.node().lower()
    host.install(enter, "server", VERSION)
    lines = "".join(f"\t'--{one}' \\\n" for one in ARGUMENTS.format(address).splitlines())
    unit = host.root / "etc/systemd/system/k3s.service"
    unit.write_text(f"[Service]\nExecStart=/usr/local/bin/k3s \\\n    server \\\n{lines}\n")
    (host.folder / "k3s.active").touch()
    folder = host.root / "opt/nvoi/volumes/shop-main-data"
    folder.mkdir(parents=True)
    labels = {"nvoi.io/server-name": "main"}
    given = {"version": VERSION, "address": address, "ready": True, "master": True}
    cluster.register_node(name, labels=labels, **given)
    return name
