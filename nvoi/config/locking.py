"""One command at a time changes a config.

The lock is on the config's folder: the rename that replaces the config does not take it away, and
no file is left that somebody has to remove or may not write. The kernel gives it back when its
holder ends in any way.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from nvoi.errors import UsageError
from nvoi.log.levels import get_logger

log = get_logger("nvoi.config")

#: Seconds that another command may take, and after which a line says that it is waited for.
LOCK_SECONDS = 30.0
NOTICE_SECONDS = 1.0
PAUSE = 0.02
#: The locks that are held, on Linux: proc_locks(5).
LOCKS = Path("/proc/locks")


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
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - began
        else:
            return
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
