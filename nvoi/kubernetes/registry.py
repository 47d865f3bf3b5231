"""The registry that the nodes pull the app's images from. One serves every app of a cluster.

Whoever could write to it could replace what runs. It lets in whom it knows, and only the nodes
reach it. It has no TLS: its address is inside the cluster, whose traffic WireGuard encrypts.

What it is logged in to with follows from the token of the cluster. So it is made once, with the
token, is the same in every run, and needs no place of its own: the token is on the servers, where
only root may read it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import bcrypt

from nvoi.kubernetes.manifests import build_deployment
from nvoi.kubernetes.names import (
    build_checksum,
    build_labels,
    build_metadata,
    build_object,
    build_selector,
)
from nvoi.kubernetes.ownership import Manifest
from nvoi.kubernetes.pods import (
    LEAST_SECURITY,
    NODES,
    build_pod,
    build_policy,
    build_probe,
    build_resources,
    stamp_template,
)
from nvoi.kubernetes.workloads import DEFAULT_RESOURCES
from nvoi.secret import Secret, build_basic

NAME = "nvoi-registry"
# Not the apps' namespace, in which an app `nvoi` with a service `registry` has this name.
SYSTEM_NAMESPACE = "kube-system"
# The first 256 addresses of a range are not given out by chance (Kubernetes documentation,
# "Service ClusterIP allocation"), and k3s's range is 10.43.0.0/16.
CLUSTER_IP = "10.43.0.100"
PORT = 5000
ADDRESS = f"{CLUSTER_IP}:{PORT}"
IMAGE = "registry:3.1.1"
DATA_FOLDER = "/opt/nvoi/registry"
REGISTRIES_FILE = "/etc/rancher/k3s/registries.yaml"
# Version 2's own config is in /etc/docker/registry and version 3's in /etc/distribution: theirs
# is passed over, so that either runs.
CONFIG_FOLDER = "/etc/nvoi-registry"
CONFIG_FILE = f"{CONFIG_FOLDER}/config.yml"
USERS_FOLDER = "/etc/nvoi-registry-users"
USERS_FILE = "htpasswd"
#: Frees the disk of what images that were deleted have left. Nothing may be pushed meanwhile
#: (Distribution, "Garbage collection"): under the lock. Without ``--delete-untagged``, which takes
#: the images of an index for untagged (release 2.8).
COLLECT_GARBAGE = ("registry", "garbage-collect", CONFIG_FILE)
#: What runs in a container outlives whoever began it there, such as a run that was cut off: it has
#: its own end, before it would be given up.
LIMIT = ("timeout", "240")
MASTER_TAINTS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
USER = "nvoi"
PURPOSE = b"nvoi-registry"
# bcrypt slows down whoever guesses passwords; 256 bits are guessed by nobody, and the registry
# computes it at each request.
ROUNDS = 5
DIGITS_OF_SALT = 21


@dataclass(frozen=True)
class Credentials:
    user: str
    password: Secret

    @property
    def basic(self) -> Secret:
        return build_basic(self.user, self.password)


def build_credentials(token: Secret) -> Credentials:
    """The credentials of the cluster whose nodes join with ``token``.

    k3s itself keeps the token behind a hash of the cluster's authority, ``K10<hash>::server:``
    (k3s documentation, "k3s token", "Token format"): both forms give the same.
    """
    key = token.reveal().rpartition(":")[2].encode()
    return Credentials(USER, Secret(hmac.new(key, PURPOSE, hashlib.sha256).hexdigest()))


def build_htpasswd(credentials: Credentials) -> Secret:
    """The registry's file of users: bcrypt is all it takes (Distribution, "htpasswd").

    The salt follows from the password, or each deploy would start the registry anew. Its last
    letter holds two bits alone, and is one of four.
    """
    password = credentials.password.reveal().encode()
    digits = hashlib.sha256(b"salt:" + password).hexdigest()[:DIGITS_OF_SALT]
    salt = f"$2b${ROUNDS:02}${digits}O".encode()
    return Secret(f"{credentials.user}:{bcrypt.hashpw(password, salt).decode()}\n")


def build_registry(
    deploy_id: str, credentials: Credentials, *, node: str, image: str = IMAGE
) -> tuple[Manifest, ...]:
    """All the objects of the registry; ``node`` is the master's, which holds the data."""
    labels = build_labels("registry", "registry", NAME, "registry")
    metadata = build_metadata(NAME, labels, deploy_id, SYSTEM_NAMESPACE)
    settings, users = build_settings(), build_htpasswd(credentials)
    service: Manifest = {
        "type": "ClusterIP",
        "clusterIP": CLUSTER_IP,
        "selector": build_selector(NAME),
        "ports": [{"name": "registry", "port": PORT, "targetPort": PORT, "protocol": "TCP"}],
    }
    template = {"metadata": {"labels": labels}, "spec": build_registry_pod(node, image)}
    stamped = stamp_template(template, labels, build_checksum([settings, users.reveal()]))
    known = {USERS_FILE: b64encode(users.reveal().encode()).decode()}
    return (
        build_policy(metadata, build_selector(NAME), NODES),
        build_object("ConfigMap", metadata, data={"config.yml": settings}),
        build_object("Secret", metadata, type="Opaque", data=known),
        build_object("Service", metadata, spec=service),
        build_deployment(metadata, stamped, rolls=False),
    )


