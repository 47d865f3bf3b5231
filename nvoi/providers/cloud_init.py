"""How a rented server first starts, and the host keys by which all runs know it from then on. Pure.

A cloud notes public host keys as labels of the server, so that whoever deploys, from whatever
machine, meets a server that is known already.

Facts are of cloud-init's documentation, "Module reference": "Users and Groups", "SSH" and "Set
Hostname", and "User data formats": `#cloud-config`. JSON is YAML.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from nvoi.config.schema import Application
from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.secret import Secret

#: Who logs in, made by cloud-init.
USER = "deploy"
#: The label with a server's host key, and the one with the key that it was made with, which others
#: on the server may have read. A server with the second still has that key, or the first.
HOST_KEY, FIRST_HOST_KEY = "host-key", "host-key-first"
#: Bytes of an Ed25519 public key (RFC 8032, 5.1.5).
KEY_BYTES = 32
BASE32_BLOCK = 8
#: Bytes that every cloud takes; Hetzner's limit is the lowest but AWS', of 16 KiB.
LARGEST_USER_DATA = 16 * 1024


@dataclass(frozen=True)
class HostKeyPair:
    """``private`` as OpenSSH text, ``public`` as ``ssh-ed25519 AAAA…`` without a comment."""

    private: Secret
    public: str


def generate_host_key() -> HostKeyPair:
    """A new pair, not in any file."""
    keys = generate_ssh_keys("")
    return HostKeyPair(keys.private_key, keys.public_key.strip())


def build_host_key_labels(keys: Sequence[str]) -> dict[str, str]:
    """The labels for the keys that :meth:`Provider.keep_host_keys` is given.

    Two are the one that a server was made with and the one that it gets next.
    """
    names = (HOST_KEY,) if len(keys) == 1 else (FIRST_HOST_KEY, HOST_KEY)
    return {name: encode_host_key(key) for name, key in zip(names, keys, strict=True)}


def replace_host_key_labels(labels: Mapping[str, str], keys: Sequence[str]) -> dict[str, str]:
    """``labels`` of a server, with ``keys`` in place of the host keys that they name."""
    others = {k: v for k, v in labels.items() if k not in {HOST_KEY, FIRST_HOST_KEY}}
    return {**others, **build_host_key_labels(keys)}


def read_host_keys(labels: Mapping[str, str]) -> tuple[tuple[str, ...], bool]:
    """The public host keys that a server may show, and whether it is new.

    Labels that are none of nvoi's say nothing.
    """
    found = [(name, decode_host_key(labels.get(name, ""))) for name in (FIRST_HOST_KEY, HOST_KEY)]
    keys = tuple(key for _, key in found if key is not None)
    return keys, found[0][1] is not None


def encode_host_key(public: str) -> str:
    """The 32 bytes of the key in base32: 52 lower-case letters and digits, which any label takes.

    Raises:
        ValueError: it is no Ed25519 key as OpenSSH text.
    """
    try:
        key = serialization.load_ssh_public_key(public.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise ValueError("it is no Ed25519 key")  # noqa: TRY004 - the text is at fault
    return base64.b32encode(key.public_bytes_raw()).decode().rstrip("=").lower()


def decode_host_key(text: str) -> str | None:
    """The key as ``ssh-ed25519 AAAA…``; None where ``text`` is none."""
    padding = "=" * (-len(text) % BASE32_BLOCK)
    try:
        raw = base64.b32decode(text.upper() + padding)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != KEY_BYTES:
        return None
    key = ed25519.Ed25519PublicKey.from_public_bytes(raw)
    return key.public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    ).decode()


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


def get_public_key(application: Application) -> str:
    """Its kind and the key itself: accounts and servers know it without its comment."""
    if application.ssh_keys is None:
        raise AssertionError("a config for rented servers has SSH keys")
    return " ".join(application.ssh_keys.public_key.split()[:2])
