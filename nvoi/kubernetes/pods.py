"""Pods: where they run, what they may do, how they are probed, and who reaches them. Pure.

Facts are of capabilities(7) and of the Kubernetes documentation, "Configure a Security Context" and
"Network Policies". k3s enforces the latter by itself (its documentation, "Networking Services",
"Network Policy Controller").
"""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Iterable, Mapping, Sequence

from nvoi.config.schema import Healthcheck, Security
from nvoi.kubernetes.names import (
    NAME,
    PART_OF,
    SECRET_CHECKSUM,
    SERVER_GROUP,
    TEMPLATE,
    build_checksum,
    build_label_value,
    build_labels,
    build_metadata,
    build_object,
    build_part_name,
)
from nvoi.kubernetes.ownership import Manifest
from nvoi.kubernetes.workloads import STARTUP_SECONDS, Mount, Resources, Workload
from nvoi.naming import build_label, build_prefix

# By its name a Service leads to it: each release's pods have it at their number.
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
# Time for data to be recovered after a crash: ending a database that recovers only makes it last.
DATABASE_STARTUP_SECONDS = 600
# A database that is slow under load answers again once the load is over; one that is started anew
# has to recover first, under the same load.
DATABASE_HANG_SECONDS = 600
# A service that is slow gets no requests as soon as it fails its healthcheck, and is started anew
# only where that has not helped.
PATIENCE_FACTOR = 3
LEAST_HANG_SECONDS = 60
#: k3s' own default, told to it all the same.
POD_NETWORK = "10.42.0.0/16"
#: The bits of a node's own part of that (k3s documentation, "k3s server", `cluster-cidr`).
NODE_BITS = 24
EVERYBODY = "*"
NAMESPACE_PREFIX = "namespace/"
NAMESPACE_NAME = "kubernetes.io/metadata.name"

Peer = Mapping[str, object]

