"""The pod of a workload."""

from __future__ import annotations

import json

from nvoi.kubernetes.labels import SECRET_CHECKSUM, TEMPLATE
from nvoi.kubernetes.names import build_checksum, build_part_name
from nvoi.kubernetes.placement import build_placement
from nvoi.kubernetes.shell import build_shell
from nvoi.kubernetes.volumes import build_volume_mounts, build_volumes
from nvoi.kubernetes.workload import Manifest, Resources, Workload


def build_template(workload: Workload, labels: dict[str, str], **specification: object) -> Manifest:
    """The template of a workload's pods.

    Args:
        workload: what runs in them.
        labels: their labels.
        specification: what their spec has beside the common.
    """
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
    """The spec that a workload's pods have in common."""
    specification: Manifest = {
        "containers": [build_container(workload)],
        # Nothing that nvoi runs asks the cluster, and variables named after other services
        # are none of the config's.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": workload.drain_seconds + workload.stop_seconds,
    }
    if workload.mounts:
        specification["volumes"] = build_volumes(workload.mounts)
    return specification | build_placement(workload.groups)


def build_container(workload: Workload) -> Manifest:
    """The one container of a pod."""
    container: Manifest = {
        "name": build_part_name(workload.service),
        "image": workload.image,
        "envFrom": [{"secretRef": {"name": workload.secret_name}}],
        "resources": build_resources(workload.resources),
    }
    if workload.command is not None:
        container["command"] = build_shell(workload.command)
    if workload.arguments:
        container["args"] = list(workload.arguments)
    if workload.port is not None:
        container["ports"] = [{"containerPort": workload.port, "protocol": "TCP"}]
    if workload.mounts or workload.claim:
        container["volumeMounts"] = build_volume_mounts(workload.mounts, workload.claim)
    if workload.drain_seconds:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": workload.drain_seconds}}}
    return container | build_container_probes(workload)


def build_container_probes(workload: Workload) -> Manifest:
    """The probes that there are."""
    probes = {
        "startupProbe": workload.probes.startup,
        "readinessProbe": workload.probes.readiness,
        "livenessProbe": workload.probes.liveness,
    }
    return {name: probe for name, probe in probes.items() if probe}


def build_resources(resources: Resources) -> Manifest:
    """``resources`` of a container."""
    return {
        "requests": {"memory": resources.requested_memory, "cpu": resources.requested_cpu},
        "limits": {"memory": resources.memory_limit, "cpu": resources.cpu_limit},
    }
