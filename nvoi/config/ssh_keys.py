"""The Ed25519 pair with which servers are reached."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from nvoi.config.schema import SSHKeys
from nvoi.secret import Secret


class KeyPairError(Exception):
    """The pair cannot be used; ``key`` is the key of ``ssh_keys`` that is at fault."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def generate_ssh_keys(comment: str) -> SSHKeys:
    """A new pair as OpenSSH text; ``comment`` ends the public key's line."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    return SSHKeys(Secret(private.decode()), f"{write_public(key)} {comment}")


def check_ssh_keys(keys: SSHKeys) -> None:
    """Returns where the two texts are one Ed25519 pair.

    Raises:
        KeyPairError: one of them is no key, or of another kind, or they do not belong together.
    """
    private = load_private(keys.private_key.reveal().encode())
    public = try_load(lambda: serialization.load_ssh_public_key(keys.public_key.encode()))
    if not isinstance(public, ed25519.Ed25519PublicKey):
        message = "must be an Ed25519 public key as OpenSSH text: ssh-ed25519 AAAA…"
        raise KeyPairError("public_key", message)
    if public.public_bytes_raw() != private.public_key().public_bytes_raw():
        raise KeyPairError("public_key", "is not the public half of private_key")


def derive_ssh_keys(private: bytes) -> SSHKeys:
    """The pair that a private key file stands for.

    Raises:
        KeyPairError: it holds no Ed25519 key that can be used.
    """
    key = load_private(private)
    return SSHKeys(Secret(f"{private.decode('ascii').strip()}\n"), write_public(key))


def load_private(content: bytes) -> ed25519.Ed25519PrivateKey:
    key = try_load(lambda: serialization.load_ssh_private_key(content, None))
    if not isinstance(key, ed25519.Ed25519PrivateKey) or not content.isascii():
        message = "must be an Ed25519 private key as OpenSSH text, without a passphrase"
        raise KeyPairError("private_key", message)
    return key


def try_load(load: Callable[[], object]) -> object:
    try:
        return load()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def write_public(key: ed25519.Ed25519PrivateKey) -> str:
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return public.decode()
