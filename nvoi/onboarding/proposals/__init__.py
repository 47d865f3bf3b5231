"""Proposals: what files of other tools say of an app, as answers to the wizard's questions.

A module a format, each with the names of its files and a function that reads one; ``tree`` and
``variables`` read what they have in common.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath

from nvoi.errors import UsageError
from nvoi.onboarding.proposals import compose, fly, heroku, kamal
from nvoi.onboarding.proposals.proposal import Proposal, Reading
from nvoi.onboarding.sources import read_text

__all__ = ["Proposal", "find_files", "read_proposal"]

Read = Callable[[Reading, str], Proposal]

#: Each format with the names that its files have in a checkout, those that say most first.
FORMATS: tuple[tuple[Sequence[str], Read], ...] = (
    (kamal.NAMES, kamal.read_kamal),
    (compose.NAMES, compose.read_compose),
    (fly.NAMES, fly.read_fly),
    (heroku.NAMES, heroku.read_heroku),
)
KINDS = "compose.yaml, Kamal's config/deploy.yml, Procfile, fly.toml and app.json"
#: Keys at the top, by which YAML of one kind is told from the other.
SERVICES, SERVICE = (
    re.compile(rf"^[\"']?{key}[\"']?\s*:", re.MULTILINE)
    for key in ("(?:services|include)", "service")
)


def find_files(folder: Path) -> list[str]:
    """The files of other tools in a checkout, one a format, those that say most first."""
    there = ([name for name in names if is_there(folder, name)] for names, _ in FORMATS)
    return [names[0] for names in there if names]


def is_there(folder: Path, name: str) -> bool:
    """Whether a file is there, and no other tool's of the same name."""
    return (folder / name).is_file() and not heroku.is_foreign(name, read_text(folder / name))


def read_proposal(
    folder: Path, file: str | Path, variables: Mapping[str, str], *, is_local: bool
) -> Proposal:
    """What a file says of the app in ``folder``.

    Args:
        file: from ``folder`` on, or absolute.
        variables: values that the file may ask for.
        is_local: whether the app is to run on this machine.

    Raises:
        ConfigError: the file is broken.
        UsageError: it cannot be read, or is of no kind that is known.
    """
    path = Path(os.path.normpath(folder.absolute() / file))
    text = read_text(path)
    if not text.strip():
        reason = "it is missing, empty, larger than 1 MiB, or no file of text"
        raise UsageError(f"{file} cannot be read: {reason}")
    read = find_reader(path, text)
    if read is None:
        raise UsageError(f"{file} is of no kind that nvoi reads", hint=f"it reads {KINDS}")
    is_inside = path.is_relative_to(folder.absolute())
    name = path.relative_to(folder.absolute()) if is_inside else path
    root = "" if is_inside else str(path.parent)
    return read(Reading(folder, variables, is_local, root), name.as_posix())


def find_reader(path: PurePath, text: str) -> Read | None:
    """The reader of a file's kind, by its name and then by what is in it."""
    name = path.name.lower()
    if name.startswith("procfile") or path.suffix.lower() == ".json":
        return heroku.read_heroku
    if path.suffix.lower() == ".toml":
        return fly.read_fly
    if path.suffix.lower() not in {".yml", ".yaml"}:
        return None
    if SERVICES.search(text):
        return compose.read_compose
    return kamal.read_kamal if SERVICE.search(text) else None
