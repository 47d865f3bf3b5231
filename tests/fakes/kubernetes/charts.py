"""k3s' Helm controller, as far as its own Traefik is concerned: set up as a config says."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.objects import end
from tests.fakes.kubernetes.store import Store

GROUP, VERSION, KIND, PLURAL = "helm.cattle.io", "v1", "HelmChartConfig", "helmchartconfigs"
SECRET: dict[str, Any] = {
    "type": "object",
    "properties": {
        "ignoreUpdates": {"type": "boolean"},
        "keys": {"type": "array", "items": {"type": "string"}},
        "name": {"type": "string"},
    },
}
#: What `spec` of one may have, as a schema of OpenAPI and of JSON.
SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {
        "failurePolicy": {
            "type": "string",
            "enum": ["abort", "reinstall", "retry"],
            "default": "reinstall",
        },
        "valuesContent": {"type": "string"},
        "valuesSecrets": {"type": "array", "items": SECRET},
    },
}
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "names": {"kind": KIND, "plural": PLURAL, "singular": KIND.lower()},
        "scope": "Namespaced",
        "versions": [
            {
                "name": VERSION,
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC}}},
            }
        ],
    },
}


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
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found: Object = container
    return found


def build_deployment(arguments: list[str]) -> Object:
    container = {"name": NAME, "image": "rancher/mirrored-library-traefik:3.7.8", "args": arguments}
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}}
    return {
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": LABELS},
        "spec": {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": template},
    }
