"""What k3s brings along beside Kubernetes: the kind of objects that set its charts up.

Facts are of the public API reference of helm-controller, v0.17, "HelmChartConfig".
"""

from __future__ import annotations

from typing import Any

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
