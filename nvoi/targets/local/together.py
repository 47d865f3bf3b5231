"""Several waits side by side, that end as soon as one of them fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from nvoi.errors import NvoiError

#: Seconds tasks have to end when they are told to.
END_SECONDS = 1.0


class CancelledError(NvoiError):
    """Another of the tasks failed first, or the run was interrupted."""


class Cancel:
    """Tells tasks to end. Usable from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Tell all to end."""
        self._event.set()

    def check(self) -> None:
        """Raise if told to end.

        Raises:
            CancelledError: it was.
        """
        if self._event.is_set():
            raise CancelledError("cancelled")

    def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond being told to end.

        Raises:
            CancelledError: told to end.
        """
        self._event.wait(seconds)
        self.check()


def run_together(tasks: Sequence[Callable[[Cancel], None]]) -> None:
    """Run each task in a thread of its own; return when all have.

    The first that fails, or an interruption of the caller, tells the others to end. They
    are daemon threads and get one second for that: a look that hangs holds up nobody.

    Raises:
        Exception: what the first task to fail has raised.
    """
    cancel = Cancel()
    done = threading.Semaphore(0)
    errors: list[Exception] = []

    def run(task: Callable[[Cancel], None]) -> None:
        try:
            task(cancel)
        except Exception as error:  # noqa: BLE001 - it is raised again in the caller's thread
            errors.append(error)
        finally:
            done.release()

    threads = [threading.Thread(target=run, args=(task,), daemon=True) for task in tasks]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            done.acquire()
            if errors:
                raise errors[0]
    finally:
        cancel.set()
        deadline = time.monotonic() + END_SECONDS
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