#: The pods of k3s' own Traefik, which has the public's requests.
INGRESS: Peer = {
    "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: "kube-system"}},
    "podSelector": {"matchLabels": {NAME: "traefik"}},
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
        port = {"name": PORT_NAME, "containerPort": workload.port, "protocol": "TCP"}
        container["ports"] = [port]
    if workload.mounts or workload.claim:
        container["volumeMounts"] = build_volume_mounts(workload.mounts, workload.claim)
    if workload.drain_seconds:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": workload.drain_seconds}}}
    return container | build_probes(workload)


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

    ``security`` is what the config gives it beside what it has anyway, ``user`` whom its image
    names to run as, empty for root; None where that is not known.
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


def build_probes(workload: Workload) -> Manifest:
    """How the kubelet sees whether a workload's container has started, is ready, or hangs.

    Without a healthcheck it is ready when it accepts connections, and without a port when it runs.
    """
    if workload.question is not None:
        return build_database_probes(workload.question)
    if workload.check is not None:
        return build_check_probes(workload.check, workload.check.port or workload.port)
    if workload.port is None:
        return {}
    action: Manifest = {"tcpSocket": {"port": workload.port}}
    return {
        "startupProbe": build_probe(action, 1, 5, workload.startup_seconds),
        "readinessProbe": build_probe(action),
    }


def build_check_probes(check: Healthcheck, port: int | None) -> Manifest:
    action = build_action(check, port)
    interval, timeout = round_seconds(check.interval), round_seconds(check.timeout)
    regular = build_probe(action, interval, timeout, check.retries)
    patience = max(math.ceil(check.interval * check.retries), STARTUP_SECONDS)
    hang = check.restart_after or max(
        PATIENCE_FACTOR * interval * check.retries, LEAST_HANG_SECONDS
    )
    return {
        "startupProbe": build_probe(action, 1, timeout, patience),
        "readinessProbe": regular,
        "livenessProbe": build_probe(action, interval, timeout, math.ceil(hang / interval)),
    }


def build_database_probes(command: str) -> Manifest:
    action: Manifest = {"exec": {"command": build_shell(command)}}
    return {
        "startupProbe": build_probe(action, 2, 5, DATABASE_STARTUP_SECONDS // 2),
        "readinessProbe": build_probe(action, 5),
        "livenessProbe": build_probe(action, 30, 30, DATABASE_HANG_SECONDS // 30),
    }


def build_action(check: Healthcheck, port: int | None) -> Manifest:
    if check.type == "exec":
        return {"exec": {"command": build_shell(check.command or "")}}
    if check.type == "tcp":
        return {"tcpSocket": {"port": port}}
    return {"httpGet": {"path": check.path, "port": port, "scheme": "HTTP"}}


def build_probe(
    action: Manifest, interval: int = 10, timeout: int = 5, failures: int = 3
) -> Manifest:
    return action | {
        "periodSeconds": interval,
        "timeoutSeconds": timeout,
        "successThreshold": 1,
        "failureThreshold": failures,
    }


def round_seconds(seconds: float) -> int:
    """Whole seconds, at least one: Kubernetes counts in these.

    Source: its documentation, "Configure Liveness, Readiness and Startup Probes".
    """
    return max(1, math.ceil(seconds))


def build_shell(command: str) -> list[str]:
    """A shell that runs ``command`` just as it stands.

    Kubernetes reads ``$(NAME)`` in a container's command and in an exec probe's itself, and
    makes one dollar of two (API reference, Container, ``command``): each is written twice.
    """
    return ["/bin/sh", "-c", command.replace("$", "$$")]


def build_nodes() -> tuple[Peer, ...]:
    """All that is no pod: the nodes, and who comes through them.

    A node is seen by its own address or, on its way to another one, by the first two of its part
    of the pods' network, which are those of its tunnel and its bridge and never a pod's (flannel,
    "Backends"). All parts that there can be are named, so that a node that joins needs nothing.
    """
    parts = ipaddress.ip_network(POD_NETWORK).subnets(new_prefix=NODE_BITS)
    own = [{"ipBlock": {"cidr": f"{part.network_address}/31"}} for part in parts]
    return ({"ipBlock": {"cidr": "0.0.0.0/0", "except": [POD_NETWORK]}}, *own)


NODES = build_nodes()


def build_app_policy(
    app: str, others: Sequence[str], deploy_id: str, *, ingress: bool = False
) -> dict[str, object]:
    """Who reaches an app's pods, of whatever release they are, and its database.

    ``others`` are those whom its config lets in; ``ingress`` is whether the cluster's is too.
    """
    name = build_label(build_prefix(app))
    metadata = build_metadata(name, build_labels(app, "policy", name, "policy"), deploy_id)
    peers: list[Peer] = []
    if EVERYBODY not in others:
        peers += [*map(build_peer, (app, *others)), *NODES, *([INGRESS] if ingress else ())]
    return build_policy(metadata, {PART_OF: build_label_value(app)}, peers)


def build_peer(name: str) -> Peer:
    """The pods of an app, or all of a namespace."""
    if name.startswith(NAMESPACE_PREFIX):
        labels = {NAMESPACE_NAME: name.removeprefix(NAMESPACE_PREFIX)}
        return {"namespaceSelector": {"matchLabels": labels}}
    return {"podSelector": {"matchLabels": {PART_OF: build_label_value(name)}}}


def build_policy(
    metadata: Mapping[str, object], selector: Mapping[str, str], peers: Iterable[Peer]
) -> dict[str, object]:
    """Lets ``peers`` reach the pods of ``selector``, and nobody else; no peers are everybody.

    What the pods themselves reach is left open: names are asked of kube-system, and apps call
    whom they like.
    """
    rule = {"from": [dict(peer) for peer in peers]}
    specification = {
        "podSelector": {"matchLabels": dict(selector)},
        "policyTypes": ["Ingress"],
        "ingress": [rule if rule["from"] else {}],
    }
    return build_object("NetworkPolicy", dict(metadata), spec=specification)
