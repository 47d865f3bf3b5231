"""The lock on a master: one run at a time changes its cluster.

A command on the master holds ``flock`` for as long as it hears this run's heart: each beat
is a line to it, and each is answered with a line. It ends when its input ends, which is when
this run does in any way, or when it has heard nothing for 40 s, which is what an unplugged
runner looks like. So a lock never outlives its run by more than a minute. A lock whose command
has ended is lost: another run may have been at work since.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from nvoi.command import build_script
from nvoi.errors import ConnectionLostError, LockError, NvoiError
from nvoi.invocation import name_command
from nvoi.log.levels import get_logger
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, as_root
from nvoi.targets.cluster.lock_file import (
    HOLD,
    LOCK_FILE,
    Holder,
    build_refusal,
    find_loss,
    parse_holder,
    read_answer,
)
from nvoi.waiting import Reminder

log = get_logger("nvoi.lock")

#: Seconds that a release waits for the other end; it frees the lock in any case.
RELEASE_SECONDS = 2.0
#: Seconds between two looks at the session, and at the time, while the lock is not held.
LOOK = 0.5
#: Seconds until a wait for another run goes on over another connection.
PAUSE = 0.2


@dataclass(frozen=True)
class Heartbeat:
    """Seconds between two beats, and seconds of silence after which the lock is free."""

    beat: float = 5.0
    silence: float = 40.0


HEARTBEAT = Heartbeat()


class Lock:
    def __init__(
        self,
        connections: Connections,
        host: Host,
        holder: Holder,
        *,
        path: str,
        heartbeat: Heartbeat,
    ) -> None:
        self._connections = connections
        self._host = host
        self._holder = holder
        self._path = path
        self._heartbeat = heartbeat
        self._token = secrets.token_hex(16)
        self._changed = threading.Condition()
        self._is_held = self._is_released = False
        self._rival: Holder | None = None
        self._error: Exception | None = None
        # The number of the last beat, of the last that was answered, and of the one whose answer
        # a check waits for.
        self._sent = self._answered = self._wanted = 0
        self._thread = threading.Thread(target=self._keep, name="nvoi-lock", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    @property
    def rival(self) -> Holder | None:
        """The last run that this one waited for; None where the lock was free at once."""
        return self._rival

    def wait_until_held(self, seconds: float) -> None:
        """Return once the lock is held.

        Raises:
            LockError: another run still holds it after ``seconds``.
            NvoiError: it cannot be taken at all, or the host does not say.
        """
        began, patience = time.monotonic(), 2 * self._heartbeat.silence
        deadline = began + seconds
        reminder = Reminder(f"the deploy lock on {self._host}", log)
        told: Holder | None = None
        while not self._is_held_soon(told):
            rival, left = self._rival, deadline - time.monotonic()
            if rival is None:
                if time.monotonic() - began >= patience:
                    raise NvoiError(
                        f"{self._host}: the deploy lock cannot be asked for: the server has not "
                        f"answered for {patience:g} s",
                        hint="see there what keeps flock or the disk of /opt busy",
                    )
                continue
            if left <= 0:
                raise LockError(
                    f"{self._host}: another run holds the deploy lock: {rival.describe()}",
                    hint="wait for it with --lock-wait SECONDS, or end it with "
                    f"{name_command('unlock')}",
                )
            if rival != told:
                log.info("Waiting up to %.0f s for the deploy lock: %s", left, rival.describe())
                told = rival
            reminder.tell(rival.describe())

    def _is_held_soon(self, told: Holder | None) -> bool:
        """Whether it is held, after a moment for something that was not told yet."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_held or self._is_over or self._rival != told, LOOK
            )
            self._raise_error()
            return self._is_held

    def check(self) -> None:
        """Return if the lock is held now: the host says so after it was asked.

        Raises:
            LockError: it is held no more.
        """
        seconds = 2 * self._heartbeat.silence
        with self._changed:
            number = self._wanted = self._sent + 1
            self._changed.notify_all()
            if not self._changed.wait_for(
                lambda: self._is_over or self._answered >= number, seconds
            ):
                self._fail(self._build_loss(f"the server has not answered for {seconds:g} s"))
            self._raise_error()
            if self._is_released:
                raise LockError(f"{self._host}: this run has given the deploy lock back")

    @property
    def is_lost(self) -> bool:
        """Whether this run has heard by now that another may hold it."""
        return self._error is not None

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

    def _fail(self, error: Exception) -> None:
        """Have every check fail from now on, by the first error."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def _build_loss(self, reason: str) -> LockError:
        return LockError(
            f"{self._host}: this run has lost the deploy lock: {reason}",
            hint="what it has changed stays as it is; deploy again once no other run is at work: "
            "the next deploy goes on from what is there",
        )

    def _keep(self) -> None:
        while True:
            error = self._hold()
            if self._is_over:
                return
            if self._is_held:
                error = self._build_loss(self._find_reason(error))
            elif self._rival is not None and isinstance(error, (ConnectionLostError, LockError)):
                # It was not had yet: the wait goes on over another connection.
                with self._changed:
                    self._changed.wait_for(lambda: self._is_over, PAUSE)
                continue
            self._fail(error)
            return

    def _find_reason(self, error: Exception) -> str:
        log.debug("%s: the session of the deploy lock has ended: %s", self._host, error)
        try:
            found = find_loss(self._connections, self._host, self._token, self._path)
        except NvoiError as away:
            log.debug("%s: not asked who has the lock now: %s", self._host, away)
            found = None
        return found or "the connection that held it broke, or its command there was ended"

    def _hold(self) -> Exception:
        """Take the lock and hold it over one session; returns why that has ended."""
        with self._changed:
            self._sent = self._answered = self._wanted = 0
        record, silence = self._holder.to_json(), f"{self._heartbeat.silence:g}"
        script = build_script("nvoi-lock", HOLD, self._path, self._token, record, silence)
        try:
            self._connections.run(
                self._host,
                as_root(self._host, script),
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

        A line is only sent when the one before it was answered, or for a check; what is sent
        else is no line yet, and shows whether the session is still there.
        """
        while True:
            with self._changed:
                pause = self._heartbeat.beat if self._is_held else min(self._heartbeat.beat, LOOK)
                self._changed.wait_for(self._is_due, pause)
                if self._is_over:
                    return
                is_line = self._answered == self._sent or self._wanted > self._sent
                if is_line:
                    self._sent += 1
                line = b"%d\n" % self._sent
            yield line if is_line else b" "

    def _is_due(self) -> bool:
        """Whether there is something to send before the next beat."""
        return self._is_over or self._sent == 0 or self._wanted > self._sent

    def _hear(self, line: str) -> None:
        answer = read_answer(line)
        if answer is None:
            return
        word, rest = answer
        number, _, record = rest.partition(" ")
        with self._changed:
            if word in {"held", "busy"}:
                self._answered = int(number)
                self._is_held = word == "held"
                self._rival = parse_holder(record) if word == "busy" else self._rival
            elif word == "unable":
                self._fail(build_refusal(self._host, self._path, rest))
            elif word == "deleted":
                self._fail(self._build_loss(f"somebody has deleted {self._path}"))
            self._changed.notify_all()


def take_lock(
    connections: Connections,
    host: Host,
    holder: Holder,
    *,
    wait: float = 0.0,
    path: str = LOCK_FILE,
    heartbeat: Heartbeat = HEARTBEAT,
) -> Lock:
    """Take the lock on ``host``, and keep it until it is released or this run ends.

    It uses one of the connections' sessions there until then. Another run that holds it is waited
    for as many seconds as ``wait`` says.

    Raises:
        LockError: another run holds it.
        NvoiError: there can be no lock on the host, it cannot be reached or says nothing of it, or
            this user may not take it.
    """
    lock = Lock(connections, host, holder, path=path, heartbeat=heartbeat)
    try:
        lock.wait_until_held(wait)
    except BaseException:
        lock.release()
        raise
    return lock