def build_settings() -> str:
    """The registry's own config, which its versions 2 and 3 read alike; JSON is YAML.

    Images can be deleted. No cache of what there is: one that is older than the last removal
    makes a push leave out layers that are gone.
    """
    access = {"htpasswd": {"realm": NAME, "path": f"{USERS_FOLDER}/{USERS_FILE}"}}
    return json.dumps(
        {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": "/var/lib/registry"},
                "delete": {"enabled": True},
            },
            "http": {"addr": f":{PORT}"},
            "auth": access,
        },
        indent=2,
    )


def build_registry_pod(node: str, image: str) -> Manifest:
    """The spec of the registry's pod, which runs beside its data."""
    volumes = [
        {"name": "data", "hostPath": {"path": DATA_FOLDER, "type": "DirectoryOrCreate"}},
        {"name": "config", "configMap": {"name": NAME}},
        {"name": "users", "secret": {"secretName": NAME, "defaultMode": 0o400}},
    ]
    return build_pod(
        build_registry_container(image),
        priorityClassName="system-cluster-critical",
        volumes=volumes,
        **build_master_placement(node),
    )


def build_master_placement(node: str) -> Manifest:
    """The part of a pod's spec that holds it to the master, whose node has this name."""
    return {
        "nodeSelector": {
            "node-role.kubernetes.io/control-plane": "true",
            "kubernetes.io/hostname": node,
        },
        "tolerations": [
            {"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in MASTER_TAINTS
        ]
        + [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
    }


def build_registry_container(image: str) -> Manifest:
    # Which it answers without a password, too (Distribution, registry.go, `alive`).
    action: Manifest = {"httpGet": {"path": "/", "port": PORT, "scheme": "HTTP"}}
    return {
        "name": "registry",
        "image": image,
        "args": ["serve", CONFIG_FILE],
        # Version 3 sends traces to a collector on localhost unless told otherwise.
        "env": [{"name": "OTEL_TRACES_EXPORTER", "value": "none"}],
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "resources": build_resources(DEFAULT_RESOURCES),
        "securityContext": LEAST_SECURITY,
        "volumeMounts": [
            {"name": "data", "mountPath": "/var/lib/registry"},
            {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
            {"name": "users", "mountPath": USERS_FOLDER, "readOnly": True},
        ],
        "startupProbe": build_probe(action, 1, 5, 120),
        "readinessProbe": build_probe(action, 5),
        "livenessProbe": build_probe(action, 10, 5, 6),
    }


def build_registries_file(
    address: str, mirrors: Mapping[str, Sequence[str]], credentials: Credentials
) -> Secret:
    """The text of :data:`REGISTRIES_FILE`, which tells containerd where to pull from.

    The registry at ``address`` is spoken to without TLS; ``mirrors`` are the endpoints of
    other registries, by their names.

    Source: k3s documentation, "Private Registry Configuration". JSON is YAML.
    """
    endpoints = {name: {"endpoint": list(urls)} for name, urls in sorted(mirrors.items())}
    endpoints[address] = {"endpoint": [f"http://{address}"]}
    login = {"username": credentials.user, "password": credentials.password.reveal()}
    content = {"mirrors": endpoints, "configs": {address: {"auth": login}}}
    return Secret(json.dumps(content, indent=2) + "\n")


def build_reference(tag: str, digest: str) -> str:
    """The full reference of the image ``P:<stamp>`` in the registry.

    It is pulled by its digest, whatever the tag comes to stand for (Kubernetes documentation,
    "Images"); the tag tells people, and the clean-up, which one it is.
    """
    return f"{ADDRESS}/{tag}@{digest}"
