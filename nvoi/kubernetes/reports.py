"""The errors of workloads that did not come up: why, their pods' events, and their last lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nvoi.errors import ConnectionFailedError, RequestError, ServiceError
from nvoi.kubernetes.api import Api
from nvoi.kubernetes.diagnosis import Failure, advise, belongs, concerns, is_well, list_containers
from nvoi.kubernetes.ownership import Json, read_reference
from nvoi.log.masking import masker

#: Lines of a container, events of a pod, and pods, that an error shows.
LINES = 20
EVENTS = 8
PODS = 2


@dataclass(frozen=True)
class Reporter:
    """Builds the errors of workloads that did not come up.

    Attributes:
        api: asked for lines.
        pods: what was seen last.
        events: likewise.
        streamed: the last lines of pods that were followed, by name: a Job's pod may be gone.
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
