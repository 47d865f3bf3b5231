"""Where ``deploy.enc`` and the key that opens it are."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nvoi.config.rotation import finish_rotation
from nvoi.config.sealing import CONFIG_FILE, decrypt, encrypt, generate_key, parse_key
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

KEY_FILE = "deploy.key"
#: How the names of deploy keys begin: with the copies of one, and what a rotation that was killed
#: leaves beside it.
KEY_NAMES = (KEY_FILE, f".{KEY_FILE}")
KEY_VARIABLES = ("NVOI_MASTER_KEY", "DEPLOY_KEY")

KEY_HINT = f"set $DEPLOY_KEY, or put the key in {KEY_FILE} beside it, or use --key-file"


@dataclass(frozen=True)
class DeployKey:
    """The key of an app's config, which also signs its callbacks.

    Args:
        value: 64 hexadecimal characters, spelled as they are stored.
        source: where it was found, for messages.
        path: the file it was found in, None for an environment variable.
        warning: what the user is to know: what is unsafe about that file, and whether a rotation
            was cut off.
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
    counts as unset. A rotation of the config's key that was cut off is brought to its end first.

    Raises:
        CredentialsError: what was found is unreadable or no key, or ``key_file`` is missing.
    """
    places = [key_file] if key_file else [*find_key_places(directory, config_file)]
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
