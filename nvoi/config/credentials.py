"""``deploy.enc`` and the key that opens it.

The file is a 12-byte nonce, the AES-256-GCM ciphertext and its 16-byte tag, with no
associated data (NIST SP 800-38D); the key is 32 bytes, kept as 64 hexadecimal characters.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nvoi.errors import CredentialsError
from nvoi.files import is_open_to_others, read_file, read_with_mode, write_private
from nvoi.secret import Secret

__all__ = [
    "CONFIG_FILE",
    "KEY_FILE",
    "KEY_NAMES",
    "KEY_VARIABLES",
    "DeployKey",
    "decrypt",
    "encrypt",
    "find_key",
    "generate_key",
    "get_config_file",
    "get_key",
    "read_file",
    "write_private",
]

CONFIG_FILE = "deploy.enc"
KEY_FILE = "deploy.key"
#: How the names of deploy keys begin: with the copies of one, and what a rotation that was killed
#: leaves beside it.
KEY_NAMES = (KEY_FILE, f".{KEY_FILE}")
KEY_VARIABLES = ("NVOI_MASTER_KEY", "DEPLOY_KEY")

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
KEY_TEXT = re.compile(r"[0-9a-fA-F]{64}")
KEY_HINT = f"set $DEPLOY_KEY, or put the key in {KEY_FILE} beside it, or use --key-file"


@dataclass(frozen=True)
class DeployKey:
    """The key of an app's config, which also signs its callbacks.

    Args:
        value: 64 hexadecimal characters, spelled as they are stored.
        source: where it was found, for messages.
        path: the file it was found in, None for an environment variable.
        warning: what is unsafe about that file, if anything.
    """

    value: Secret
    source: str
    path: Path | None = None
    warning: str | None = None


def get_config_file(directory: Path, explicit: Path | None = None) -> Path:
    """The config to use: ``explicit``, else deploy.enc in ``directory`` or its config folder.

    Raises:
        CredentialsError: there is none; the text names the places.
    """
    if explicit is not None:
        if not explicit.exists():
            raise CredentialsError(f"there is no config {explicit}")
        return explicit
    places = [directory / CONFIG_FILE, directory / "config" / CONFIG_FILE]
    for place in places:
        if place.exists():
            return place
    raise CredentialsError(
        f"there is no config: neither {places[0]} nor {places[1]}",
        hint="nvoi config init --name NAME makes one; --config FILE names another",
    )


def find_key(
    directory: Path,
    *,
    environ: Mapping[str, str],
    config_file: Path | None = None,
    key_file: Path | None = None,
) -> DeployKey | None:
    """The key: ``key_file``, else the environment's, else the first deploy.key there is.

    An environment variable that is empty, as CI leaves one for a secret that is not set,
    counts as unset.

    Raises:
        CredentialsError: what was found is unreadable or no key, or ``key_file`` is missing.
    """
    if key_file is not None:
        return read_key(key_file)
    for name in KEY_VARIABLES:
        if value := environ.get(name, "").strip():
            return DeployKey(parse_key(value, f"${name}"), f"${name}")
    for path in find_key_places(directory, config_file):
        if path.exists():
            return read_key(path)
    return None


def get_key(
    directory: Path,
    *,
    environ: Mapping[str, str],
    config_file: Path | None = None,
    key_file: Path | None = None,
) -> DeployKey:
    """As :func:`find_key`.

    Raises:
        CredentialsError: there is no key either; the text names every place looked at.
    """
    key = find_key(directory, environ=environ, config_file=config_file, key_file=key_file)
    if key is not None:
        return key
    variables = " and ".join(f"${name}" for name in KEY_VARIABLES)
    places = ", ".join(str(path) for path in find_key_places(directory, config_file))
    raise CredentialsError(
        f"there is no deploy key: {variables} are not set, and none of these exists: {places}",
        hint=KEY_HINT,
    )


def find_key_places(directory: Path, config_file: Path | None) -> Iterator[Path]:
    """Where a deploy.key may lie, in order, each place once."""
    folders = [config_file.parent] if config_file else []
    folders += [directory, directory / "config"]
    seen = set()
    for folder in folders:
        place = os.path.realpath(folder)
        if place not in seen:
            seen.add(place)
            yield folder / KEY_FILE


def read_key(path: Path) -> DeployKey:
    """The key in a file, with a warning where others may read it."""
    content, mode = read_with_mode(path)
    key = parse_key(content.decode("ascii", errors="replace"), str(path))
    warning = None
    if is_open_to_others(mode):
        warning = f"{path} is open to other users: chmod 600 {shlex.quote(str(path))}"
    return DeployKey(key, str(path), path, warning)


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
