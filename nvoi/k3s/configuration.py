"""The two files that k3s reads on a node, and what they are to hold. All functions are pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from nvoi.kubernetes import registry
from nvoi.kubernetes.names import SERVER_GROUP, build_checksum
from nvoi.secret import Secret

FOLDER = "/etc/rancher/k3s"
CONFIG_FILE = f"{FOLDER}/config.yaml"
#: What k3s was last started with; not there from before a change until k3s runs with it.
STAMP_FILE = f"{FOLDER}/nvoi-applied"
#: The first line of a config that nvoi wrote.
HEADER = "# Written by nvoi, which replaces it: what is to differ belongs in the deploy config."
INSTALL_URL = "https://get.k3s.io"
API_PORT = 6443
#: k3s' own defaults, said aloud: servers may not be in these networks.
POD_NETWORK = "10.42.0.0/16"
SERVICE_NETWORK = "10.43.0.0/16"
FLANNEL_BACKEND = "wireguard-native"
SECRET_KEYS = ("token", "agent-token")
LABEL_KEY = "node-label"
NO_MIRRORS: Mapping[str, Sequence[str]] = MappingProxyType({})


@dataclass(frozen=True)
class K3sSettings:
    """What the config says of k3s.

    Attributes:
        version: the release; None to keep the one that there is.
        install_url: where the installer is.
        system_default_registry: where k3s pulls its own images from.
        mirrors: the endpoints of other registries, by their names.
        registry_address: where nodes pull the apps' images from, ``ADDRESS:PORT``.
    """

    version: str | None = None
    install_url: str = INSTALL_URL
    system_default_registry: str | None = None
    mirrors: Mapping[str, Sequence[str]] = field(default_factory=lambda: NO_MIRRORS)
    registry_address: str = registry.ADDRESS


@dataclass(frozen=True)
class Node:
    """A node as it is to be set up.

    Attributes:
        name: its name in the cluster.
        group: its server group.
        ip: its address among the nodes.
        token: what the nodes join with.
        master_ip: the master's address; None for the master itself.
        version: the release of k3s.
        device: the network device that has ``ip``, where the server could say it.
    """

    name: str
    group: str
    ip: str
    token: Secret
    master_ip: str | None
    version: str
    device: str | None = None

    @property
    def role(self) -> str:
        """The name of the service: ``server`` or ``agent``."""
        return "server" if self.master_ip is None else "agent"


def build_config(node: Node, settings: K3sSettings) -> Secret:
    """The text of config.yaml, which has the token. JSON's strings are YAML's.

    Sources: k3s documentation, "k3s server", "k3s agent" and "Basic Network Options". An agent
    is told of ``system-default-registry`` by its server. The pods' network does not follow
    ``node-ip``: without ``flannel-iface`` it takes the device of the default route.
    """
    values: dict[str, object] = {
        "token": node.token.reveal(),
        "node-name": node.name,
        "node-ip": node.ip,
        LABEL_KEY: [f"{SERVER_GROUP}={node.group}"],
    }
    if node.device is not None:
        values["flannel-iface"] = node.device
    if node.master_ip is not None:
        values["server"] = build_url(node.master_ip)
    else:
        values |= {
            "flannel-backend": FLANNEL_BACKEND,
            "disable": ["traefik"],
            "cluster-cidr": POD_NETWORK,
            "service-cidr": SERVICE_NETWORK,
            "write-kubeconfig-mode": "0600",
        }
        if settings.system_default_registry:
            values["system-default-registry"] = settings.system_default_registry
    lines = [f"{key}: {json.dumps(value)}" for key, value in values.items()]
    return Secret("\n".join([HEADER, *lines, ""]))


def build_url(address: str) -> str:
    """Where agents reach the master."""
    host = f"[{address}]" if ":" in address else address
    return f"https://{host}:{API_PORT}"


def build_registries(settings: K3sSettings) -> str:
    """The text of registries.yaml."""
    return registry.build_registries_file(settings.registry_address, settings.mirrors)


def build_stamp(node: Node, settings: K3sSettings) -> str:
    """What changes whenever k3s has to be started again to be as it should.

    The label is not a part of it: it is set on the node itself.
    """
    lines = build_config(node, settings).reveal().splitlines()
    parts = [line for line in lines if not line.startswith(f"{LABEL_KEY}:")]
    return build_checksum([node.version, *parts, build_registries(settings)])


def checksum(text: str) -> str:
    """As ``sha256sum`` prints it of a file."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_config(text: str) -> dict[str, object]:
    """The settings of a config.yaml but its secrets; empty where it cannot be read."""
    values = parse(text)
    return {key: value for key, value in values.items() if key not in SECRET_KEYS}


def read_token(text: str, otherwise: str = "") -> Secret | None:
    """The token of a config.yaml, or ``otherwise``, the one that k3s keeps with its data."""
    token = parse(text).get("token") or otherwise
    return Secret(token) if isinstance(token, str) and token else None


def find_secret(line: str) -> Secret | None:
    """The secret in one line of a config.yaml, to be hidden from all that is logged."""
    key, found, value = line.partition(":")
    if not found or key.strip().strip("\"'") not in SECRET_KEYS:
        return None
    text = value.strip().strip("\"'")
    return Secret(text) if text else None


def parse(text: str) -> dict[str, object]:
    """A document of plain YAML; empty where it is none."""
    try:
        values = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError):
        return {}
    return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}
