"""Kinds of objects, how objects are selected, and what the API says of what it refuses."""

from __future__ import annotations

import re
from typing import Any

Object = dict[str, Any]

CLUSTER = "_"


class Kind:
    """A kind: its API version, its name in paths, and whether it is in namespaces."""

    def __init__(self, name: str, version: str, plural: str, *, namespaced: bool = True) -> None:
        self.name, self.version, self.plural = name, version, plural
        self.namespaced = namespaced
        self.group = version.partition("/")[0] if "/" in version else ""
        #: As the API names all in errors: ``deployments.apps``.
        self.resource = f"{plural}.{self.group}" if self.group else plural

    def is_at(self, path: str, namespace: str | None) -> bool:
        """Whether a path is one of its version, and names no namespace where it is in none."""
        root = "/apis" if self.group else "/api"
        return path.startswith(f"{root}/{self.version}/") and (self.namespaced or not namespace)


#: Kubernetes' own (API reference), and not nvoi's: one that nvoi has wrong is not found here.
KINDS = {
    kind.name: kind
    for kind in (
        Kind("Deployment", "apps/v1", "deployments"),
        Kind("StatefulSet", "apps/v1", "statefulsets"),
        Kind("ReplicaSet", "apps/v1", "replicasets"),
        Kind("Job", "batch/v1", "jobs"),
        Kind("CronJob", "batch/v1", "cronjobs"),
        Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies"),
        Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets"),
        Kind("Ingress", "networking.k8s.io/v1", "ingresses"),
        Kind("HelmChartConfig", "helm.cattle.io/v1", "helmchartconfigs"),
        Kind("PriorityClass", "scheduling.k8s.io/v1", "priorityclasses", namespaced=False),
        Kind("Pod", "v1", "pods"),
        Kind("Service", "v1", "services"),
        Kind("Secret", "v1", "secrets"),
        Kind("ConfigMap", "v1", "configmaps"),
        Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims"),
        Kind("Event", "v1", "events"),
        Kind("Node", "v1", "nodes", namespaced=False),
        Kind("PersistentVolume", "v1", "persistentvolumes", namespaced=False),
    )
}
BY_PLURAL = {kind.plural: kind for kind in KINDS.values()}


class ApiError(Exception):
    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            **({"reason": reason} if reason else {}),
            **({"details": details} if details else {}),
            "code": code,
        }


def refuse(item: Object, field: str, message: str) -> ApiError:
    kind, name = KINDS[item["kind"]], item["metadata"]["name"]
    return ApiError(
        422,
        "Invalid",
        f'{kind.name}{"." * bool(kind.group)}{kind.group} "{name}" is invalid: {field}: {message}',
        name=name,
        group=kind.group,
        kind=kind.name,
        causes=[{"reason": "FieldValueInvalid", "message": message, "field": field}],
    )


def build_not_found(kind: Kind, name: str) -> ApiError:
    details = {"name": name, "group": kind.group, "kind": kind.plural}
    return ApiError(404, "NotFound", f'{kind.resource} "{name}" not found', **details)


TERM = re.compile(r"\s*(!?)\s*([\w./-]+)\s*(?:(==|!=|=)\s*([\w.-]*)|(in|notin)\s*\(([^)]*)\))?\s*")


def matches(selector: str | None, labels: dict[str, str]) -> bool:
    position, text = 0, selector or ""
    while position < len(text):
        term = TERM.match(text, position)
        if term is None or text[term.end() : term.end() + 1] not in ("", ","):
            raise ApiError(400, "BadRequest", f"unable to parse requirement: {text[position:]}")
        position = term.end() + 1
        if not fits(term.groups(), labels):
            return False
    return True


def fits(term: tuple[str | None, ...], labels: dict[str, str]) -> bool:
    no, key, sign, value, word, values = term
    own = labels.get(key or "")
    if word:
        is_among = own is not None and own in [one.strip() for one in (values or "").split(",")]
        return is_among == (word == "in")
    if sign:
        return (own == value) == (sign != "!=")
    return (own is None) == bool(no)


def matches_fields(selector: str | None, item: Object) -> bool:
    for term in filter(None, (selector or "").split(",")):
        path, _, wanted = term.partition("=")
        value: object = item
        for key in path.rstrip("!").split("."):
            value = value.get(key, "") if isinstance(value, dict) else ""
        if (str(value) == wanted) == path.endswith("!"):
            return False
    return True
