"""What a container prints, told as it comes and as long as it runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from nvoi.kubernetes.api import Api
from nvoi.kubernetes.ownership import Reference
from nvoi.parallel import Task

#: Seconds that the last lines of a Job have to arrive after its end.
STREAM_SECONDS = 2.0
#: Lines that are kept for an error.
LAST = 20


class LogStream:
    """Tells the lines of a container until it ends, on a thread of its own.

    Args:
        api: asked for them.
        pod: whose container it is.
        container: the container.
        tell: called with each line, in that thread.
    """

    def __init__(
        self, api: Api, pod: Reference, container: str, tell: Callable[[str], None]
    ) -> None:
        self._api = api
        self._pod = pod
        self._container = container
        self._tell = tell
        self._count = 0
        self._is_closed = False
        self._task: Task[None] | None = None
        self.last: deque[str] = deque(maxlen=LAST)

    def ensure(self, *, is_running: bool) -> None:
        """Have it go on where there is more. What was told before a cut is not told again."""
        task = self._task
        if self._is_closed:
            return
        if task is None or (task.future.done() and (is_running or task.future.exception())):
            self._task = Task(self._follow, "nvoi-log")
            self._task.start()

    def close(self, seconds: float) -> None:
        """End it, once it has ended by itself or after ``seconds``."""
        self.ensure(is_running=False)
        self._is_closed = True
        if self._task is not None and not self._task.join(seconds):
            self._task.cancel()
            self._task.join(STREAM_SECONDS)

    def _follow(self) -> None:
        told = self._count
        for number, line in enumerate(self._api.follow_lines(self._pod, self._container)):
            if number >= told:
                self._count += 1
                self.last.append(line)
                self._tell(line)
