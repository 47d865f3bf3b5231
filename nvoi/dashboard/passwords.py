"""The password that readers share: read from its file, compared, and guarded from guessing."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from nvoi.errors import CredentialsError, UsageError
from nvoi.files import is_open_to_others, read_with_mode
from nvoi.secret import Secret

#: Characters. At 50 guesses in 15 minutes even a poor password of this length holds.
SHORTEST, LONGEST = 12, 1024

#: Wrong guesses of one address, and of all together, within so many seconds.
GUESSES_OF_ONE, GUESSES_OF_ALL, GUESS_WINDOW = 5, 50, 15 * 60.0

#: Addresses remembered for having known the password.
_KNOWN = 1000


def read_password(path: Path) -> Secret:
    """The password in a file: one line, of 12 characters at least.

    Raises:
        UsageError: it cannot be read, is open to others, or holds no such line.
    """
    try:
        content, mode = read_with_mode(path)
    except CredentialsError as error:
        raise UsageError(f"--password-file: {error.message}") from error
    if is_open_to_others(mode):
        raise UsageError(
            f"--password-file: {path} is open to others (mode {mode & 0o777:04o})",
            hint=f"chmod 600 {path}",
        )
    try:
        text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise UsageError(f"--password-file: {path} is not UTF-8") from error
    if not text.isprintable():
        raise UsageError(
            f"--password-file: {path} holds more than one line, or what cannot be typed"
        )
    if not SHORTEST <= len(text.strip()) <= len(text) <= LONGEST:
        raise UsageError(
            f"--password-file: {path} must hold a password of {SHORTEST} to {LONGEST} characters",
            hint="make one: (umask 077; openssl rand -base64 24 > password)",
        )
    return Secret(text)


def is_same(password: Secret, guess: str) -> bool:
    """Whether ``guess`` is the password; takes as long where it is not."""
    # Of digests, as a comparison of unequal lengths tells the length.
    return hmac.compare_digest(_digest(guess), _digest(password.reveal()))


class Guesses:
    """Counts wrong passwords, and says who has to wait before the next is looked at.

    An address that knew the password is not stopped by the wrong guesses of others, so that
    nobody can lock a team out of its own dashboard.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Never more than the limits let in, so a few dozen.
        self._wrong: deque[tuple[float, str]] = deque()
        self._known: dict[str, None] = {}

    def find_wait(self, client: str) -> float:
        """Seconds until ``client`` may guess again; 0 where it may now."""
        now = self._clock()
        while self._wrong and self._wrong[0][0] <= now - GUESS_WINDOW:
            self._wrong.popleft()
        own = [when for when, who in self._wrong if who == client]
        others = [when for when, who in self._wrong if who not in self._known]
        waits = [own[-GUESSES_OF_ONE]] if len(own) >= GUESSES_OF_ONE else []
        if client not in self._known and len(others) >= GUESSES_OF_ALL:
            waits.append(others[-GUESSES_OF_ALL])
        return max(waits) + GUESS_WINDOW - now if waits else 0.0

    def add_wrong(self, client: str) -> None:
        """``client`` has guessed wrong."""
        self._wrong.append((self._clock(), client))

    def add_right(self, client: str) -> None:
        """``client`` knows the password."""
        if any(who == client for _, who in self._wrong):
            self._wrong = deque(guess for guess in self._wrong if guess[1] != client)
        self._known[client] = None
        if len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
