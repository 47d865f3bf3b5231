"""The kinds of objects there are, by all their names."""

from __future__ import annotations

# What type checkers take for true; the module `typing` takes longer to import than all else.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Object = dict[str, Any]
else:
    Object = dict

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
CLUSTER = "_"


class Kind:
    """A kind: its API version, how it is spoken of, and whether it is in namespaces."""

    def __init__(self, name: str, version: str, plural: str, *short: str, namespaced: bool) -> None:
        self.name, self.version, self.plural = name, version, plural
        self.namespaced = namespaced
        group = version.partition("/")[0] if "/" in version else ""
        #: As kubectl names one in what it prints: ``deployment.apps``.
        self.shown = f"{name.lower()}.{group}" if group else name.lower()
        #: As the API names all in errors: ``deployments.apps``.
        self.resource = f"{plural}.{group}" if group else plural
        self.names = (name.lower(), plural, self.resource, self.shown, *short)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("Deployment", "apps/v1", "deployments", "deploy", namespaced=True),
        Kind("StatefulSet", "apps/v1", "statefulsets", "sts", namespaced=True),
        Kind("ReplicaSet", "apps/v1", "replicasets", "rs", namespaced=True),
        Kind("DaemonSet", "apps/v1", "daemonsets", "ds", namespaced=True),
        Kind("Job", "batch/v1", "jobs", namespaced=True),
        Kind("Pod", "v1", "pods", "po", namespaced=True),
        Kind("Service", "v1", "services", "svc", namespaced=True),
        Kind("Secret", "v1", "secrets", namespaced=True),
        Kind("ConfigMap", "v1", "configmaps", "cm", namespaced=True),
        Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims", "pvc", namespaced=True),
        Kind("Event", "v1", "events", "ev", namespaced=True),
        Kind("Node", "v1", "nodes", "no", namespaced=False),
        Kind("Namespace", "v1", "namespaces", "ns", namespaced=False),
        Kind("PersistentVolume", "v1", "persistentvolumes", "pv", namespaced=False),
    )
}
BY_NAME = {name: kind for kind in KINDS.values() for name in kind.names}


class KubectlError(Exception):
    """What kubectl says on stderr as it ends."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.text, self.code = text, code


def get_kind(name: str) -> Kind:
    """The kind of any of its names."""
    kind = BY_NAME.get(name.lower())
    if kind is None:
        raise KubectlError(f'error: the server doesn\'t have a resource type "{name}"')
    return kind


def build_not_found(kind: Kind, name: str) -> KubectlError:
    """What the API says of what it does not have."""
    return KubectlError(f'Error from server (NotFound): {kind.resource} "{name}" not found')
