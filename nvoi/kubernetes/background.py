"""A command on a host that goes on while this thread does something else."""

from __future__ import annotations

from collections.abc import Callable

from nvoi.parallel import CANCEL_SECONDS, Task


class Background:
    """Runs ``work`` on a thread of its own, where every command can be cancelled.

    Args:
        work: runs one command, and returns at its end.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self._task = Task(work, "nvoi-kubectl")

    def start(self) -> None:
        """Begin. Who cancels the caller's own task cancels this too."""
        self._task.start()

    @property
    def is_over(self) -> bool:
        """Whether ``work`` has returned or raised."""
        return self._task.future.done()

    @property
    def error(self) -> BaseException | None:
        """What ``work`` raised."""
        return self._task.future.exception() if self.is_over else None

    def cancel(self) -> None:
        """End the command, from any thread."""
        self._task.cancel()

    def close(self, seconds: float) -> None:
        """Return once it is over. After ``seconds`` it is cancelled."""
        if not self._task.join(seconds):
            self.cancel()
            self._task.join(CANCEL_SECONDS)
