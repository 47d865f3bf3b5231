"""What the cluster tells as it happens: objects that change or end, and what containers print."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from queue import Empty, Queue

from nvoi import parallel
from nvoi.errors import ConnectionFailedError, RequestError
from nvoi.kubernetes.api import DELETED, LISTED, Api, Change, Listing
from nvoi.kubernetes.ownership import Json, Reference, read_reference
from nvoi.parallel import Task

#: The last lines of a container that an error shows.
LINES = 20
#: Seconds that the last lines of a Job have to arrive after its end.
STREAM_SECONDS = 2.0


class Watches:
    """All objects of some kinds in a namespace, as the cluster has last told of them.

    ``objects`` are by their kinds and uids.
    """

    def __init__(self, api: Api, namespace: str, selector: str | None) -> None:
        self._api = api
        self._namespace = namespace
        self._selector = selector
        self._listings: dict[str, Listing] = {}
        # No SimpleQueue: its get() with a time-out may wait for ever (seen in 3.11 and 3.12).
        self._changes: Queue[tuple[str, Change | BaseException]] = Queue()
        self._tasks: list[Task[None]] = []
        self.objects: dict[str, dict[str, Json]] = {}

    def list_all(self, kinds: Collection[str], patience: float) -> None:
        """Ask for all objects of more kinds.

        Raises:
            NvoiError: they cannot be had; HostsError where there are several reasons.
        """

        def look(kind: str) -> Listing:
            selector = self._find_selector(kind)
            return self._api.list_all(kind, self._namespace, selector=selector, patience=patience)

        for kind, listing in parallel.work_on_all(sorted(kinds), look).items():
            self._listings[kind] = listing
            self._take(kind, Change(LISTED, listing.items))

    def start(self) -> None:
        """Have the cluster tell of each change since the objects were listed."""
        for kind, since in self._listings.items():
            task = Task(lambda kind=kind, since=since: self._watch(kind, since), "nvoi-watch")  # type: ignore[misc]
            self._tasks.append(task)
            task.start()

    def close(self) -> None:
        """Hear no more. A watch that has yet to be answered ends itself, a moment later."""
        for task in self._tasks:
            task.cancel()

    def take_changes(self, seconds: float) -> None:
        """Wait for a change, and take all that have come by then.

        Raises:
            NvoiError: nothing more can be learnt.
        """
        try:
            self._take(*self._changes.get(timeout=seconds))
            while True:
                self._take(*self._changes.get_nowait())
        except Empty:
            return

    def _find_selector(self, kind: str) -> str | None:
        # The cluster cannot be asked for events by the labels of what they are about.
        return None if kind == "Event" else self._selector

    def _watch(self, kind: str, since: Listing) -> None:
        """Have what happens to all objects of a kind told, in a thread of its own."""
        selector = self._find_selector(kind)
        try:
            for change in self._api.watch(kind, self._namespace, selector=selector, since=since):
                self._changes.put((kind, change))
        except BaseException as error:  # noqa: BLE001 - raised in the thread that follows
            self._changes.put((kind, error))

    def _take(self, kind: str, change: Change | BaseException) -> None:
        if isinstance(change, BaseException):
            raise change
        if change.type == LISTED:
            self.objects[kind] = {}
        for item in change.items:
            if change.type == DELETED:
                self.objects[kind].pop(item["metadata"]["uid"], None)
            else:
                self.objects[kind][item["metadata"]["uid"]] = item


def read_last_lines(
    api: Api, pod: Json, container: str, *, previous: bool = False
) -> Sequence[str]:
    """A container's last lines: of the run that failed, else of the present one."""
    for of_previous in (True, False) if previous else (False,):
        with suppress(RequestError, ConnectionFailedError):
            reference = read_reference(pod)
            found = api.read_lines(reference, container, lines=LINES, previous=of_previous)
            if found:
                return found
    return ()


class LogStream:
    """Tells the lines of a container until it ends, on a thread of its own."""

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
        self.last: deque[str] = deque(maxlen=LINES)

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
        for _ in range(2):
            # One that is cut off meanwhile is asked for once more.
            self.ensure(is_running=False)
            if self._task is not None and not self._task.join(seconds):
                self._task.cancel()
                self._task.join(STREAM_SECONDS)
                break
        self._is_closed = True

    def _follow(self) -> None:
        told = self._count
        for number, line in enumerate(self._api.follow_lines(self._pod, self._container)):
            if number >= told:
                self._count += 1
                self.last.append(line)
                self._tell(line)
