"""Readers' sessions, which outlive a restart, and guesses at the password that opens them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nvoi.dashboard.database import StorageError, Writer, read_clock
from nvoi.secret import Secret

#: Milliseconds after its last use that a session ends.
IDLE = 30 * 24 * 3600 * 1000
#: Milliseconds after which a session's use is written down again, and its cookie renewed.
RENEWAL = 24 * 3600 * 1000

#: Wrong guesses of one address, and of all together, within so many seconds, from which on the
#: next one has to wait; and how many seconds it waits at the most.
GUESSES_OF_ONE, GUESSES_OF_ALL, GUESS_WINDOW = 5, 50, 15 * 60.0
LONGEST_WAIT = 30.0
#: Guesses that wait at one time: of one address, and of all together.
WAITING_OF_ONE, WAITING_OF_ALL = 5, 20

#: Addresses remembered for having known the password.
_KNOWN = 1000


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
        await self._write("INSERT INTO sessions VALUES (?, ?)", digest, now)
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


class Guesses:
    """Counts wrong passwords, and says how long the next guess waits before it is looked at.

    Nobody is locked out: the right password is taken, if late. An address that knew it does not
    wait for the wrong guesses of others.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Waiting bounds how many there can be in the window, to some thousands.
        self._wrong: deque[tuple[float, str]] = deque()
        self._known: dict[str, None] = {}
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def hold(self, client: str) -> Iterator[float | None]:
        """Gives the seconds that a guess of ``client`` is to wait; it waits inside.

        None says that too many wait already.
        """
        wait = self.find_wait(client)
        if not wait:
            yield wait
            return
        others = sum(number for who, number in self._waiting.items() if who not in self._known)
        if self._waiting[client] >= WAITING_OF_ONE or (
            client not in self._known and others >= WAITING_OF_ALL
        ):
            yield None
            return
        self._waiting[client] += 1
        try:
            yield wait
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]

    def find_wait(self, client: str) -> float:
        """Seconds that the next guess of ``client`` waits: each wrong one doubles them."""
        now = self._clock()
        while self._wrong and self._wrong[0][0] <= now - GUESS_WINDOW:
            self._wrong.popleft()
        own = sum(who == client for _, who in self._wrong)
        wait = _double(own - GUESSES_OF_ONE)
        if client not in self._known:
            others = sum(who not in self._known for _, who in self._wrong)
            wait = max(wait, _double((others - GUESSES_OF_ALL) // 10))
        return wait

    def add_wrong(self, client: str) -> None:
        self._wrong.append((self._clock(), client))

    def add_right(self, client: str) -> None:
        if any(who == client for _, who in self._wrong):
            self._wrong = deque(guess for guess in self._wrong if guess[1] != client)
        self._known[client] = None
        if len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]


def _double(times: int) -> float:
    """1 s, doubled so many times, as far as that goes; 0 for what is below 0."""
    return 0.0 if times < 0 else min(2.0 ** min(times, 10), LONGEST_WAIT)
