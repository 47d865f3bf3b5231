"""Keeps the projects' keys encrypted: AES-256-GCM under a key file that lies beside the database.

A copy of the database alone, such as a backup, so gives nobody the means to send.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nvoi.dashboard.database import Database
from nvoi.errors import CredentialsError
from nvoi.files import is_open_to_others, read_with_mode, write_private
from nvoi.secret import Secret

# NIST SP 800-38D, 5.2.1.1: 96 bits is the length to use.
_NONCE_BYTES = 12
_KEY_BYTES = 32
_KEY = re.compile(rb"[0-9a-f]{64}\s*", re.ASCII)


class Keyring:
    """Seals keys, each bound to its project: one moved to another project does not open."""

    def __init__(self, path: Path, key: Secret) -> None:
        self._path = path
        self._cipher = AESGCM(bytes.fromhex(key.reveal()))

    def seal(self, project_id: int, key: Secret) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        text = key.reveal().encode()
        return nonce + self._cipher.encrypt(nonce, text, _bind(project_id))

    def unseal(self, project_id: int, sealed: bytes) -> Secret:
        """The key that was sealed.

        Raises:
            CredentialsError: the key file is not the one it was sealed with, or it was changed.
        """
        nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return Secret(self._cipher.decrypt(nonce, text, _bind(project_id)).decode())
        except (InvalidTag, ValueError):
            raise CredentialsError(
                f"{self._path} does not fit the database's keys",
                hint="put back the key file that was made with this database",
            ) from None


def _bind(project_id: int) -> bytes:
    return f"nvoi dashboard project {project_id}".encode()


def name_key_file(database: Path) -> Path:
    """Where the key file of a database lies: ``NAME.key`` for ``NAME.sqlite3``.

    It is never ``deploy.key``: in an app's checkout that one is the app's.
    """
    path = database.with_suffix(".key")
    if path == database or path.name == "deploy.key":
        return database.with_name(f"{database.name}.key")
    return path


def open_keyring(database: Database) -> Keyring:
    """The keyring of a database; its key file is made where there are no keys yet.

    Raises:
        CredentialsError: the key file is missing though the database has keys, can be read by
            others, holds no key, or does not fit the database.
        StorageError: the database cannot be read.
    """
    path = name_key_file(database.path)
    sealed = _find_sealed(database)
    if sealed is None and not path.exists():
        # Another process may be quicker; its file is as good.
        with contextlib.suppress(CredentialsError):
            write_private(path, f"{secrets.token_hex(_KEY_BYTES)}\n".encode(), replace=False)
    keyring = Keyring(path, _read_key(path))
    if sealed:
        keyring.unseal(*sealed)
    return keyring


def _find_sealed(database: Database) -> tuple[int, bytes] | None:
    with database.read() as connection:
        row = connection.execute("SELECT project_id, sealed FROM keys LIMIT 1").fetchone()
    return (row[0], row[1]) if row else None


def _read_key(path: Path) -> Secret:
    if not path.exists():
        raise CredentialsError(
            f"{path} is missing: the keys in the database are encrypted with it",
            hint="put back the key file that was made with this database",
        )
    content, mode = read_with_mode(path)
    if is_open_to_others(mode):
        raise CredentialsError(f"{path} can be read by others", hint=f"chmod 600 {path}")
    if not _KEY.fullmatch(content):
        raise CredentialsError(
            f"{path} holds no key (64 hex digits)",
            hint="put back the key file that was made with this database",
        )
    return Secret(content.decode().strip())
