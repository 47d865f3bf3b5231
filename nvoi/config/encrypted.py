"""An encrypted config as commands read and change it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from nvoi.config.credentials import DeployKey, read_key
from nvoi.config.document import decode
from nvoi.config.loader import load
from nvoi.config.locking import hold_folders
from nvoi.config.rotation import rotate
from nvoi.config.sealing import decrypt, encrypt
from nvoi.errors import ChangedError, CredentialsError, UsageError
from nvoi.files import read_file, write_private


@dataclass(frozen=True)
class EncryptedConfig:
    """An encrypted config and its key."""

    path: Path
    key: DeployKey

    @property
    def name(self) -> str:
        """What faults call the file."""
        return str(self.path)

    @contextmanager
    def held(self) -> Iterator[Self]:
        """The config with its key of now, which no other command changes meanwhile.

        Raises:
            CredentialsError: the key cannot be read any more.
            UsageError: another command has held it for too long.
        """
        key_file = self.key.path
        with hold_folders(self.path, key_file or self.path):
            # What is read from a pipe is read once.
            is_kept = key_file is not None and key_file.is_file()
            yield replace(self, key=read_key(key_file)) if key_file and is_kept else self

    def read(self) -> str:
        """The text of the config.

        Raises:
            CredentialsError: it cannot be read, or not with this key.
        """
        return decode(decrypt(read_file(self.path), self.key.value, filename=self.name), self.name)

    def check(self, text: str) -> None:
        """Raises ConfigError where ``text`` is no valid config."""
        load(text, filename=self.name, environ=None)

    def write(self, text: str) -> None:
        """Replace the config."""
        write_private(self.path, encrypt(text.encode(), self.key.value))

    def change(self, before: str, text: str) -> None:
        """Replace the config where it still says what it said before; else leave it as it is.

        Raises:
            ChangedError: others have changed it meanwhile.
            CredentialsError: it cannot be written.
        """
        try:
            is_same = self.read() == before
        except CredentialsError:
            is_same = False
        if not is_same:
            raise ChangedError(
                f"{self.name} was changed by others meanwhile, and is left as it is now"
            )
        self.write(text)

    def keep(self, text: str) -> Path:
        """Write a text that is not to be lost beside the config, encrypted with the same key."""
        path = next(path for path in self._list_kept() if not path.exists())
        write_private(path, encrypt(text.encode(), self.key.value), replace=False)
        return path

    def rotate(self, key_file: Path) -> None:
        """Give the config, and ``key_file``, a new key.

        Raises:
            UsageError: a text was kept that only the old key opens; nothing was changed.
            CredentialsError: one of the files cannot be read or written.
        """
        kept = next(self._list_kept())
        if kept.exists():
            raise UsageError(
                f"{kept} was kept by an earlier edit, and the new key would not open it",
                hint=f"take over what you need (nvoi credentials show --config {kept}), remove it",
            )
        rotate(self.path, key_file, self.key.value)

    def _list_kept(self) -> Iterator[Path]:
        for number in itertools.count(1):
            yield self.path.with_name(f"{self.path.stem}.edited-{number}{self.path.suffix}")
