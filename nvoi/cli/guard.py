"""Keeps signals from ending nvoi while a decrypted text lies on the disk."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import types
from collections.abc import Iterator, Sequence

from nvoi.cli.signals import Interruption

# What a terminal sends reaches the program in front as well, which answers in its own way.
TYPED = (signal.SIGINT, signal.SIGQUIT)
SENT = (signal.SIGTERM, signal.SIGHUP)
# Seconds that a program has, from such a signal on, to restore the terminal and end.
PATIENCE = 3.0


class Guard:
    """Remembers the signal that should have ended nvoi, and passes it on to what runs.

    Nothing is raised where a signal arrives: that could be in the middle of the clean-up.
    """

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._timer: threading.Timer | None = None

    def handle(self, number: int, _frame: types.FrameType | None) -> None:
        """The signals' handler."""
        if number in SENT:
            self._received = self._received or signal.Signals(number)
            self._stop()

    def run(self, command: Sequence[str]) -> int:
        """The exit code of ``command``, negative for a signal.

        Raises:
            Interruption: nvoi was asked to end, or a key of the terminal ended the command.
            OSError: the command cannot be run.
        """
        self._process = subprocess.Popen(command)  # noqa: S603 - the user's own
        if self._received:
            # It came while the process was started.
            self._stop()
        code = self._process.wait()
        self._process = None
        if self._timer:
            self._timer.cancel()
        self.raise_received()
        if -code in TYPED:
            raise build_interruption(signal.Signals(-code))
        return code

    def raise_received(self) -> None:
        """Raises Interruption where nvoi was asked to end."""
        if self._received:
            raise build_interruption(self._received)

    def _stop(self) -> None:
        if self._process is None or self._received is None:
            return
        self._process.send_signal(self._received)
        if self._timer is None:
            self._timer = threading.Timer(PATIENCE, self._process.kill)
            self._timer.daemon = True
            self._timer.start()


@contextlib.contextmanager
def guard_signals() -> Iterator[Guard]:
    """Inside, no signal of a terminal or a supervisor ends nvoi.

    Raises:
        Interruption: SIGTERM or SIGHUP came meanwhile.
    """
    guard = Guard()
    previous = {number: signal.getsignal(number) for number in (*TYPED, *SENT)}
    for number, handler in previous.items():
        # What is ignored, as SIGHUP is below nohup, stays so.
        if handler is not signal.SIG_IGN:
            # A handler and not SIG_IGN, which the editor would inherit.
            signal.signal(number, guard.handle)
    try:
        yield guard
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    guard.raise_received()


def build_interruption(number: signal.Signals) -> Interruption:
    """How a signal ends ``credentials edit``; the exit code is 128 and its number."""
    name = "Ctrl-C" if number == signal.SIGINT else number.name
    return Interruption(f"interrupted ({name}); the config was not saved", 128 + number)
