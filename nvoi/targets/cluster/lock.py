"""The lock on a master: one run at a time changes its cluster.

A command on the master holds ``flock`` for as long as it hears this run's heart: each beat
is a line to it, and each is answered with a line. It ends when its input ends, which is when
this run does in any way, or when it has heard nothing for 40 s, which is what an unplugged
runner looks like. So a lock never outlives its run by more than a minute.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from nvoi.command import build_script
from nvoi.errors import ConnectionLostError, LockError
from nvoi.log.levels import get_logger
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, as_root
from nvoi.targets.cluster.holder import Holder, build_refusal, parse_holder
from nvoi.targets.cluster.lock_file import HOLD, LOCK_FILE, read_answer
from nvoi.waiting import Reminder

log = get_logger("nvoi.lock")

#: Seconds that a release waits for the other end; it frees the lock in any case.
RELEASE_SECONDS = 2.0
#: Seconds between two looks at whether the session is still there, while the lock is not held.
LOOK = 0.5
#: Seconds between the loss of the lock's session and the first try to take it again, and
#: between that and the next.
PAUSE = 0.2


@dataclass(frozen=True)
class Pace:
    """Seconds between two beats, and seconds of silence after which the lock is free."""

    beat: float = 5.0
    silence: float = 40.0


PACE = Pace()


class Lock:
    """The lock on ``host`` for as long as this run lives; taken in the background.

    Args:
        connections: the way to the host; one of its sessions there is used until the release.
        host: the master.
        holder: what others are told.
        path: the lock file.
        pace: how often a sign of life is given.
    """

    def __init__(
        self, connections: Connections, host: Host, holder: Holder, *, path: str, pace: Pace
    ) -> None:
        self._connections = connections
        self._host = host
        self._holder = holder
        self._path = path
        self._pace = pace
        self._token = secrets.token_hex(16)
        self._changed = threading.Condition()
        self._is_held = self._was_held = self._is_released = False
        self._rival: Holder | None = None
        self._error: Exception | None = None
        # Beats are numbered by the last check that was asked for when they were sent: an
        # answer to one proves what that check asks.
        self._asked = self._noted = self._proved = 0
        self._sent: deque[int] = deque()
        self._thread = threading.Thread(target=self._keep, name="nvoi-lock", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def wait_until_held(self, seconds: float) -> None:
        """Return once the lock is held.

        Raises:
            LockError: another run still holds it after ``seconds``.
            NvoiError: it cannot be taken at all.
        """
        deadline = time.monotonic() + seconds
        reminder = Reminder(f"the deploy lock on {self._host}", log)
        told: Holder | None = None
        while not self._wait_for_news(told, deadline):
            rival, left = self._rival, deadline - time.monotonic()
            if rival is None:
                continue
            if left <= 0:
                raise LockError(
                    f"{self._host}: another run holds the deploy lock: {rival.describe()}",
                    hint="wait for it with --lock-wait SECONDS, or end it with `nvoi unlock`",
                )
            if rival != told:
                log.info("Waiting up to %.0f s for the deploy lock: %s", left, rival.describe())
                told = rival
            reminder.tell(rival.describe())

    def _wait_for_news(self, told: Holder | None, deadline: float) -> bool:
        """Wait a second at most for something that was not told yet; whether the lock is held."""
        left = 1.0 if told is None else max(0.0, min(1.0, deadline - time.monotonic()))
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_held or self._is_over or self._rival != told, left
            )
            self._raise_error()
            return self._is_held

    @property
    def rival(self) -> Holder | None:
        """The last run that this one waited for; None where the lock was free at once."""
        return self._rival

    def check(self) -> None:
        """Return if the lock is held now: the host says so after it was asked.

        Where its connection has just been lost, this waits until the lock is held again.

        Raises:
            LockError: it is held no more.
        """
        with self._changed:
            self._asked += 1
            mine = self._asked
            self._changed.notify_all()
            answered = self._changed.wait_for(
                lambda: self._is_over or self._proved >= mine, 2 * self._pace.silence
            )
            if not answered:
                self._lose(f"the server has not answered for {2 * self._pace.silence:g} s")
            self._raise_error()
            if self._is_released:
                raise LockError(f"{self._host}: this run has given the deploy lock back")

    def release(self) -> None:
        """Give it back, where it is still held. It is free when this returns, if all is well."""
        with self._changed:
            self._is_released = True
            self._changed.notify_all()
        self._thread.join(RELEASE_SECONDS)

    @property
    def _is_over(self) -> bool:
        return self._is_released or self._error is not None

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _lose(self, reason: str) -> None:
        """Have every check fail from now on."""
        if self._error is None:
            self._error = LockError(
                f"{self._host}: this run has lost the deploy lock: {reason}",
                hint="deploy again once no other run is at work: it goes on from what is there",
            )
        self._changed.notify_all()

    def _keep(self) -> None:
        """Hold the lock until the release, and take it again where its session is lost."""
        lost_at = 0.0
        while True:
            error = self._hold()
            # Nothing is logged under the condition: where that takes long, the heart goes on.
            with self._changed:
                is_lost, self._is_held = self._is_held, False
                if is_lost:
                    lost_at = time.monotonic()
                elif not self._was_held and not self._may_wait_on(error):
                    self._error = self._error or error
                elif self._was_held and time.monotonic() - lost_at >= self._pace.silence:
                    self._lose(f"it could not be taken again: {error}")
                self._changed.notify_all()
                if self._is_over:
                    return
            if is_lost:
                log.warning("%s: the deploy lock was let go; taking it again", self._host)
            with self._changed:
                self._changed.wait_for(lambda: self._is_over, PAUSE)

    def _may_wait_on(self, error: Exception) -> bool:
        """Whether a wait for another run can go on over another session."""
        return self._rival is not None and isinstance(error, (ConnectionLostError, LockError))

    def _hold(self) -> Exception:
        """Take the lock and hold it over one session; returns why that has ended."""
        with self._changed:
            if self._is_over:
                return LockError(f"{self._host}: the lock is not wanted any more")
            self._sent.clear()
            again = "again" if self._was_held else ""
        record, silence = self._holder.to_json(), f"{self._pace.silence:g}"
        words = (self._path, self._token, record, silence, again)
        command = as_root(self._host, build_script("nvoi-lock", HOLD, *words))
        try:
            self._connections.run(
                self._host,
                command,
                stdin=self._beat(),
                timeout=math.inf,
                idle_timeout=math.inf,
                on_line=self._hear,
                level=None,
            )
        except Exception as error:  # noqa: BLE001 - raised by whoever waits for the lock
            return error
        return LockError(f"{self._host}: the server has ended the deploy lock's session")

    def _beat(self) -> Iterator[bytes]:
        """The session's input, which ends when the lock is not wanted any more.

        A line is only sent when all before it were answered, or for a check; what is sent
        else is no line yet, and shows whether the session is still there.
        """
        while True:
            with self._changed:
                pause = self._pace.beat if self._is_held else min(self._pace.beat, LOOK)
                self._changed.wait_for(self._is_due, pause)
                if self._is_over:
                    return
                is_line = not self._sent or self._asked > self._noted
                if is_line:
                    self._noted = self._asked
                    self._sent.append(self._asked)
            yield b"\n" if is_line else b" "

    def _is_due(self) -> bool:
        """Whether there is something to send before the next beat."""
        is_first = not self._is_held and not self._sent
        return self._is_over or is_first or self._asked > self._noted

    def _hear(self, line: str) -> None:
        answer = read_answer(line)
        if answer is None:
            return
        word, rest = answer
        with self._changed:
            proved = self._sent.popleft() if self._sent else 0
            is_back = word == "held" and self._was_held and not self._is_held
            if word == "held":
                self._is_held = self._was_held = True
                self._proved = proved
            elif word == "busy":
                self._rival = parse_holder(rest)
            elif word == "ended":
                self._lose(f"`nvoi unlock` ended it, by {rest}")
            elif word == "lost":
                self._lose(f"another run took it: {parse_holder(rest).describe()}")
            elif word == "deleted":
                self._lose(f"somebody has deleted {self._path}")
            elif word == "unable":
                self._error = self._error or build_refusal(self._host, self._path, rest)
            self._changed.notify_all()
        if is_back:
            log.info("%s: the deploy lock is held again", self._host)


def take_lock(
    connections: Connections,
    host: Host,
    holder: Holder,
    *,
    wait: float = 0.0,
    path: str = LOCK_FILE,
    pace: Pace = PACE,
) -> Lock:
    """Take the lock on ``host``, and keep it until it is released or this run ends.

    Args:
        connections: the way there.
        host: the master.
        holder: who this run is, as others are told.
        wait: seconds to wait for another run that holds it.
        path: the lock file there.
        pace: how often a sign of life is given.

    Raises:
        ConnectionFailedError: the host cannot be reached.
        LockError: another run holds it, or there can be no lock on the host.
        RemoteError: this user may not take it.
    """
    lock = Lock(connections, host, holder, path=path, pace=pace)
    try:
        lock.wait_until_held(wait)
    except BaseException:
        lock.release()
        raise
    return lock
