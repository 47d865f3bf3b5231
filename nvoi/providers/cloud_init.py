"""What a rented server does when it first starts, as user data for cloud-init.

Facts are of cloud-init's documentation, "Module reference": "Users and Groups", "SSH" and "Set
Hostname", and "User data formats": `#cloud-config`. JSON is YAML.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from nvoi.config.schema import Application
from nvoi.providers.host_keys import (
    FIRST_HOST_KEY,
    HostKeyPair,
    encode_host_key,
    generate_host_key,
)
from nvoi.providers.rented import USER, get_public_key

#: Bytes that every cloud takes; Hetzner's limit is the lowest but AWS', of 16 KiB.
LARGEST_USER_DATA = 16 * 1024


@dataclass(frozen=True)
class Boot:
    """What a new server starts with, and the labels that say by what it is known then."""

    user_data: str = field(repr=False)
    labels: Mapping[str, str]


def prepare_boot(application: Application, name: str) -> Boot:
    """A server's, with a host key that is new."""
    host_key = generate_host_key()
    labels = {FIRST_HOST_KEY: encode_host_key(host_key.public)}
    return Boot(build_user_data(name, get_public_key(application), host_key), labels)


def build_user_data(name: str, public_key: str, host_key: HostKeyPair) -> str:
    """User ``deploy``, who may do all and logs in with ``public_key`` alone, and the host key.

    Whoever is on the server can read it: ``host_key`` is for the first connection only, and is
    replaced over that.

    Args:
        name: the server's, as its host name.
    """
    document = {
        "hostname": name,
        "users": [
            {
                "name": USER,
                "shell": "/bin/bash",
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "lock_passwd": True,
                "ssh_authorized_keys": [public_key.strip()],
            }
        ],
        "disable_root": True,
        "ssh_pwauth": False,
        "ssh_deletekeys": True,
        "ssh_keys": {
            "ed25519_private": host_key.private.reveal(),
            "ed25519_public": host_key.public,
        },
        "package_update": False,
        "package_upgrade": False,
    }
    return f"#cloud-config\n{json.dumps(document, indent=1)}\n"
