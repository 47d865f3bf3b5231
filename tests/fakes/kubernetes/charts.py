"""k3s' Helm controller, as far as its own Traefik is concerned: set up as a config says."""

from __future__ import annotations

import json

from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.objects import end
from tests.fakes.kubernetes.store import Store

NAME, NAMESPACE = "traefik", "kube-system"
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": "traefik-kube-system"}


def run(store: Store) -> None:
    """Have Traefik's Deployment be as its HelmChartConfig says.

    ``charts-stuck`` in the scenario has the installation never come to its end.
    """
    config = store.get("HelmChartConfig", NAME, NAMESPACE)
    if config is None or store.scenario.get("charts-stuck"):
        return
    values = json.loads(config["spec"]["valuesContent"])
    live = store.get("Deployment", NAME, NAMESPACE)
    if not values.get("deployment", {}).get("enabled", True):
        if live is not None:
            end(store, live)
        return
    arguments = ["--ping=true", *values.get("additionalArguments", ())]
    if live is None:
        store.add(build_deployment(arguments))
    elif (container := find_container(live))["args"] != arguments:
        container["args"] = arguments
        live["metadata"]["generation"] += 1


def find_container(deployment: Object) -> Object:
    """Its only one."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found: Object = container
    return found


def build_deployment(arguments: list[str]) -> Object:
    """Traefik's, as the chart makes it."""
    container = {"name": NAME, "image": "rancher/mirrored-library-traefik:3.7.8", "args": arguments}
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}}
    return {
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": LABELS},
        "spec": {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": template},
    }
