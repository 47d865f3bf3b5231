"""Readers' sessions: who has logged in, also before the dashboard was started again."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from nvoi.dashboard.database import StorageError, read_clock
from nvoi.dashboard.workers import Writer
from nvoi.secret import Secret

#: Milliseconds after its last use that a session ends.
IDLE = 30 * 24 * 3600 * 1000
#: Milliseconds after which a session's use is written down again, and its cookie renewed.
RENEWAL = 24 * 3600 * 1000


@dataclass(slots=True)
class _Session:
    used_at: int
    stored_at: int


class Sessions:
    """The sessions of one password: kept in memory, and in the database for the next start.

    A session is known by the HMAC-SHA256 of the password under the session's token: what is
    stored opens nothing, cannot be tried for the password without the token, and another
    password makes other digests, so that changing it ends every session.
    """

    def __init__(
        self, password: Secret, writer: Writer, clock: Callable[[], int] = read_clock
    ) -> None:
        self._password = password.reveal().encode()
        self._writer = writer
        self._clock = clock
        query = "SELECT digest, used_at FROM sessions"
        rows = writer.submit(lambda sql: sql.execute(query).fetchall()).result()
        self._sessions = {digest: _Session(used, used) for digest, used in rows}

    def find(self, token: str) -> bytes | None:
        """The digest of an open session; using it keeps it open."""
        digest = self._compute_digest(token)
        session = self._sessions.get(digest)
        now = self._clock()
        if session is None or now - session.used_at > IDLE:
            return None
        session.used_at = now
        return digest

    def is_open(self, digest: bytes) -> bool:
        return digest in self._sessions

    async def open(self) -> str:
        """Open a session, and give its token.

        Where the database takes nothing, as its disk is full, the session lasts until the
        dashboard is started again: somebody has to be able to look.
        """
        token, now = secrets.token_urlsafe(32), self._clock()
        digest = self._compute_digest(token)
        for old, session in list(self._sessions.items()):
            if now - session.used_at > IDLE:
                del self._sessions[old]
        self._sessions[digest] = _Session(now, now)
        await self._write("DELETE FROM sessions WHERE used_at < ?", now - IDLE)
        await self._write("INSERT INTO sessions VALUES (?, ?, ?)", digest, now, now)
        return token

    async def renew(self, digest: bytes) -> bool:
        """Write down that it is used, where that was not done for a day; whether it was due."""
        session = self._sessions.get(digest)
        if session is None or session.used_at - session.stored_at < RENEWAL:
            return False
        session.stored_at = session.used_at
        await self._write(
            "UPDATE sessions SET used_at = ? WHERE digest = ?", session.used_at, digest
        )
        return True

    async def end(self, token: str) -> bool:
        """End a session; False where it may come back with the next start of the dashboard."""
        digest = self._compute_digest(token)
        if self._sessions.pop(digest, None) is None:
            return True
        return await self._write("DELETE FROM sessions WHERE digest = ?", digest)

    async def _write(self, statement: str, *values: bytes | int) -> bool:
        try:
            await self._writer.write(lambda sql: sql.execute(statement, values))
        except StorageError:
            return False
        return True

    def _compute_digest(self, token: str) -> bytes:
        return hmac.digest(token.encode(), self._password, hashlib.sha256)
