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
#: The key, and what a rotation or another command that is killed may leave beside it.
IGNORED = ("deploy.key", "deploy.key.new", ".deploy.key.*", ".deploy.enc.*")


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
    """Names deploy.key and its like in a .gitignore, once; closing what is returned undoes that.

    Raises:
        UsageError: the file cannot be written.
    """
    undo = contextlib.ExitStack()
    try:
        content = path.read_bytes() if path.exists() else None
        missing = list_missing((content or b"").decode(errors="replace"))
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


def list_missing(text: str) -> list[str]:
    """The patterns that the text of a .gitignore does not have, for any folder or its own."""
    known = {line.strip().removeprefix("**").removeprefix("/") for line in text.splitlines()}
    return [pattern for pattern in IGNORED if pattern not in known]
