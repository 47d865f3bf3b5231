"""The Ed25519 pair with which servers are reached."""

from __future__ import annotations

from nvoi.config.schema import SSHKeys
from nvoi.secret import Secret


class KeyPairError(Exception):
    """The pair cannot be used; ``key`` is the key of ``ssh_keys`` that is at fault."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def generate_ssh_keys(comment: str) -> SSHKeys:
    """A new pair as OpenSSH text; ``comment`` ends the public key's line."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - slow to import
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - same

    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return SSHKeys(Secret(private.decode()), f"{public.decode()} {comment}")


def check_ssh_keys(keys: SSHKeys) -> None:
    """Returns where the two texts are one Ed25519 pair.

    Raises:
        KeyPairError: one of them is no key, or of another kind, or they do not belong together.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - slow to import
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - same
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - same

    try:
        private = serialization.load_ssh_private_key(keys.private_key.reveal().encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        message = "must be an Ed25519 private key as OpenSSH text, without a passphrase"
        raise KeyPairError("private_key", message)
    try:
        public = serialization.load_ssh_public_key(keys.public_key.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        public = None
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
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - slow to import
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - same
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - same

    try:
        key = serialization.load_ssh_private_key(private, None)
        text = private.decode("ascii")
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key, text = None, ""
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        message = "must be an Ed25519 private key as OpenSSH text, without a passphrase"
        raise KeyPairError("private_key", message)
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return SSHKeys(Secret(f"{text.strip()}\n"), public.decode())
