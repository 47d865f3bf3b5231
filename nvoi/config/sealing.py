"""``deploy.enc`` and the key that seals it: encryption, the lock of both, and a change of keys.

The file is a 12-byte nonce, the AES-256-GCM ciphertext and its 16-byte tag, with no associated
data (NIST SP 800-38D); the key is 32 bytes, kept as 64 hexadecimal characters.

One command at a time changes a config. The lock is on the config's folder: the rename that
replaces the config does not take it away, and no file is left that somebody has to remove or may
not write. The kernel gives it back when its holder ends in any way.

While the key is rotated, a key on the disk opens the config at every moment: the new one is there,
as ``deploy.key.new``, before the config is sealed with it, and takes the old one's name afterwards.
What a rotation leaves that was killed is found by the next command that looks for the key.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nvoi.errors import CredentialsError, UsageError
from nvoi.files import list_temporaries, read_file, sync_folder, write_private
from nvoi.log.levels import get_logger
from nvoi.log.rendering import format_count
from nvoi.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

log = get_logger("nvoi.config")

CONFIG_FILE = "deploy.enc"
KEY_FILE = "deploy.key"
KEY_HINT = f"set $DEPLOY_KEY, or put the key in {KEY_FILE} beside it, or use --key-file"
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
KEY_TEXT = re.compile(r"[0-9a-fA-F]{64}")

#: Seconds that another command may take, and after which a line says that it is waited for.
LOCK_SECONDS = 30.0
NOTICE_SECONDS = 1.0
PAUSE = 0.02
#: The locks that are held, on Linux: proc_locks(5).
LOCKS = Path("/proc/locks")


@dataclass(frozen=True)
class DeployKey:
    """The key of an app's config, which also signs its callbacks.

    Args:
        value: 64 hexadecimal characters, spelled as they are stored.
        path: the file it was found in, None for an environment variable.
        warning: what the user is to know: what is unsafe about that file, and whether a rotation
            was cut off.
    """

    value: Secret
    source: str
    path: Path | None = None
    warning: str | None = None


def parse_key(text: str, source: str) -> Secret:
    """The key in ``text``, white space around it left off."""
    text = text.strip()
    if not KEY_TEXT.fullmatch(text):
        raise CredentialsError(
            f"{source} holds no deploy key: 64 hexadecimal characters are needed, and it has "
            f"{format_count(len(text), 'character')}"
            + (", not all hexadecimal" if len(text) == 2 * KEY_BYTES else "")
        )
    return Secret(text)


def generate_key() -> Secret:
    return Secret(secrets.token_hex(KEY_BYTES))


def build_cipher(key: Secret) -> AESGCM:
    # 28 ms, which a command that is only asked for its help would wait for in vain.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    return AESGCM(bytes.fromhex(parse_key(key.reveal(), "the deploy key").reveal()))


def encrypt(plaintext: bytes, key: Secret) -> bytes:
    """``plaintext`` sealed with ``key``, under a nonce of its own."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + build_cipher(key).encrypt(nonce, plaintext, None)


def decrypt(
    ciphertext: bytes, key: Secret, *, filename: str = CONFIG_FILE, source: str = "this"
) -> bytes:
    """What was sealed with ``key``; ``filename`` and ``source`` are what errors call both.

    Raises:
        CredentialsError: the file is too short, or damaged, or sealed with another key; these
            last two cannot be told apart.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - slow to import, as above

    least = NONCE_BYTES + TAG_BYTES
    if len(ciphertext) < least:
        size = format_count(len(ciphertext), "byte")
        raise CredentialsError(
            f"{filename} is cut short: {size}, and no such file has under {least}",
            hint="restore it from version control",
        )
    try:
        return build_cipher(key).decrypt(ciphertext[:NONCE_BYTES], ciphertext[NONCE_BYTES:], None)
    except InvalidTag:
        raise CredentialsError(
            f"{filename} cannot be decrypted: {source} is not its key, or the file is damaged",
            hint="use the key it was made with, or restore the file from version control",
        ) from None


@contextmanager
def hold_folders(*files: Path) -> Iterator[None]:
    """Inside, no other command changes a config or key in the folders of ``files``.

    On a file system without ``flock``, such as some network ones, nothing is held: a config that
    others have changed is still found to be another one before it is replaced.

    Raises:
        UsageError: another command still holds one after 30 s; the text names its process.
    """
    # In one order everywhere, or two commands could wait for each other.
    folders = sorted({Path(os.path.realpath(file)).parent for file in files})
    with ExitStack() as stack:
        for folder in folders:
            with suppress(OSError):
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                stack.callback(os.close, descriptor)
                lock(descriptor, folder)
        yield


def lock(descriptor: int, folder: Path) -> None:
    """Lock an open folder; a wait is told after a second."""
    began = time.monotonic()
    is_told = False
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        waited = time.monotonic() - began
        if waited > LOCK_SECONDS:
            raise UsageError(
                f"{find_holder(descriptor)} has been at work on the config in {folder} for "
                f"{LOCK_SECONDS:g} s",
                hint="wait until it has ended, or end it",
            )
        if waited > NOTICE_SECONDS and not is_told:
            log.warning("waiting for %s, which changes the config", find_holder(descriptor))
            is_told = True
        time.sleep(PAUSE)


def find_holder(descriptor: int) -> str:
    """Who has the lock on an open file, as far as the system tells."""
    status = os.fstat(descriptor)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    with suppress(OSError):
        for words in map(str.split, LOCKS.read_text().splitlines()):
            # 1: FLOCK ADVISORY WRITE <pid> <device>:<inode> 0 EOF
            if words[1] == "FLOCK" and words[5] == f"{device}:{status.st_ino}":
                return f"process {words[4]}"
    return "another command"


def rotate(config_file: Path, key_file: Path, key: Secret) -> None:
    """Give a config a new key, in the place of ``key`` in ``key_file``.

    The caller holds both folders. Where it fails, the config has one of the two keys, and
    ``key_file`` that one.

    Raises:
        CredentialsError: one of the files cannot be read or written.
    """
    content = read_file(config_file)
    text = decrypt(content, key, filename=str(config_file), source=str(key_file))
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
        return settle(config_file, key_file) if list_leftovers(config_file, key_file) else None


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
