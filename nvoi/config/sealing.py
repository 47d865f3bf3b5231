"""``deploy.enc`` as bytes, and the key that seals it.

The file is a 12-byte nonce, the AES-256-GCM ciphertext and its 16-byte tag, with no
associated data (NIST SP 800-38D); the key is 32 bytes, kept as 64 hexadecimal characters.
"""

from __future__ import annotations

import os
import re
import secrets

from nvoi.errors import CredentialsError
from nvoi.secret import Secret

CONFIG_FILE = "deploy.enc"
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
KEY_TEXT = re.compile(r"[0-9a-fA-F]{64}")


def parse_key(text: str, source: str) -> Secret:
    """The key in ``text``, white space around it left off."""
    text = text.strip()
    if not KEY_TEXT.fullmatch(text):
        raise CredentialsError(
            f"{source} holds no deploy key: 64 hexadecimal characters are needed, and these are "
            f"{len(text)} characters"
            + (", not all hexadecimal" if len(text) == 2 * KEY_BYTES else "")
        )
    return Secret(text)


def generate_key() -> Secret:
    """A new random key, 64 hexadecimal characters."""
    return Secret(secrets.token_hex(KEY_BYTES))


def encrypt(plaintext: bytes, key: Secret) -> bytes:
    """``plaintext`` sealed with ``key``, under a nonce of its own."""
    from cryptography.hazmat.primitives.ciphers import aead  # noqa: PLC0415 - slow to import

    nonce = os.urandom(NONCE_BYTES)
    cipher = aead.AESGCM(bytes.fromhex(parse_key(key.reveal(), "the deploy key").reveal()))
    return nonce + cipher.encrypt(nonce, plaintext, None)


def decrypt(ciphertext: bytes, key: Secret, *, filename: str = CONFIG_FILE) -> bytes:
    """What was sealed with ``key``; ``filename`` is what errors call it.

    Raises:
        CredentialsError: the file is too short, or damaged, or sealed with another key; these
            last two cannot be told apart.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - slow to import
    from cryptography.hazmat.primitives.ciphers import aead  # noqa: PLC0415 - same

    least = NONCE_BYTES + TAG_BYTES
    if len(ciphertext) < least:
        raise CredentialsError(
            f"{filename} is cut short: {len(ciphertext)} bytes, and no such file has under {least}",
            hint="restore it from version control",
        )
    cipher = aead.AESGCM(bytes.fromhex(parse_key(key.reveal(), "the deploy key").reveal()))
    try:
        return cipher.decrypt(ciphertext[:NONCE_BYTES], ciphertext[NONCE_BYTES:], None)
    except InvalidTag:
        raise CredentialsError(
            f"{filename} cannot be decrypted: this is not its key, or the file is damaged",
            hint="use the key it was made with, or restore the file from version control",
        ) from None
