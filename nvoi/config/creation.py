"""Makes the files of a new config: all of them, or none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from nvoi.config.credentials import KEY_NAMES, encrypt
from nvoi.errors import UsageError
from nvoi.files import write_private
from nvoi.secret import Secret

#: The lines that keep keys out of commits and images. Those of .gitignore hold for folders below
#: it; those of .dockerignore have to say so.
GIT_LINES = (*(f"{name}*" for name in KEY_NAMES), ".deploy.enc.*")
DOCKER_LINES = tuple(f"**/{line}" for line in GIT_LINES)


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
        config_file: where the config goes; nothing is there yet.
        text: the config.
        key: what encrypts it.
        key_file: where the key goes; None where it is kept elsewhere.
        checkout: what an image is built from.
        is_new_key: False where it is in ``key_file`` already; otherwise nothing is there yet.

    Raises:
        InputError: one of them cannot be written; then none is, and all is as it was.
    """
    with contextlib.ExitStack() as undo:
        if key_file is not None:
            for path, lines in find_ignore_files(key_file.parent, checkout).items():
                undo.enter_context(add_lines(path, lines))
        if key_file is not None and is_new_key:
            write_private(key_file, f"{key.reveal()}\n".encode(), replace=False)
            undo.callback(key_file.unlink, missing_ok=True)
        write_private(config_file, encrypt(text.encode(), key), replace=False)
        undo.pop_all()


def find_ignore_files(folder: Path, checkout: Path) -> dict[Path, tuple[str, ...]]:
    """The files that name the key in ``folder``, each with its lines."""
    return {folder / ".gitignore": GIT_LINES, checkout / ".dockerignore": DOCKER_LINES}


def check_ignore_files(folder: Path, checkout: Path) -> None:
    """Raises UsageError where one of them is there and no line can be added to it."""
    for path in find_ignore_files(folder, checkout):
        if os.path.lexists(path) and not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
            raise UsageError(f"{path} is no file that can be written to")


def add_lines(path: Path, lines: Iterable[str]) -> contextlib.ExitStack:
    """Adds those of ``lines`` that a file lacks; closing what is returned takes that back.

    Raises:
        UsageError: the file cannot be written.
    """
    undo = contextlib.ExitStack()
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
