"""A cluster by way of its master: its API through a port forward, commands in containers by SSH."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from nvoi import parallel
from nvoi.command import Result, build_script
from nvoi.errors import ClusterSilenceError, HostsError, RemoteError, RequestError
from nvoi.http import Client
from nvoi.kubernetes.api import FIELD_MANAGER, Api
from nvoi.kubernetes.deletion import wait_until_gone
from nvoi.kubernetes.diagnosis import is_crashing
from nvoi.kubernetes.drift import sign
from nvoi.kubernetes.kubeconfig import FIND_K3S, Access
from nvoi.kubernetes.names import COMPONENT, DOMAIN, INSTANCE, NAMESPACE
from nvoi.kubernetes.ownership import (
    Json,
    Reference,
    get_label,
    is_adopted,
    list_immutable_changes,
    read_reference,
)
from nvoi.kubernetes.progress import Restarts, count_settling, find_stuck
from nvoi.kubernetes.refusals import explain, is_temporary, summarize
from nvoi.kubernetes.rollout import RolloutWatch
from nvoi.kubernetes.workloads import Manifest
from nvoi.log.levels import get_logger
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, as_root

T = TypeVar("T")
H = TypeVar("H")

log = get_logger("nvoi.kubernetes")

EXECUTE = f'{FIND_K3S}; exec k3s kubectl exec "$@"'
#: Seconds that a command in a container may take where nothing else is said.
EXECUTE_SECONDS = 300.0
#: The kinds that a rollout is about.
FOLLOWED = frozenset({"Deployment", "StatefulSet", "Job"})
#: The kinds that can be put back.
LOOKED_AT = ("deployments", "statefulsets", "services")
#: Seconds that deleted objects have to be gone.
DELETE_SECONDS = 300.0
#: Seconds that each component of an app has to be ready again, after those that it needs: it may
#: crash until these are. A database may have to end and to recover first.
RESTORE_SECONDS = {"database": 900.0, "service": 300.0, "app": 300.0, DOMAIN: 120.0}
LOOKING, APPLYING = "looking at the cluster", "applying to the cluster"
DELETING = "deleting from the cluster"


@dataclass(frozen=True)
class Query:
    """Objects of a kind that have labels; of them the metadata alone, with ``names_only``."""

    name: str
    selector: str | None = None
    names_only: bool = False


class Cluster:
    """A cluster, whose kubeconfig is read by one SSH command when it is first asked.

    A cluster that does not answer for a moment is asked again; said once. Usable from any
    thread; whoever makes one closes it.

    Args:
        connections: the way to the master.
        host: the master.
        check: called before the cluster is changed; raises where this run may not.
        pace: seconds until a cluster that did not answer is asked again.
    """

    def __init__(
        self,
        connections: Connections,
        host: Host,
        check: Callable[[], None] = lambda: None,
        *,
        pace: float = 1.0,
    ) -> None:
        self._connections = connections
        self._host = host
        self._check = check
        self._access = Access(connections, host)
        self._client = Client(
            self._access.connect, pause=pace, listen=tell_trouble, is_temporary=is_temporary
        )
        self._api = Api(self._client)
        self._restarts = Restarts()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the way to the API. A later use opens another one."""
        self._client.close()
        self._access.close()

    def get(
        self,
        names: Sequence[str],
        *,
        selector: str | None = None,
        fields: str | None = None,
        namespace: str | None = NAMESPACE,
    ) -> tuple[Json, ...]:
        """All objects of some kinds.

        Args:
            names: the kinds, as the API's paths call them.
            selector: the labels that they have.
            fields: the fields that they have, such as ``spec.nodeName=main-1``.
            namespace: theirs; None is every one.

        Raises:
            NvoiError: they cannot be had.
        """
        queries = [Query(name, selector) for name in dict.fromkeys(names)]
        return self.get_all(queries, fields=fields, namespace=namespace)

    def get_all(
        self,
        queries: Sequence[Query],
        *,
        fields: str | None = None,
        namespace: str | None = NAMESPACE,
    ) -> tuple[Json, ...]:
        """As :meth:`get`, each kind with a selector of its own."""

        def look(query: Query) -> tuple[Json, ...]:
            return self._api.list_all(
                query.name,
                namespace,
                selector=query.selector,
                fields=fields,
                names_only=query.names_only,
            ).items

        with self._telling(LOOKING):
            found = self._ask_all(queries, look)
        return tuple(item for items in found.values() for item in items)

    def list_names(self, name: str, *, selector: str | None = None) -> frozenset[Reference]:
        """The objects of a kind; nothing of what they hold is read.

        Raises:
            NvoiError: they cannot be had.
        """
        with self._telling(LOOKING):
            found = self._api.list_all(name, NAMESPACE, selector=selector, names_only=True)
        return frozenset(map(read_reference, found.items))

    def find_existing(self, references: Iterable[Reference]) -> frozenset[Reference]:
        """Those of the objects that there are; nothing of what they hold is read.

        Raises:
            NvoiError: they cannot be had.
        """
        with self._telling(LOOKING):
            found = self._ask_all([*references], lambda one: self._api.find(one, names_only=True))
        return frozenset(reference for reference, item in found.items() if item)

    def apply(
        self, manifests: Iterable[Manifest], *, owner: str = FIELD_MANAGER
    ) -> tuple[Json, ...]:
        """Have the cluster hold ``manifests``, and return what it holds then.

        Raises:
            RemoteError: the cluster refuses one; the others are applied.
            LockError: this run may not change the cluster.
        """
        # Others own but a part of what they apply.
        items = [sign(one) if owner == FIELD_MANAGER else one for one in manifests]

        def apply(number: int) -> Json | RequestError:
            try:
                return self._api.apply(items[number], owner)
            except RequestError as error:
                if error.is_silence:
                    raise
                return error

        found: dict[int, Json | RequestError] = {}
        # Pods do not start before what they are started with is there.
        for is_workload in (False, True):
            numbers = [n for n, one in enumerate(items) if (one["kind"] in FOLLOWED) == is_workload]
            if numbers:
                self._check()
            with self._telling(APPLYING):
                found |= self._ask_all(numbers, apply)
        refusals = [one for one in found.values() if isinstance(one, RequestError)]
        if refusals:
            raise self._build_error(refusals, APPLYING, items)
        return tuple(one for one in found.values() if not isinstance(one, RequestError))

    def change(self, reference: Reference, change: Json) -> None:
        """Merge ``change`` into an object; what is None there goes.

        Raises:
            RemoteError: there is no such object, or the cluster refuses it.
            LockError: this run may not change the cluster.
        """
        self._check()
        with self._telling(f"changing {reference}"):
            self._api.patch(reference, change)

    def delete(self, references: Iterable[Reference], *, wait: bool = True) -> None:
        """Delete objects; those that are gone are no error.

        With ``wait`` it returns once their pods are gone too: what is made anew must not write
        to a folder beside what it replaces.

        Raises:
            RemoteError: one cannot be deleted, or is not gone in time.
            LockError: this run may not change the cluster.
        """
        self._delete(references, "Foreground" if wait else "Background", wait=wait)

    def _delete(self, references: Iterable[Reference], propagation: str, *, wait: bool) -> None:
        items = [*dict.fromkeys(references)]
        if items:
            self._check()
        with self._telling(DELETING):
            found = self._ask_all(items, lambda one: self._api.delete(one, propagation))
            left = [one for one, is_gone in found.items() if not is_gone]
            deadline = time.monotonic() + DELETE_SECONDS
            for reference in left if wait else ():
                if not wait_until_gone(self._api, reference, deadline):
                    outcome = f"{reference} is not gone after {DELETE_SECONDS:g} s"
                    raise RemoteError(str(self._host), "deleting from the cluster", outcome)

    def detach(self, references: Iterable[Reference]) -> None:
        """Delete Deployments, and leave what was made for them: their pods go on by themselves.

        Raises:
            RemoteError: one cannot be deleted, or is not gone in time.
            LockError: this run may not change the cluster.
        """
        self._delete(references, "Orphan", wait=True)

    def roll_out(
        self,
        manifests: Iterable[Manifest],
        *,
        seconds: float,
        delete_first: Sequence[Reference] = (),
    ) -> tuple[Json, ...]:
        """Apply ``manifests``, and follow the workloads among them until all are done.

        Args:
            manifests: what the cluster is to hold, all in one namespace.
            seconds: how long the workloads may take.
            delete_first: what has to be deleted before, as it can never be changed.

        Returns:
            The workloads and Services among them, as they were applied.

        Raises:
            ServiceError: a workload has failed, or was not done in time.
            RemoteError: the cluster refuses a manifest.
            LockError: this run may not change the cluster.
        """
        items = [*manifests]
        self.delete(delete_first)
        applied = self.apply(items)
        self._follow(items, seconds)
        return tuple(item for item in applied if item["kind"] in FOLLOWED | {"Service"})

    def follow(
        self,
        references: Iterable[Reference],
        seconds: float,
        *,
        selector: str | None = None,
        is_patient: bool = False,
        is_quiet: bool = False,
    ) -> None:
        """Follow workloads of one namespace until all are done.

        With ``is_patient`` containers may end that were well before: what they need may have
        been away. With ``is_quiet`` only failures are told.

        Raises:
            ServiceError: one has failed, is gone, or was not done in ``seconds``; or a container
                has ended that was well before in this run.
        """
        self._watch(
            references, seconds, selector=selector, is_patient=is_patient, is_quiet=is_quiet
        ).follow()

    def restore(
        self,
        before: Iterable[Manifest],
        created: Iterable[Reference],
        *,
        unready: Collection[Reference] = (),
        seconds: Mapping[str, float] = RESTORE_SECONDS,
    ) -> None:
        """Put back what there was before a release, and wait until it is ready.

        Args:
            before: what there was, all in one namespace. Jobs are not run again.
            created: what there was not.
            unready: what of ``before`` is not waited for: it was not ready then either.
            seconds: how long each component may take to be ready, in the order of these.

        Raises:
            ServiceError: it is not ready in that time, and what its pods have to stay so, however
                often it was started again.
            RemoteError: the cluster refuses a manifest.
            LockError: this run may not change the cluster.
        """
        old = [item for item in before if item["kind"] != "Job"]
        if old:
            fixed = list_immutable_changes(self._look(old), old)
            if fixed:
                # Others that are as they were go on while these are away.
                services = [one for one in old if one["kind"] == "Service"]
                self.apply([one for one in services if read_reference(one) not in fixed])
            self.delete(fixed)
            self.apply(old)
        self.delete(created, wait=False)
        left = [item for item in old if read_reference(item) in unready]
        if left:
            self._free_stuck(left)
            names = join_names(map(read_reference, left))
            log.info("Not waited for, as it was not ready before either: %s", names)
        awaited = [item for item in old if item not in left]
        if awaited:
            log.info("Waiting until the previous release is ready again")
        for component, limit in seconds.items():
            stage = [item for item in awaited if get_label(item, COMPONENT) == component]
            self._follow(stage, limit + count_settling(stage), is_patient=True)

    def note_pods(self, selector: str | None) -> None:
        """Remember the containers that are well: none of these may end from now on.

        Raises:
            NvoiError: they cannot be asked for.
        """
        self._restarts.note(self.get(["pods"], selector=selector), is_done=True)

    def free_crashing(self, selector: str) -> None:
        """Delete pods that are in back-off, for what they crashed of is mended by now.

        Raises:
            NvoiError: they cannot be asked for.
            LockError: this run may not change the cluster.
        """
        crashing = [pod for pod in self.get(["pods"], selector=selector) if is_crashing(pod)]
        if crashing:
            self._free(crashing)

    def evict(self, pods: Iterable[Reference]) -> list[Reference]:
        """Ask for the end of pods; those that a PodDisruptionBudget keeps for now.

        Raises:
            NvoiError: they cannot be asked for.
            LockError: this run may not change the cluster.
        """
        self._check()
        with self._telling("evicting pods"):
            return [pod for pod in pods if not self._api.evict(pod)]

    def execute(
        self,
        target: str,
        words: Sequence[str],
        *,
        seconds: float = EXECUTE_SECONDS,
        namespace: str = NAMESPACE,
        check: bool = False,
    ) -> Result:
        """Run a command in a container, by kubectl on the master. Several go on side by side.

        Args:
            target: a pod's name, or ``deployment/NAME``.
            words: the command.
            seconds: how long it may take.
            namespace: where the pod is.
            check: whether an exit code other than 0 is an error. It is 1 as well where there is
                no such container.

        Raises:
            RemoteError: it is, and ``check`` is set.
            RemoteTimeoutError: it has not ended after ``seconds``.
            ConnectionFailedError: the master cannot be reached, or the connection broke.
        """
        arguments = (f"--namespace={namespace}", target, "--", *words)
        script = build_script("nvoi-exec", EXECUTE, *arguments)
        return self._connections.run(
            self._host,
            as_root(self._host, script),
            timeout=seconds,
            idle_timeout=seconds,
            level=None,
            check=check,
        )

    def read_lines(self, pod: Reference, container: str, *, lines: int) -> tuple[str, ...]:
        """The last lines that a container has printed.

        Raises:
            NvoiError: they cannot be had.
        """
        with self._telling(LOOKING):
            return self._api.read_lines(pod, container, lines=lines)

    def _follow(
        self, manifests: Sequence[Manifest], seconds: float, *, is_patient: bool = False
    ) -> None:
        references = [read_reference(item) for item in manifests]
        followed = [one for one in references if one.kind in FOLLOWED]
        if followed:
            self._watch(
                followed,
                seconds,
                selector=build_selector(manifests),
                free=self._free,
                is_patient=is_patient,
            ).follow()

    def _watch(
        self, references: Iterable[Reference], seconds: float, *, is_patient: bool, **more: Any
    ) -> RolloutWatch:
        return RolloutWatch(
            self._api,
            references,
            seconds=seconds,
            restarts=None if is_patient else self._restarts,
            describe=lambda error: self._build_error([error], LOOKING),
            is_patient=is_patient,
            **more,
        )

    def _look(self, manifests: Sequence[Manifest]) -> tuple[Json, ...]:
        namespace = read_reference(manifests[0]).namespace
        return self.get(LOOKED_AT, selector=build_selector(manifests), namespace=namespace)

    def _free_stuck(self, manifests: Sequence[Manifest]) -> None:
        pods = self.get(["pods"], selector=build_selector(manifests))
        stuck = [pod for item in manifests for pod in find_stuck(item, pods)]
        if stuck:
            self._free(stuck)

    def _free(self, pods: Sequence[Json]) -> None:
        """Delete pods that hold a rollout up, but none that has taken the place of one."""
        log.info("Deleting what stands in the way: %s", join_names(map(read_reference, pods)))
        self._check()
        with self._telling(DELETING):
            for pod in pods:
                self._api.delete(read_reference(pod), "Background", uid=pod["metadata"]["uid"])

    def _ask_all(self, items: Sequence[H], ask: Callable[[H], T]) -> dict[H, T]:
        """Ask for all at once; for the first alone where the way has yet to be opened."""
        first = [] if self._client.is_connected else items[:1]
        found = {item: ask(item) for item in first}
        rest = items[len(first) :]
        return found | (parallel.work_on_all(rest, ask) if rest else {})

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Have what the API refuses told as what was done to the cluster."""
        try:
            yield
        except HostsError as error:
            refusals = [one for one in error.errors if isinstance(one, RequestError)]
            raise (self._build_error(refusals, what) if refusals else error.errors[0]) from error
        except RequestError as error:
            raise self._build_error([error], what) from error

    def _build_error(
        self,
        errors: Sequence[RequestError],
        what: str,
        manifests: Sequence[Manifest] = (),
    ) -> RemoteError:
        found = (text for one in errors for text in explain(one, manifests))
        sentences = [*dict.fromkeys(found)]
        host, summary, output = str(self._host), summarize(sentences), sentences[1:]
        if any(one.is_silence or is_temporary(one) for one in errors):
            hint = errors[0].hint or f"see `systemctl status k3s` on {self._host.name}"
            return ClusterSilenceError(host, what, summary, hint=hint, output=output)
        return RemoteError(host, what, summary, hint=errors[0].hint, output=output)


def tell_trouble(error: RequestError | None) -> None:
    if error is None:
        log.info("The cluster answers again")
    else:
        reason = summarize(explain(error))
        log.warning("The cluster does not answer, and is asked again: %s", reason)


def build_selector(manifests: Iterable[Manifest]) -> str | None:
    """The selector of the workloads among ``manifests`` and of their pods, None for all."""
    names: set[str] = set()
    for manifest in manifests:
        metadata: Any = manifest["metadata"]
        name = (metadata.get("labels") or {}).get(INSTANCE)
        # The pods of what was taken over bear other labels.
        if name is None or is_adopted(manifest):
            return None
        names.add(name)
    return f"{INSTANCE} in ({','.join(sorted(names))})"


def join_names(references: Iterable[Reference]) -> str:
    return ", ".join(map(str, references))
