"""A rollout: workloads followed by what the cluster tells of each change, until all are done."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from nvoi.errors import ConnectionFailedError, HostsError, NvoiError, RequestError, ServiceError
from nvoi.kubernetes.api import Api
from nvoi.kubernetes.diagnosis import (
    Failure,
    belongs,
    describe_changes,
    describe_events,
    get_hint,
    is_well,
    lacks_room,
    list_containers,
)
from nvoi.kubernetes.names import COMPONENT, INSTANCE, NAME
from nvoi.kubernetes.ownership import Json, Reference, get_label, is_going, read_reference
from nvoi.kubernetes.progress import (
    Beginning,
    Restarts,
    Verdict,
    fail,
    find_stuck,
    has_ended,
    has_failed_before,
    is_overdue,
    judge,
    note_beginnings,
)
from nvoi.kubernetes.watches import STREAM_SECONDS, LogStream, Watches, read_last_lines
from nvoi.log.levels import get_logger
from nvoi.log.masking import masker
from nvoi.waiting import Reminder

log = get_logger("nvoi.kubernetes")

#: Seconds between two looks at the clock, while the cluster tells nothing.
TICK_SECONDS = 0.5
#: Seconds that the news of a workload's pods may come later than those of itself: each kind is
#: told by a stream of its own.
LAG_SECONDS = 5.0
#: Seconds until the scheduler has tried a pod again that now has room: it pauses for up to ten
#: (Kubernetes documentation, "kube-scheduler Configuration", `podMaxBackoffSeconds`).
ROOM_SECONDS = 15.0
#: The pods that hold room.
HOLDERS = "status.phase!=Succeeded,status.phase!=Failed"
#: Pods of which an error shows the last lines.
PODS = 2


class RolloutWatch:
    """Follows workloads of one namespace until all are done; used once.

    Args:
        api: the cluster's.
        references: the Deployments, StatefulSets and Jobs.
        selector: labels that they and their pods have; None is all there is.
        seconds: how long they may take altogether.
        restarts: of the run, where a container that was well may not end; None where it may.
        describe: makes of what the API says what a person is told.
        free: deletes pods that hold the rollout up; where it is left out none is.
        is_patient: whether what fails has until the end to come right by itself.
        is_quiet: whether only failures are told, as all else was told before.
    """

    def __init__(
        self,
        api: Api,
        references: Iterable[Reference],
        *,
        selector: str | None,
        seconds: float,
        restarts: Restarts | None = None,
        describe: Callable[[RequestError], NvoiError],
        free: Callable[[Sequence[Json]], None] | None = None,
        is_patient: bool = False,
        is_quiet: bool = False,
    ) -> None:
        self._api = api
        self._restarts = restarts
        self._references = tuple(references)
        self._names = ", ".join(reference.name for reference in self._references)
        self._kinds = {reference.kind for reference in self._references} | {"Pod"}
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._describe = describe
        self._free = free
        self._is_patient = is_patient
        self._level = logging.DEBUG if is_quiet else logging.INFO
        self._beginnings: dict[str, Beginning] = {}
        self._overdue: set[Reference] = set()
        self._freed: set[str] = set()
        self._watches = Watches(api, self._references[0].namespace, selector)
        self._objects = self._watches.objects
        self._objects["Event"] = {}  # no events are asked for where all is over
        self._seen: dict[str, str] | None = None
        self._done: set[Reference] = set()
        #: When a pod's trouble, or the end of a workload, was first seen.
        self._seen_first: dict[object, float] = {}
        self._room_asked = self._room_until = 0.0
        self._streams: dict[str, LogStream] = {}

    def follow(self) -> None:
        """Return once all are done; raises ServiceError where one is not in time, or never is."""
        with self._telling():
            self._watches.list_all(self._kinds, self._seconds)
            if not self._is_over():
                self._watches.list_all({"Event"}, self._seconds)
        self._note_beginnings()
        reminder = Reminder(self._names, log)
        try:
            verdicts = self._judge()
            if list_open(verdicts):
                self._watches.start()
            while list_open(verdicts):
                if time.monotonic() >= self._deadline:
                    if self._is_patient:
                        # What has failed until now is told as that.
                        self._is_patient = False
                        self._judge()
                    raise self._build_timeout_error(verdicts)
                reminder.tell("; ".join(list_open(verdicts)))
                left = max(0.0, self._deadline - time.monotonic())
                with self._telling():
                    self._watches.take_changes(min(left, TICK_SECONDS))
                verdicts = self._judge()
        finally:
            self._watches.close()
            self._end_streams()

    @property
    def _followed(self) -> dict[Reference, Json]:
        """The workloads, as far as they are there."""
        items = [one for kind in self._kinds for one in self._objects.get(kind, {}).values()]
        found = {read_reference(one): one for one in items}
        return {one: found[one] for one in self._references if one in found}

    @property
    def _pods(self) -> list[Json]:
        return sorted(self._objects["Pod"].values(), key=lambda pod: str(pod["metadata"]["name"]))

    def _is_over(self) -> bool:
        """Whether all are done by now, and their pods are well: no event says more."""
        found, pods = self._followed.values(), self._pods
        return len(found) == len(self._references) and all(
            (verdict := judge(item, pods)).is_done and has_ended(item, verdict, pods)
            for item in found
        )

    def _note_beginnings(self) -> None:
        """What was wrong before the workloads were followed is no reason to give them up.

        A Job is made anew: all that its pods do is of this rollout, however early it was.
        """
        jobs = self._objects.get("Job", {}).values()
        others = [pod for pod in self._pods if not any(belongs(pod, job) for job in jobs)]
        self._beginnings = note_beginnings(others, [*self._objects["Event"].values()])
        self._overdue = {one for one, item in self._followed.items() if is_overdue(item)}

    def _free_pods(self, items: Iterable[Json], pods: list[Json]) -> list[Json]:
        """Have the pods that hold the rollout up deleted, each once; those to be judged."""
        if self._free is None:
            return pods
        events = [*self._objects["Event"].values()]
        stuck = [
            pod
            for item in items
            if item["kind"] != "Job"
            for pod in find_stuck(item, pods, events, self._beginnings)
            if pod["metadata"]["uid"] not in self._freed
        ]
        if stuck:
            self._freed |= {pod["metadata"]["uid"] for pod in stuck}
            self._free(stuck)
        return [
            pod
            for pod in pods
            if pod["metadata"]["uid"] not in self._freed
            if not has_failed_before(pod, events, self._beginnings)
        ]

    def _judge(self) -> list[Verdict]:
        """How far each of them is; what is new is said, and what is done once."""
        found, pods = self._followed, self._pods
        events = [*self._objects["Event"].values()]
        self._tell_changes([*found.values()], pods)
        pods = self._free_pods(found.values(), pods)
        self._overdue &= {reference for reference, item in found.items() if is_overdue(item)}
        verdicts = []
        for reference in self._references:
            if reference not in found:
                raise ServiceError(f"{reference.name}: is gone from the cluster")
            item = found[reference]
            if reference.kind == "Job":
                self._stream(item, pods)
            judged = item
            if reference in self._overdue:
                judged = {**item, "status": {**item["status"], "conditions": []}}
            verdict = self._judge_restarts(item, judge(judged, pods, events), pods)
            if self._may_pass(verdict) or self._lags(item, verdict, pods):
                verdict = Verdict(verdict.sentence)
            if verdict.failure is not None and not self._is_patient:
                raise self._build_failure(item, verdict)
            if verdict.is_done and reference not in self._done:
                self._done.add(reference)
                self._end_streams(item)
                log.log(self._level, "%s", verdict.sentence)
            verdicts.append(verdict)
        return verdicts

    def _judge_restarts(self, item: Json, verdict: Verdict, pods: Iterable[Json]) -> Verdict:
        """``verdict``, unless a container has ended that was well."""
        if self._restarts is None or item["kind"] == "Job":
            return verdict
        own = [pod for pod in pods if belongs(pod, item)]
        failure = self._restarts.find_failure(own)
        self._restarts.note(own, is_done=verdict.is_done)
        if failure is None or verdict.failure is not None:
            return verdict
        return fail(item["metadata"]["name"], failure)

    def _may_pass(self, verdict: Verdict) -> bool:
        """Whether what keeps a pod from starting may pass by itself yet."""
        failure = verdict.failure
        if failure is not None and lacks_room(failure):
            return self._is_patient or self._gets_room()
        return failure is not None and self._is_within(failure.seconds, failure.pod)

    def _gets_room(self) -> bool:
        """Whether pods of any app are about to leave room, or have just done so."""
        now = time.monotonic()
        # No more often, whatever else the cluster tells meanwhile.
        if now >= self._room_asked + TICK_SECONDS:
            self._room_asked = now
            if self._may_leave_room():
                self._room_until = now + ROOM_SECONDS
        return now < self._room_until

    def _may_leave_room(self) -> bool:
        try:
            found = self._api.list_all("Pod", None, fields=HOLDERS, names_only=True, patience=0)
        except (RequestError, ConnectionFailedError):
            return True
        going = [pod["metadata"] for pod in found.items if is_going(pod)]
        # One that does not end, as its node is away, leaves none.
        leaves = [
            self._is_within(one["deletionGracePeriodSeconds"] + ROOM_SECONDS, one["uid"])
            for one in going
        ]
        return any(leaves)

    def _lags(self, item: Json, verdict: Verdict, pods: Sequence[Json]) -> bool:
        """Whether a workload has ended, well or not, and its pods have yet to be heard of."""
        is_open = not verdict.is_done and verdict.failure is None
        if is_open or has_ended(item, verdict, pods):
            return False
        return self._is_within(LAG_SECONDS, read_reference(item))

    def _is_within(self, seconds: float, what: object) -> bool:
        """Whether it was first seen less than ``seconds`` ago."""
        now = time.monotonic()
        return bool(seconds) and now < self._seen_first.setdefault(what, now) + seconds

    def _tell_changes(self, followed: Sequence[Json], pods: Sequence[Json]) -> None:
        """Say how pods have changed. Those of the release before are news once they go."""
        instances = {get_label(item["spec"]["template"], INSTANCE) for item in followed}
        own = [pod for pod in pods if get_label(pod, INSTANCE) in instances]
        if self._seen is None:
            old = [pod for pod in own if not any(belongs(pod, item) for item in followed)]
            self._seen = describe_changes({}, old)[1]
        sentences, self._seen = describe_changes(self._seen, own)
        for sentence in sentences:
            log.log(self._level, "%s", sentence)

    def _stream(self, job: Json, pods: Iterable[Json]) -> None:
        """Have the lines of a Job told, from when its container has started."""
        for pod in pods:
            for status in list_containers(pod) if belongs(pod, job) else ():
                name, state = pod["metadata"]["name"], status.get("state") or {}
                has_begun = "running" in state or "terminated" in state
                if has_begun and name not in self._streams:
                    tell = partial(log.info, "%s: %s", get_label(job, NAME) or name)
                    stream = LogStream(self._api, read_reference(pod), status["name"], tell)
                    self._streams[name] = stream
                if has_begun:
                    self._streams[name].ensure(is_running="running" in state)

    def _end_streams(self, job: Json | None = None) -> None:
        """Let the last lines arrive, of all or of what is done."""
        pods = self._objects.get("Pod", {}).values()
        ended = {pod["metadata"]["name"] for pod in pods if job and belongs(pod, job)}
        for name, stream in self._streams.items():
            if job is None or name in ended:
                stream.close(STREAM_SECONDS)

    def _build_failure(self, item: Json, verdict: Verdict) -> ServiceError:
        """The error of a workload that has failed, with all that is known of why."""
        self._end_streams()
        pods, events = self._pods, self._list_events()
        # What the events say now is more than what had been told by then.
        again = judge(item, pods, events)
        told = again if again.failure is not None else verdict
        failure = told.failure or Failure("Failed", "")
        pod = next((one for one in pods if one["metadata"]["name"] == failure.pod), None)
        if pod is not None and failure.container is not None:
            lines = self._read_lines(pod, failure.container, previous=failure.previous)
        else:
            lines = [line for stream in self._streams.values() for line in stream.last]
        output = [*(describe_events(pod, events) if pod else ()), *lines]
        return build_error(f"{name_workload(item)}: {told.sentence}", get_hint(failure), output)

    def _build_timeout_error(self, verdicts: Sequence[Verdict]) -> ServiceError:
        """The error of workloads that were not done in time, with what was seen last."""
        # Read once: a watch on another thread may hear of its end meanwhile.
        trouble = self._api.trouble
        if trouble is not None:
            return self._build_unknown(trouble)
        self._end_streams()
        late = [item for one, item in self._followed.items() if one not in self._done]
        own = [pod for pod in self._pods if any(belongs(pod, item) for item in late)]
        events, output = self._list_events(), list[str]()
        for pod in [one for one in own if not is_well(one)][:PODS]:
            output += describe_events(pod, events)
            container = next((status["name"] for status in list_containers(pod)), None)
            output += self._read_lines(pod, container) if container else ()
        names, sentences = ", ".join(map(name_workload, late)), "; ".join(list_open(verdicts))
        return build_error(
            f"{names}: not ready after {self._seconds:g} s: {sentences}",
            "its last lines and events say what it is waiting for",
            output,
        )

    def _list_events(self) -> Sequence[Json]:
        """The events there are now, or those that were seen last."""
        with suppress(RequestError, ConnectionFailedError):
            return self._api.list_all("Event", self._references[0].namespace, patience=0).items
        return [*self._objects["Event"].values()]

    def _read_lines(self, pod: Json, container: str, *, previous: bool = False) -> Sequence[str]:
        """A container's last lines; a Job's pod may be gone, and those told so far are kept."""
        stream = self._streams.get(pod["metadata"]["name"])
        found = read_last_lines(self._api, pod, container, previous=previous)
        return found or (tuple(stream.last) if stream else ())

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Have what the cluster refuses to tell told as the end of the rollout."""
        try:
            yield
        except NvoiError as error:
            first = error.errors[0] if isinstance(error, HostsError) else error
            raise self._build_unknown(first) from error

    def _build_unknown(self, error: NvoiError) -> ServiceError:
        if isinstance(error, RequestError):
            error = self._describe(error)
        return ServiceError(
            f"{self._names}: nothing is known of the rollout: {error.message}",
            hint=error.hint,
            output=error.output,
        )


def list_open(verdicts: Iterable[Verdict]) -> list[str]:
    return [one.sentence for one in verdicts if not one.is_done]


def name_workload(item: Json) -> str:
    """What the config calls a workload."""
    name = get_label(item, NAME) or item["metadata"]["name"]
    return f"pre_run_command of {name}" if get_label(item, COMPONENT) == "job" else name


def build_error(message: str, hint: str, output: Iterable[str]) -> ServiceError:
    lines = [masker.clean_text(line) for line in output]
    return ServiceError(masker.clean_text(message), hint=hint, output=lines)
