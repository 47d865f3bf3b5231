"""Looking at workloads again and again, until all of them are done or one has failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

from nvoi.errors import RemoteError, ServiceError
from nvoi.kubernetes.calls import Calls
from nvoi.kubernetes.commands import Kubectl, build_get, build_logs
from nvoi.kubernetes.names import COMPONENT, INSTANCE, NAME
from nvoi.kubernetes.ownership import Json, Reference, read_reference
from nvoi.kubernetes.pods import describe_changes
from nvoi.kubernetes.reports import Reporter
from nvoi.kubernetes.rollout import State, Verdict, belongs, judge
from nvoi.kubernetes.snapshots import Snapshot, read_snapshot
from nvoi.kubernetes.streaming import LogStream
from nvoi.log.levels import get_logger
from nvoi.waiting import Reminder

log = get_logger("nvoi.kubernetes")

KINDS = ("deployments", "statefulsets", "jobs", "services", "pods")
#: A namespace's events are many, and most looks need none: each third asks for them.
EVENTS_EVERY = 3
#: How much sooner than usual the second look comes: what is quick is seen to be.
FASTER = 8
#: Seconds that the last lines of a Job have to arrive after its end.
STREAM_SECONDS = 2.0

OpenStream = Callable[[Kubectl, Callable[[str], None]], LogStream]


class Follower:
    """Follows workloads of one namespace; used once.

    Args:
        calls: how the cluster is asked.
        references: the Deployments, StatefulSets and Jobs.
        namespace: where they are.
        selector: labels that they and their pods have; None is all there is.
        seconds: how long they may take altogether.
        pace: seconds from one look to the next.
        open_stream: makes what follows the lines of a container.
    """

    def __init__(
        self,
        calls: Calls,
        references: Iterable[Reference],
        *,
        namespace: str,
        selector: str | None,
        seconds: float,
        pace: float,
        open_stream: OpenStream,
    ) -> None:
        self._calls = calls
        self._references = tuple(references)
        self._namespace = namespace
        self._selector = selector
        self._seconds = seconds
        self._pace = pace
        self._open_stream = open_stream
        self._began = time.monotonic()
        self._snapshot = Snapshot()
        self._seen: dict[str, str] | None = None
        self._done: set[Reference] = set()
        self._streams: dict[str, LogStream] = {}

    def follow(self) -> Snapshot:
        """Return what was seen last, once all are done.

        Raises:
            ServiceError: one has failed, is gone, or was not done in time.
            ConnectionFailedError: the connection broke.
        """
        names = ", ".join(reference.name for reference in self._references)
        reminder = Reminder(names, log)
        try:
            pause = self._pace / FASTER
            for number in count():
                began = time.monotonic()
                self._look(with_events=number % EVENTS_EVERY == EVENTS_EVERY - 1)
                verdicts = self._judge()
                if all(verdict.state is State.DONE for verdict in verdicts):
                    return self._snapshot
                if began - self._began >= self._seconds:
                    break
                reminder.tell("; ".join(self._list_open(verdicts)))
                time.sleep(max(0.0, pause - (time.monotonic() - began)))
                pause = min(pause * 1.5, self._pace)
            raise self._build_late(verdicts)
        finally:
            self._end_streams()

    def _look(self, *, with_events: bool) -> None:
        """See how things are."""
        events = self._ask(("events",)).events if with_events else self._snapshot.events
        self._snapshot = self._ask(KINDS, selector=self._selector).with_events(events)
        self._tell_changes()
        for job in self._find(kind="Job"):
            self._stream(job)

    def _ask(self, kinds: Sequence[str], selector: str | None = None) -> Snapshot:
        left = max(0.0, self._seconds - (time.monotonic() - self._began))
        call = build_get(kinds, selector=selector, namespace=self._namespace)
        try:
            result = self._calls.run(call, "looking at the cluster", patience=left, quiet=True)
        except RemoteError as error:
            names = ", ".join(reference.name for reference in self._references)
            message = f"{names}: nothing is known of the rollout: {error.message}"
            raise ServiceError(message, hint=error.hint, output=error.output) from error
        return read_snapshot(result.stdout)

    def _find(self, kind: str | None = None) -> Iterator[Json]:
        """The followed objects."""
        for item in self._snapshot.items:
            if kind in {None, item["kind"]} and read_reference(item) in self._references:
                yield item

    def _tell_changes(self) -> None:
        """Say how pods have changed. Those of the release before are news once they go."""
        followed = [*self._find()]
        instances = {get_instance(item) for item in followed}
        own = [pod for pod in self._snapshot.pods if get_label(pod, INSTANCE) in instances]
        if self._seen is None:
            old = [pod for pod in own if not any(belongs(pod, item) for item in followed)]
            self._seen = describe_changes({}, old)[1]
        sentences, self._seen = describe_changes(self._seen, own)
        for sentence in sentences:
            log.info("%s", sentence)

    def _judge(self) -> list[Verdict]:
        """How far each of them is; what is done is said once."""
        found = {read_reference(item): item for item in self._find()}
        verdicts = []
        for reference in self._references:
            if reference not in found:
                raise ServiceError(f"{reference.name}: is gone from the cluster")
            item = found[reference]
            verdict = judge(item, self._snapshot.pods, self._snapshot.events)
            if verdict.state is State.FAILED:
                raise self._build_failure(item, verdict)
            if verdict.state is State.DONE and reference not in self._done:
                self._done.add(reference)
                self._end_streams(item)
                log.info("%s", verdict.sentence)
            verdicts.append(verdict)
        return verdicts

    def _list_open(self, verdicts: Iterable[Verdict]) -> list[str]:
        return [one.sentence for one in verdicts if one.state is not State.DONE]

    def _build_failure(self, item: Json, verdict: Verdict) -> ServiceError:
        """The error of a workload that has failed, with all that is known of why."""
        events = self._ask(("events",)).events
        self._end_streams()
        self._snapshot = self._snapshot.with_events(events)
        # What the events say now is more than what they said some looks ago.
        again = judge(item, self._snapshot.pods, events)
        failed = again if again.state is State.FAILED else verdict
        reporter = Reporter(self._calls, self._snapshot, self._namespace, self._list_streamed())
        return reporter.build_failure(name_service(item), failed)

    def _build_late(self, verdicts: Iterable[Verdict]) -> ServiceError:
        """The error of workloads that were not done in time, with what was seen last."""
        self._snapshot = self._snapshot.with_events(self._ask(("events",)).events)
        self._end_streams()
        late = [item for item in self._find() if read_reference(item) not in self._done]
        reporter = Reporter(self._calls, self._snapshot, self._namespace, self._list_streamed())
        names = ", ".join(map(name_service, late))
        return reporter.build_late(names, late, self._list_open(verdicts), self._seconds)

    def _stream(self, job: Json) -> None:
        """Have the lines of a Job told, from when its container has started."""
        for pod in self._snapshot.pods:
            if not belongs(pod, job):
                continue
            for status in (pod.get("status") or {}).get("containerStatuses") or ():
                name, state = pod["metadata"]["name"], status.get("state") or {}
                has_begun = "running" in state or "terminated" in state
                if has_begun and name not in self._streams:
                    call = build_logs(
                        name, container=status["name"], follow=True, namespace=self._namespace
                    )
                    stream = self._open_stream(call, build_teller(get_label(job, NAME) or name))
                    self._streams[name] = stream
                    stream.ensure()
                elif "running" in state:
                    self._streams[name].ensure()

    def _end_streams(self, job: Json | None = None) -> None:
        """Let the last lines arrive, of all or of what is done."""
        ended = {p["metadata"]["name"] for p in self._snapshot.pods if job and belongs(p, job)}
        for name, stream in self._streams.items():
            if job is None or name in ended:
                stream.close(STREAM_SECONDS)

    def _list_streamed(self) -> dict[str, list[str]]:
        return {pod: [*stream.last] for pod, stream in self._streams.items()}


def build_teller(service: str) -> Callable[[str], None]:
    """Says the lines of a service's command."""

    def tell(line: str) -> None:
        log.info("%s: %s", service, line)

    return tell


def get_label(item: Json, key: str) -> str | None:
    """A label's value."""
    value: str | None = (item["metadata"].get("labels") or {}).get(key)
    return value


def get_instance(item: Json) -> str | None:
    """The label by which the pods of a workload are told from others."""
    return get_label(item["spec"]["template"], INSTANCE)


def name_service(item: Json) -> str:
    """What the config calls a workload."""
    name = get_label(item, NAME) or item["metadata"]["name"]
    return f"pre_run_command of {name}" if get_label(item, COMPONENT) == "job" else name
