"""Files of a cluster's folder."""
# ruff: noqa: PTH103, PTH105, PTH108, PTH118, PTH123, PTH208
# pathlib takes as long to import as all that a call has to do.

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fakes.kubernetes.kinds import TYPE_CHECKING, Object

if TYPE_CHECKING:
    from pathlib import Path

    Folder = Path | str


def join(folder: Folder, *names: str) -> str:
    """A path below a folder."""
    return os.path.join(folder, *names)


def find_files(folder: str) -> Iterator[tuple[str, ...]]:
    """The names that lead to each file three levels below, in order."""
    for first in list_names(folder):
        for second in list_names(join(folder, first)):
            for third in list_names(join(folder, first, second)):
                yield first, second, third


def list_names(folder: str) -> list[str]:
    """What is in a folder, drafts aside."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except FileNotFoundError:
        return []


def read_text(path: str) -> str:
    """A file."""
    with open(path, encoding="utf-8") as file:
        return file.read()


def read(path: str) -> Object:
    """What a file of JSON holds, nothing where there is none."""
    try:
        return dict(json.loads(read_text(path)))
    except FileNotFoundError:
        return {}


def write(path: str, text: str) -> None:
    """A file, whole or not at all."""
    folder, name = os.path.split(path)
    draft = join(folder, f".{name}.new")
    os.makedirs(folder, exist_ok=True)
    with open(draft, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(draft, path)


def append(path: str, line: str) -> None:
    """One more line."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def remove(path: str) -> None:
    """Remove a file."""
    os.unlink(path)


@contextmanager
def lock(folder: Folder) -> Iterator[None]:
    """Nobody else reads or writes meanwhile."""
    os.makedirs(folder, exist_ok=True)
    with open(join(folder, "lock"), "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
