"""From a config's text to its dataclasses, every fault at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nvoi.config.checks import check_application
from nvoi.config.document import Document
from nvoi.config.nodes import decode
from nvoi.config.reading import Kind, Reading, Section, read_record
from nvoi.config.schema import Config
from nvoi.config.sealing import KEY_HINT, DeployKey, decrypt
from nvoi.errors import ConfigError, CredentialsError, Fault
from nvoi.files import read_file

PLAIN_SUFFIXES = frozenset({".yml", ".yaml"})


@dataclass(frozen=True)
class LoadedConfig:
    """A document as it was understood; ``config`` counts only where there are no faults."""

    config: Config
    faults: tuple[Fault, ...]
    kinds: Mapping[str, Kind]


def load_file(path: Path, *, key: DeployKey | None, environ: Mapping[str, str]) -> Config:
    """The config in a file: plain where its name ends in .yml or .yaml, else encrypted.

    Args:
        key: what an encrypted file is read with; a plain one needs none.
        environ: what a plain config's variables are read from.

    Raises:
        CredentialsError: the file cannot be read, or not with this key.
        ConfigError: the config has faults. It carries all of them.
    """
    content = read_file(path)
    plain = is_plain(path)
    if not plain:
        if key is None:
            raise CredentialsError(f"{path} is encrypted and there is no key", hint=KEY_HINT)
        content = decrypt(content, key.value, filename=str(path), source=key.source)
    filename = str(path)
    return load(decode(content, filename), filename=filename, environ=environ if plain else None)


def is_plain(path: Path) -> bool:
    return path.suffix.lower() in PLAIN_SUFFIXES


def load(text: str, *, filename: str, environ: Mapping[str, str] | None) -> Config:
    """The config that ``text`` describes.

    Args:
        environ: what variables are read from; None, for an encrypted file, leaves them alone.

    Raises:
        ConfigError: the config has faults. It carries all of them.
    """
    result = read(Document(text, filename), environ)
    if result.faults:
        raise ConfigError(filename, result.faults)
    return result.config


def read(document: Document, environ: Mapping[str, str] | None) -> LoadedConfig:
    """All that can be said of a document, faulty or not."""
    reading = Reading(environ)
    root = Section(reading, "", document.root)
    application = root.section("application")
    if not application.given and not application.broken:
        reading.report("application", "is required")
        application.broken = True
    config: Config = read_record(root, Config)
    reading.report_unknown_keys()
    check_application(config.application, reading)
    faults = dict.fromkeys([*document.faults, *reading.faults])
    return LoadedConfig(config, tuple(faults), reading.kinds)
