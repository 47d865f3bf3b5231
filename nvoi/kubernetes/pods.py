"""The template of a workload's pods: where they run, on what, and the least that they may do. Pure.

Facts are of capabilities(7) and of the Kubernetes documentation, "Configure a Security Context".
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from nvoi.config.schema import Security
from nvoi.kubernetes.names import (
    SECRET_CHECKSUM,
    SERVER_GROUP,
    TEMPLATE,
    build_checksum,
    build_part_name,
)
from nvoi.kubernetes.ownership import Manifest
from nvoi.kubernetes.probes import build_shell
from nvoi.kubernetes.workloads import Mount, Resources, Workload

PORT_NAME = "main"
CLAIM = "data"
# Of the disk nothing is promised but a little: unless told, it would be as much as the limit.
PROMISED_DISK = "50Mi"
# Ports below 1024 are root's, or of who has this. Programs that carry it in their file, such as
# Caddy, do not start where it cannot be had.
BIND = "NET_BIND_SERVICE"
# What a process that begins as root needs to become another user, and to end what runs as one:
# images of databases, caches and web servers do so.
ROOT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")
#: Of a process of root's that reads and writes its own files alone.
LEAST_SECURITY: dict[str, object] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}


def build_template(workload: Workload, labels: dict[str, str], **specification: object) -> Manifest:
    """The template of a workload's pods; ``specification`` is what theirs has beside the common."""
    template: Manifest = {
        "metadata": {"labels": labels, "annotations": {SECRET_CHECKSUM: workload.checksum}},
        "spec": build_specification(workload) | specification,
    }
    return stamp_template(template, labels, workload.checksum)


def stamp_template(template: Manifest, labels: dict[str, str], checksum: str) -> Manifest:
    """``template`` with its own checksum: by it the pods of this release are told from older."""
    own = build_checksum([json.dumps(template, sort_keys=True)])[:16]
    annotations = {SECRET_CHECKSUM: checksum, TEMPLATE: own}
    return template | {"metadata": {"labels": labels, "annotations": annotations}}


def build_specification(workload: Workload) -> Manifest:
    seconds = workload.drain_seconds + workload.stop_seconds
    specification = build_pod(build_container(workload), terminationGracePeriodSeconds=seconds)
    if workload.priority is not None:
        specification["priorityClassName"] = workload.priority
    if workload.login is not None:
        specification["imagePullSecrets"] = [{"name": workload.login}]
    if workload.mounts:
        specification["volumes"] = build_volumes(workload.mounts)
    return specification | build_placement(workload.groups)


def build_pod(container: Manifest, **more: object) -> Manifest:
    """The spec of a pod of one container; ``more`` is what it has beside what all have."""
    return {
        "containers": [container],
        # Nothing that nvoi runs asks the cluster, and variables named after other services
        # are none of the config's.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        **more,
    }


def build_placement(groups: tuple[str, ...]) -> Manifest:
    """The part of a pod's spec that holds it to the nodes of ``groups``."""
    if not groups:
        return {}
    if len(groups) == 1:
        return {"nodeSelector": {SERVER_GROUP: groups[0]}}
    expression = {"key": SERVER_GROUP, "operator": "In", "values": list(groups)}
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    }


def build_volumes(mounts: Iterable[Mount]) -> list[Manifest]:
    """``spec.volumes`` of a pod: each volume once, however often it is mounted."""
    folders = {mount.volume: mount.folder for mount in mounts}
    return [
        {"name": build_part_name(volume), "hostPath": {"path": folder, "type": "Directory"}}
        for volume, folder in folders.items()
    ]


def build_container(workload: Workload) -> Manifest:
    container: Manifest = {
        "name": build_part_name(workload.service),
        "image": workload.image,
        "envFrom": [{"secretRef": {"name": workload.secret_name}}],
        "resources": build_resources(workload.resources),
        "securityContext": build_security(workload.security, workload.user),
    }
    if workload.command is not None:
        container["command"] = build_shell(workload.command)
    if workload.arguments:
        container["args"] = list(workload.arguments)
    if workload.port is not None:
        name = {"name": PORT_NAME} if names_port(workload) else {}
        container["ports"] = [{"containerPort": workload.port, "protocol": "TCP"} | name]
    if workload.mounts or workload.claim:
        container["volumeMounts"] = build_volume_mounts(workload.mounts, workload.claim)
    if workload.drain_seconds:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": workload.drain_seconds}}}
    return container | workload.probes


def names_port(workload: Workload) -> bool:
    """Whether the Service leads to a port's name: each release's pods have it at their number.

    A database's number never changes, and naming it would start what runs already anew.
    """
    return workload.component != "database"


def build_volume_mounts(mounts: Iterable[Mount], claim: str | None = None) -> list[Manifest]:
    """``volumeMounts`` of a container; ``claim`` is the path of :func:`build_claim`'s disk."""
    claims: list[Manifest] = [{"name": CLAIM, "mountPath": claim}] if claim else []
    return claims + [
        {"name": build_part_name(mount.volume), "mountPath": mount.path} for mount in mounts
    ]


def build_resources(resources: Resources) -> Manifest:
    requests = {"memory": resources.requested_memory, "cpu": resources.requested_cpu}
    limits = {"memory": resources.memory_limit, "cpu": resources.cpu_limit}
    if resources.disk_limit is not None:
        requests["ephemeral-storage"] = PROMISED_DISK
        limits["ephemeral-storage"] = resources.disk_limit
    return {"requests": requests, "limits": limits}


def build_security(security: Security, user: str | None) -> dict[str, object]:
    """The ``securityContext`` of a container.

    Args:
        security: what the config gives it beside what it has anyway.
        user: whom its image names to run as, empty for root; None where that is not known.
    """
    number, group = find_user(user or "")
    is_root = not user or number == 0
    given = {BIND, *security.capabilities, *(ROOT_CAPABILITIES if is_root else ())}
    context: dict[str, object] = {
        "allowPrivilegeEscalation": security.privilege_escalation,
        "capabilities": {"drop": ["ALL"], "add": sorted(given)},
    }
    if number:
        # Of a name alone Kubernetes could not tell whether it is root's.
        context |= {"runAsNonRoot": True, "runAsUser": number}
        context |= {"runAsGroup": group} if group is not None else {}
    return context


def find_user(user: str) -> tuple[int | None, int | None]:
    """The numbers of an image's user and group, ``1000:1000``; None for a name, but for root's."""
    names = ["0" if name == "root" else name for name in user.split(":")]
    numbers = [int(name) if name.isdecimal() else None for name in names]
    return numbers[0], numbers[1] if len(numbers) > 1 else None
