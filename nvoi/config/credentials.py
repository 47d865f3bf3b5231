"""Where ``deploy.enc`` and its key are; reading, changing and making them."""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from nvoi.config.loader import load
from nvoi.config.nodes import decode
from nvoi.config.sealing import (
    CONFIG_FILE,
    KEY_FILE,
    KEY_HINT,
    DeployKey,
    decrypt,
    encrypt,
    finish_rotation,
    hold_folders,
    parse_key,
    rotate,
)
from nvoi.errors import ChangedError, CredentialsError, UsageError
from nvoi.files import is_open_to_others, read_file, read_with_mode, write_private
from nvoi.secret import Secret

#: How the names of deploy keys begin: with the copies of one, and what a rotation that was killed
#: leaves beside it.
KEY_NAMES = (KEY_FILE, f".{KEY_FILE}")
KEY_VARIABLES = ("NVOI_MASTER_KEY", "DEPLOY_KEY")
#: The lines that keep keys out of commits and images. Those of .gitignore hold for folders below
#: it; those of .dockerignore have to say so.
GIT_LINES = (*(f"{name}*" for name in KEY_NAMES), ".deploy.enc.*")
DOCKER_LINES = tuple(f"**/{line}" for line in GIT_LINES)


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
        hint="nvoi onboard makes one; --config FILE names another",
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
    counts as unset. A rotation of the config's key that was cut off is brought to its end first.

    Raises:
        CredentialsError: what was found is unreadable or no key, or ``key_file`` is missing.
    """
    places = [key_file] if key_file else list_key_places(directory, config_file)
    told = [finish_rotation(config_file, place) for place in places] if config_file else []
    key = read_key(key_file) if key_file else choose_key(places, environ)
    if key is None or not any(told):
        return key
    return replace(key, warning="; ".join(filter(None, [*told, key.warning])))


def choose_key(places: Iterable[Path], environ: Mapping[str, str]) -> DeployKey | None:
    """The environment's key, else that of the first of ``places`` that is there."""
    for name in KEY_VARIABLES:
        if value := environ.get(name, "").strip():
            return DeployKey(parse_key(value, f"${name}"), f"${name}")
    return next((read_key(path) for path in places if path.exists()), None)


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
    places = ", ".join(str(path) for path in list_key_places(directory, config_file))
    raise CredentialsError(
        f"there is no deploy key: {variables} are not set, and none of these exists: {places}",
        hint=KEY_HINT,
    )


def list_key_places(directory: Path, config_file: Path | None) -> list[Path]:
    """Where a deploy.key may lie, in order, each place once."""
    folders = [config_file.parent] if config_file else []
    folders += [directory, directory / "config"]
    places: dict[str, Path] = {}
    for folder in folders:
        places.setdefault(os.path.realpath(folder), folder / KEY_FILE)
    return [*places.values()]


def read_key(path: Path) -> DeployKey:
    """The key in a file, with a warning where others may read it."""
    content, mode = read_with_mode(path)
    key = parse_key(content.decode("ascii", errors="replace"), str(path))
    warning = None
    if is_open_to_others(mode):
        warning = f"{path} is open to other users: chmod 600 {shlex.quote(str(path))}"
    return DeployKey(key, str(path), path, warning)


@dataclass(frozen=True)
class EncryptedConfig:
    path: Path
    key: DeployKey

    @property
    def name(self) -> str:
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
        """The text of the config."""
        content, key = read_file(self.path), self.key
        return decode(decrypt(content, key.value, filename=self.name, source=key.source), self.name)

    def check(self, text: str) -> None:
        """Raises ConfigError where ``text`` is no valid config."""
        load(text, filename=self.name, environ=None)

    def write(self, text: str) -> None:
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


def create_config(
    config_file: Path,
    text: str,
    key: Secret,
    *,
    key_file: Path | None,
    checkout: Path,
    is_new_key: bool = True,
) -> None:
    """Writes the encrypted config, its key, and the lines that keep the key where it is.

    These are in ``.gitignore`` beside the key and in ``.dockerignore`` in the checkout.

    Args:
        key_file: where the key goes; None where it is kept elsewhere.
        checkout: what an image is built from.
        is_new_key: False where it is in ``key_file`` already; otherwise nothing is there yet.

    Raises:
        InputError: one of them cannot be written; then none is, and all is as it was.
    """
    with ExitStack() as undo:
        if key_file is not None:
            for path, lines in find_ignore_files(key_file.parent, checkout).items():
                undo.enter_context(add_lines(path, lines))
        if key_file is not None and is_new_key:
            write_private(key_file, f"{key.reveal()}\n".encode(), replace=False)
            undo.callback(key_file.unlink, missing_ok=True)
        write_private(config_file, encrypt(text.encode(), key), replace=False)
        undo.pop_all()


def find_ignore_files(folder: Path, checkout: Path) -> dict[Path, tuple[str, ...]]:
    return {folder / ".gitignore": GIT_LINES, checkout / ".dockerignore": DOCKER_LINES}


def check_ignore_files(folder: Path, checkout: Path) -> None:
    """Raises UsageError where one of them is there and no line can be added to it."""
    for path in find_ignore_files(folder, checkout):
        if os.path.lexists(path) and not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
            raise UsageError(f"{path} is no file that can be written to")


def add_lines(path: Path, lines: Iterable[str]) -> ExitStack:
    """Adds those of ``lines`` that a file lacks; closing what is returned takes that back."""
    undo = ExitStack()
    try:
        content = path.read_bytes() if path.exists() else None
        there = {line.strip() for line in (content or b"").decode(errors="replace").splitlines()}
        missing = [line for line in lines if line not in there]
        if not missing:
            return undo
        if content is None:
            undo.callback(path.unlink, missing_ok=True)
        else:
            undo.callback(os.truncate, path, len(content))
        separator = b"" if not content or content.endswith(b"\n") else b"\n"
        with path.open("ab") as file:
            file.write(separator + "".join(f"{line}\n" for line in missing).encode())
    except OSError as error:
        undo.close()
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    return undo
