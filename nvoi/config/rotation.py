"""A new key for a config, so that at every moment a key on the disk opens it.

The new key is on the disk, as ``deploy.key.new``, before the config is sealed with it, and takes
the old one's name afterwards. What a rotation leaves that was killed in between is found by the
next command that looks for the key.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from nvoi.config.locking import hold_folders
from nvoi.config.sealing import decrypt, encrypt, generate_key, parse_key
from nvoi.errors import CredentialsError
from nvoi.files import list_temporaries, read_file, sync_folder, write_private
from nvoi.secret import Secret


def rotate(config_file: Path, key_file: Path, key: Secret) -> None:
    """Give a config a new key, in the place of ``key`` in ``key_file``.

    The caller holds both folders. Where it fails, the config has one of the two keys, and
    ``key_file`` that one.

    Raises:
        CredentialsError: one of the files cannot be read or written.
    """
    text = decrypt(read_file(config_file), key, filename=str(config_file))
    new_key = generate_key()
    try:
        write_private(get_new_file(key_file), f"{new_key.reveal()}\n".encode(), replace=False)
        write_private(config_file, encrypt(text, new_key))
    finally:
        settle(config_file, key_file)


def finish_rotation(config_file: Path, key_file: Path) -> str | None:
    """Bring a rotation that was cut off to its end, and remove what is left of it.

    Returns:
        A sentence about what was done, None where there was nothing to do.

    Raises:
        CredentialsError: the key cannot be put in its place.
        UsageError: another command is at work for too long.
    """
    # What is read from a pipe is read once.
    if key_file.exists() and not key_file.is_file():
        return None
    if not (config_file.is_file() and list_leftovers(config_file, key_file)):
        return None
    with hold_folders(config_file, key_file):
        # Whoever was at work has ended by now.
        if list_leftovers(config_file, key_file):
            return settle(config_file, key_file)
    return None


def settle(config_file: Path, key_file: Path) -> str | None:
    """Put the key that opens the config into ``key_file``, and remove all that is left beside.

    Where none opens it nothing is touched: another key may be the one that counts. The caller
    holds both folders.
    """
    new_file, told = get_new_file(key_file), "a command that was cut off had left files"
    content = read_file(config_file)
    if opens(new_file, content):
        try:
            new_file.replace(os.path.realpath(key_file))
        except OSError as error:
            raise CredentialsError(
                f"{key_file} cannot be replaced, whose rotation was cut off: {error.strerror}",
                hint=f"the config is opened by {new_file}: name that with --key-file",
            ) from error
        sync_folder(new_file.parent)
        told = f"a rotation that was cut off is finished: {key_file} has the new key"
    elif not opens(key_file, content):
        return None
    elif os.path.lexists(new_file):
        told = f"a rotation that was cut off is taken back: {key_file} has its key as before"
    with suppress(OSError):
        for path in list_leftovers(config_file, key_file):
            path.unlink(missing_ok=True)
    return told


def get_new_file(key_file: Path) -> Path:
    """Where a new key is until it takes the place of the one in ``key_file``."""
    real = Path(os.path.realpath(key_file))
    return real.with_name(f"{real.name}.new")


def list_leftovers(config_file: Path, key_file: Path) -> list[Path]:
    """What a command that was cut off may have left: a new key, and half-written files."""
    new_file = get_new_file(key_file)
    found = [new_file] if os.path.lexists(new_file) else []
    found += list_temporaries(new_file)
    return found + list_temporaries(Path(os.path.realpath(config_file)))


def opens(key_file: Path, content: bytes) -> bool:
    """Whether the key in ``key_file`` opens ``content``."""
    try:
        text = read_file(key_file).decode("ascii", errors="replace")
        decrypt(content, parse_key(text, str(key_file)))
    except CredentialsError:
        return False
    return True
