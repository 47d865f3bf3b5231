"""Every name that an app has outside this machine, derived from its config.

Names are the look-up key: what a run made is found again by its name, there is no
state file. All functions are pure. A DNS label has at most 63 characters, of which
only letters, digits and hyphens may be used (RFC 1035 and RFC 1123); Kubernetes and
the clouds hold names of workloads and servers to the same rule.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

from nvoi.errors import UsageError

LABEL_LENGTH = 63
HASH_LENGTH = 8
VOLUMES_FOLDER = "/opt/nvoi/volumes"
NOTES_FOLDER = f"{VOLUMES_FOLDER}/.apps"
BRANCH = re.compile(r"[a-z0-9-]+")


def shorten(name: str) -> str:
    """``name`` in at most 63 characters; a longer one ends in 8 hex of its SHA-256."""
    if len(name) <= LABEL_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:HASH_LENGTH]
    return f"{name[: LABEL_LENGTH - HASH_LENGTH - 1]}-{digest}"


def build_label(name: str) -> str:
    """``name`` as a DNS label: lower case, hyphens for underscores, at most 63 characters."""
    return shorten(name.lower().replace("_", "-").strip("-"))


def build_prefix(name: str) -> str:
    """``nvoi-<name>``, at most 63 characters: what the app's cloud resources begin with."""
    return shorten(f"nvoi-{name}")


def build_firewall_name(name: str) -> str:
    return f"{build_prefix(name)}-firewall"


def build_network_name(name: str) -> str:
    return f"{build_prefix(name)}-network"


def build_key_name(name: str, public_key: str) -> str:
    """The SSH key that new servers are made with; another key has another name."""
    digest = hashlib.sha256(public_key.encode()).hexdigest()[:HASH_LENGTH]
    return f"{build_prefix(name)}-key-{digest}"


def build_tunnel_name(name: str, service: str) -> str:
    """The tunnel that brings a service's host names to it."""
    return f"{build_prefix(name)}-{service}"


def build_connector_name(name: str, service: str) -> str:
    """What connects the cluster to that tunnel, as a DNS label."""
    return build_label(f"cloudflared-{name}-{service}")


def build_server_name(name: str, group: str, index: int) -> str:
    """``<name>-<group>-<index>`` as a DNS label; ``index`` counts from 1."""
    return build_label(f"{name}-{group}-{index}")


def build_image_tag(name: str, moment: datetime) -> str:
    """The image built at ``moment``, which the caller gives in UTC."""
    return f"{build_prefix(name)}:{moment:%Y%m%d%H%M%S}"


def build_volume_name(name: str, group: str, volume: str) -> str:
    """``<name>-<group>-<volume>``, spelled as in the config: existing volumes are found by it."""
    return f"{name}-{group}-{volume}"


def build_volume_path(name: str, group: str, volume: str) -> str:
    return f"{VOLUMES_FOLDER}/{build_volume_name(name, group, volume)}"


def build_notes_path(name: str) -> str:
    """Where a server notes which of the volumes' folders are an app's.

    Their own names do not say it: ``shop-blue-data`` may be of ``shop`` or of ``shop-blue``.
    """
    return f"{NOTES_FOLDER}/{name}"


def build_workload_name(name: str, service: str) -> str:
    """The workload of a service, and the Service in front of it, as a DNS label."""
    return build_label(f"{name}-{service}")


def build_database_name(name: str) -> str:
    """The database's workload, and the host name under which the app reaches it."""
    return build_label(f"db-{name}")


def build_hostnames(domain: str, subdomain: str | None) -> tuple[str, ...]:
    """The host names of a service, lower case; a blank subdomain or ``@`` is the whole domain."""
    domain = domain.lower()
    if subdomain in (None, "", "@"):
        return (domain, f"*.{domain}")
    return (f"{subdomain}.{domain}".lower(),)


def check_branch(branch: str) -> str:
    """``branch`` itself, where it may become a part of names.

    Raises:
        UsageError: it is not ``[a-z0-9-]+``.
    """
    if not BRANCH.fullmatch(branch):
        raise UsageError(
            "--branch: a name of lower-case letters, digits and hyphens is needed",
            hint="for feature/Login use --branch feature-login",
        )
    return branch
