"""What pods print, told as it comes, and the errors of workloads that did not come up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nvoi.errors import ConnectionFailedError, RequestError, ServiceError
from nvoi.kubernetes.api import Api
from nvoi.kubernetes.diagnosis import Failure, advise, belongs, concerns, is_well, list_containers
from nvoi.kubernetes.ownership import Json, Reference, read_reference
from nvoi.log.masking import masker
from nvoi.parallel import Task

#: Lines of a container, events of a pod, and pods, that an error shows.
LINES = 20
EVENTS = 8
PODS = 2
#: Seconds that the last lines of a Job have to arrive after its end.
STREAM_SECONDS = 2.0


@dataclass(frozen=True)
class Reporter:
    """Builds the errors of workloads that did not come up.

    ``pods`` and ``events`` are what was seen last, ``streamed`` the last lines of pods that were
    followed, by name: a Job's pod may be gone.
    """

    api: Api
    pods: Sequence[Json]
    events: Sequence[Json]
    streamed: Mapping[str, Sequence[str]]

    def build_failure(self, service: str, sentence: str, failure: Failure) -> ServiceError:
        pod = next((one for one in self.pods if one["metadata"]["name"] == failure.pod), None)
        if pod is not None and failure.container is not None:
            lines = self._read_lines(pod, failure.container, previous=failure.previous)
        else:
            lines = [line for one in self.streamed.values() for line in one]
        output = [*(self._list_events(pod) if pod else ()), *lines]
        return ServiceError(
            masker.clean_text(f"{service}: {sentence}"),
            hint=advise(failure),
            output=[masker.clean_text(line) for line in output],
        )

    def build_timeout_error(
        self, service: str, late: Iterable[Json], sentences: Iterable[str], seconds: float
    ) -> ServiceError:
        items = [*late]
        pods = [pod for pod in self.pods if any(belongs(pod, item) for item in items)]
        output: list[str] = []
        for pod in [one for one in pods if not is_well(one)][:PODS]:
            output += self._list_events(pod)
            container = next((status["name"] for status in list_containers(pod)), None)
            output += self._read_lines(pod, container) if container else ()
        return ServiceError(
            masker.clean_text(f"{service}: not ready after {seconds:g} s: {'; '.join(sentences)}"),
            hint="its last lines and events say what it is waiting for",
            output=[masker.clean_text(line) for line in output],
        )

    def _list_events(self, pod: Json) -> list[str]:
        """What the cluster has noted of a pod, oldest first."""
        own = [event for event in self.events if concerns(event, pod)]
        own.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
        return [describe_event(event) for event in own[-EVENTS:]]

    def _read_lines(self, pod: Json, container: str, *, previous: bool = False) -> Sequence[str]:
        """A container's last lines: of the run that failed, else of the present one."""
        reference = read_reference(pod)
        for of_previous in (True, False) if previous else (False,):
            with suppress(RequestError, ConnectionFailedError):
                found = self.api.read_lines(reference, container, lines=LINES, previous=of_previous)
                if found:
                    return found
        return self.streamed.get(reference.name, ())


def describe_event(event: Json) -> str:
    times = event.get("count") or 1
    often = f" ({times} times)" if times > 1 else ""
    message = " ".join(str(event.get("message", "")).split())
    return f"{event.get('reason', '')}: {message}{often}"


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
