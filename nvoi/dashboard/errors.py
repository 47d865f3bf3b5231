"""The dashboard's own errors.

::

    NvoiError
    └── StorageError             the database did not take or give something; later it may
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nvoi.errors import NvoiError

_REASONS = {
    sqlite3.SQLITE_BUSY: "another process keeps it locked",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_CANTOPEN: "it or a file beside it cannot be opened",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database",
    sqlite3.SQLITE_PERM: "access is denied",
    sqlite3.SQLITE_NOMEM: "memory is short",
}

#: Seconds between two complaints of the same.
PAUSE_SECONDS = 60.0

# https://www.sqlite.org/rescode.html: the low byte of an extended code is the primary code.
_PRIMARY = 0xFF


class StorageError(NvoiError):
    """The database failed. Nothing of what was asked was kept; the same may work later."""


def describe_fault(error: sqlite3.Error) -> str:
    """Why SQLite failed, in a few words that hold no data."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return f"{type(error).__name__}: {error}"
    name = error.sqlite_errorname
    reason = _REASONS.get(code & _PRIMARY)
    return f"{reason} ({name})" if reason else f"{error} ({name})"


@contextmanager
def storage_errors(deed: str) -> Iterator[None]:
    """Inside, what SQLite raises becomes a :class:`StorageError`.

    Args:
        deed: what is being done, as in ``cannot DEED the database``.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise build_error(deed, error) from error


def build_error(deed: str, error: sqlite3.Error) -> StorageError:
    """The :class:`StorageError` for what SQLite raised while doing ``deed``."""
    return StorageError(f"cannot {deed} the database: {describe_fault(error)}")


class Complaints:
    """Warnings of what may come with every request: each said once a minute.

    Args:
        log: where they go.
        clock: seconds that only grow.
    """

    def __init__(self, log: logging.Logger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._told: dict[str, float] = {}

    def warn(self, text: str) -> None:
        """Say it, unless it was said within the last minute."""
        now = self._clock()
        self._told = {known: at for known, at in self._told.items() if now - at < PAUSE_SECONDS}
        if text not in self._told:
            self._told[text] = now
            self._log.warning("%s", text)
