"""Makes the files of a new config: all of them, or none."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from nvoi.config.credentials import encrypt
from nvoi.errors import UsageError
from nvoi.files import write_private
from nvoi.secret import Secret

IGNORE_FILE = ".gitignore"
IGNORED = frozenset({"deploy.key", "/deploy.key", "**/deploy.key"})


def create_config(
    config_file: Path,
    text: str,
    key: Secret,
    *,
    key_file: Path | None,
    is_new_key: bool = True,
) -> None:
    """Writes the encrypted config, its key, and the line of ``.gitignore`` beside the key.

    Args:
        config_file: where the config goes; nothing is there yet.
        text: the config.
        key: what encrypts it.
        key_file: where the key goes; None where it is kept elsewhere.
        is_new_key: False where it is in ``key_file`` already; otherwise nothing is there yet.

    Raises:
        InputError: one of them cannot be written; then none is, and .gitignore is as it was.
    """
    with contextlib.ExitStack() as undo:
        if key_file is not None:
            undo.enter_context(ignore_key(key_file.parent / IGNORE_FILE))
        if key_file is not None and is_new_key:
            write_private(key_file, f"{key.reveal()}\n".encode(), replace=False)
            undo.callback(key_file.unlink, missing_ok=True)
        write_private(config_file, encrypt(text.encode(), key), replace=False)
        undo.pop_all()


def check_ignore_file(path: Path) -> None:
    """Raises UsageError where ``path`` is there and no line can be added to it."""
    if os.path.lexists(path) and not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
        raise UsageError(f"{path} is no file that can be written to")


def ignore_key(path: Path) -> contextlib.ExitStack:
    """Names deploy.key in a .gitignore, once; closing what is returned takes that back.

    Raises:
        UsageError: the file cannot be written.
    """
    undo = contextlib.ExitStack()
    try:
        content = path.read_bytes() if path.exists() else None
        lines = (content or b"").decode(errors="replace").splitlines()
        if IGNORED.intersection(line.strip() for line in lines):
            return undo
        if content is None:
            undo.callback(path.unlink, missing_ok=True)
        else:
            undo.callback(os.truncate, path, len(content))
        separator = b"" if not content or content.endswith(b"\n") else b"\n"
        with path.open("ab") as file:
            file.write(separator + b"deploy.key\n")
    except OSError as error:
        undo.close()
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    return undo
