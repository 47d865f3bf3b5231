"""A command on a host that goes on while this thread does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import copy_context

from nvoi.ssh.rounds import Round, current

#: Seconds that a cancelled command has to be ended on its host.
CANCEL_SECONDS = 10.0


class Background:
    """Runs ``work`` on a thread of its own, where every command can be cancelled.

    Args:
        work: runs one command, and returns at its end.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._round = Round()
        self._stack = ExitStack()
        #: What ``work`` raised.
        self.error: BaseException | None = None
        # The thread sees the caller's context, and changes a copy of its own.
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._run,), daemon=True, name="nvoi-kubectl"
        )

    def start(self) -> None:
        """Begin. Who cancels the caller's own round cancels this too."""
        outer = current.get()
        if outer is not None:
            self._stack.enter_context(outer.hold(self))
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether ``work`` has returned or raised."""
        return not self._thread.is_alive()

    def cancel(self) -> None:
        """End the command, from any thread."""
        self._round.cancel()

    def close(self, seconds: float) -> None:
        """Return once it is over. After ``seconds`` it is cancelled."""
        with self._stack:
            self._thread.join(seconds)
            if not self.is_over:
                self.cancel()
                self._thread.join(CANCEL_SECONDS)

    def _run(self) -> None:
        current.set(self._round)
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - the other thread tells of it
            self.error = error
