"""What an error says of a workload that did not come up: why, what to do, and its last lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from nvoi.errors import ServiceError
from nvoi.kubernetes.advice import advise
from nvoi.kubernetes.calls import Calls
from nvoi.kubernetes.commands import build_logs
from nvoi.kubernetes.ownership import Json
from nvoi.kubernetes.pods import Failure, concerns, list_containers
from nvoi.kubernetes.rollout import Verdict, belongs
from nvoi.kubernetes.snapshots import Snapshot
from nvoi.ssh.session import mask

#: Lines of a container, events of a pod, and pods, that an error shows.
LINES = 20
EVENTS = 8
PODS = 2


class Reporter:
    """Gathers what is known of pods.

    Args:
        calls: how the cluster is asked for lines.
        snapshot: what was seen last.
        namespace: where that is.
        streamed: the last lines of pods that were followed, by name: a Job's pod may be gone.
    """

    def __init__(
        self,
        calls: Calls,
        snapshot: Snapshot,
        namespace: str,
        streamed: Mapping[str, Sequence[str]],
    ) -> None:
        self._calls = calls
        self._snapshot = snapshot
        self._namespace = namespace
        self._streamed = streamed

    def build_failure(self, service: str, verdict: Verdict) -> ServiceError:
        """The error of a workload that has failed."""
        failure = verdict.failure or Failure("Failed", "")
        lines = [*self._read_lines(failure)] if failure.has_lines else self._list_streamed()
        output = [*self._list_events(failure.pod), *lines]
        return ServiceError(
            mask(f"{service}: {verdict.sentence}"),
            hint=advise(failure),
            output=[mask(line) for line in output],
        )

    def build_late(
        self, service: str, late: Iterable[Json], sentences: Iterable[str], seconds: float
    ) -> ServiceError:
        """The error of workloads that were not done in time."""
        pods = [pod for pod in self._snapshot.pods if any(belongs(pod, item) for item in late)]
        unready = [pod for pod in pods if not is_well(pod)]
        output: list[str] = []
        for pod in unready[:PODS]:
            name = pod["metadata"]["name"]
            output += self._list_events(name)
            container = next((status["name"] for status in list_containers(pod)), None)
            output += self._read_lines(Failure("", "", name, container)) if container else []
        return ServiceError(
            mask(f"{service}: not ready after {seconds:g} s: {'; '.join(sentences)}"),
            hint="its last lines and events say what it is waiting for",
            output=[mask(line) for line in output],
        )

    def _list_events(self, name: str | None) -> list[str]:
        """What the cluster has noted of a pod, oldest first."""
        pod = next((p for p in self._snapshot.pods if p["metadata"]["name"] == name), None)
        if pod is None:
            return []
        own = [event for event in self._snapshot.events if concerns(event, pod)]
        own.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
        return [describe_event(event) for event in own[-EVENTS:]]

    def _read_lines(self, failure: Failure) -> Iterator[str]:
        """A container's last lines: of the run that failed, else of the present one."""
        for previous in (True, False) if failure.previous else (False,):
            call = build_logs(
                failure.pod or "",
                container=failure.container,
                lines=LINES,
                previous=previous,
                namespace=self._namespace,
            )
            result = self._calls.attempt(call)
            if result.is_ok and result.lines:
                yield from result.lines[-LINES:]
                return
        yield from self._streamed.get(failure.pod or "", ())

    def _list_streamed(self) -> list[str]:
        return [line for lines in self._streamed.values() for line in lines]


def describe_event(event: Json) -> str:
    """An event in a line."""
    times = event.get("count") or 1
    often = f" ({times} times)" if times > 1 else ""
    message = " ".join(str(event.get("message", "")).split())
    return f"{event.get('reason', '')}: {message}{often}"


def is_well(pod: Json) -> bool:
    """Whether all of a pod's containers are ready."""
    statuses = [*list_containers(pod)]
    return bool(statuses) and all(status.get("ready") for status in statuses)
