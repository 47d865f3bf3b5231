"""The cluster as it is changed and watched: kubectl on the master, as root, over SSH."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nvoi.command import Result
from nvoi.kubernetes import commands
from nvoi.kubernetes.calls import Calls
from nvoi.kubernetes.commands import Kubectl
from nvoi.kubernetes.dialogue import SECONDS
from nvoi.kubernetes.following import Follower
from nvoi.kubernetes.labels import INSTANCE
from nvoi.kubernetes.names import NAMESPACE
from nvoi.kubernetes.ownership import Json, Reference, find_fixed, read_reference
from nvoi.kubernetes.rollout import find_stuck
from nvoi.kubernetes.snapshots import Snapshot, read_objects, read_snapshot
from nvoi.kubernetes.streaming import LogStream
from nvoi.kubernetes.workload import Manifest
from nvoi.log.levels import get_logger
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host

log = get_logger("nvoi.kubernetes")

#: The kinds that a rollout is about.
FOLLOWED = frozenset({"Deployment", "StatefulSet", "Job"})
#: The verbs that leave the cluster as it is.
READING = frozenset({"get", "logs", "exec", "version"})
#: Kinds that say how things were, for :meth:`Cluster.restore`.
LOOKED_AT = ("deployments", "statefulsets", "services", "pods")
#: Seconds that the release before has to be ready again.
RESTORE_SECONDS = 120.0


class Cluster:
    """A cluster by way of its master. Every method is one SSH command, followed logs aside.

    A cluster that does not answer for a moment is asked again; said once.

    Args:
        connections: the way to the master.
        host: the master.
        check: called before the cluster is changed; raises where this run may not.
        pace: seconds from one look at a rollout to the next.
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
        self._pace = pace

    def run(self, call: Kubectl, *, timeout: float | None = None, check: bool = True) -> Result:
        """Make one call. With ``check`` it is made again while the cluster does not answer.

        Args:
            call: the call.
            timeout: seconds that it may take.
            check: whether an exit code other than 0 is an error.

        Raises:
            RemoteError: it failed, and ``check`` is set.
            LockError: it changes something, and this run may not.
            ConnectionFailedError: the master cannot be reached, or the connection broke.
        """
        seconds = SECONDS if timeout is None else timeout
        if call.verb not in READING:
            self._check()
        with self._open() as calls:
            if not check:
                return calls.attempt(call, seconds=seconds)
            return calls.run(call, f"kubectl {call.verb}", seconds=seconds)

    def get(
        self, kinds: Sequence[str], *, selector: str | None = None, namespace: str = NAMESPACE
    ) -> tuple[Json, ...]:
        """All objects of ``kinds``.

        Raises:
            NvoiError: they cannot be had.
        """
        call = commands.build_get(kinds, selector=selector, namespace=namespace)
        with self._open() as calls:
            return read_objects(calls.run(call, "looking at the cluster").stdout)

    def apply(self, manifests: Iterable[Manifest]) -> None:
        """Have the cluster hold ``manifests``.

        Raises:
            RemoteError: the cluster refuses one; it says why.
            LockError: this run may not change the cluster.
        """
        items = [*manifests]
        if items:
            with self._open() as calls:
                self._apply(calls, items)

    def delete(self, references: Iterable[Reference], *, wait: bool = True) -> None:
        """Delete objects; those that are gone are no error.

        Raises:
            RemoteError: one cannot be deleted.
            LockError: this run may not change the cluster.
        """
        items = [*references]
        if items:
            with self._open() as calls:
                self._delete(calls, items, wait=wait)

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
            The workloads and Services among them, as they are in the cluster then.

        Raises:
            ServiceError: a workload has failed, or was not done in time.
            RemoteError: the cluster refuses a manifest.
            LockError: this run may not change the cluster.
            ConnectionFailedError: the connection broke; the rollout may go on.
        """
        items = [*manifests]
        if not items:
            return ()
        with self._open() as calls:
            if delete_first:
                self._delete(calls, delete_first)
            self._apply(calls, items)
            return self._follow(calls, items, seconds)

    def follow(self, references: Iterable[Reference], seconds: float) -> None:
        """Follow workloads of one namespace until all are done.

        Raises:
            ServiceError: one has failed, is gone, or was not done in ``seconds``.
        """
        items = [*references]
        with self._open() as calls:
            self._build_follower(calls, items, selector=None, seconds=seconds).follow()

    def restore(self, before: Iterable[Manifest], created: Iterable[Reference]) -> None:
        """Put back what there was before a release, and wait until it is ready.

        Args:
            before: what there was, all in one namespace. Jobs are not run again.
            created: what there was not.

        Raises:
            ServiceError: it is not ready after 120 s.
            RemoteError: the cluster refuses a manifest.
            LockError: this run may not change the cluster.
        """
        old = [item for item in before if item["kind"] != "Job"]
        new = [*created]
        with self._open() as calls:
            if old:
                live = self._look(calls, old).items
                fixed = find_fixed(live, old)
                if fixed:
                    self._delete(calls, fixed)
                self._apply(calls, old)
            if new:
                self._delete(calls, new, wait=False)
            if old:
                self._delete_stuck(calls, old)
                log.info("Waiting until the release before is ready again")
                self._follow(calls, old, RESTORE_SECONDS)

    def read_logs(
        self,
        target: str,
        *,
        container: str | None = None,
        lines: int | None = None,
        previous: bool = False,
        namespace: str = NAMESPACE,
    ) -> tuple[str, ...]:
        """What a container has printed; ``target`` is a pod's name or ``job/NAME``.

        Raises:
            RemoteError: it has none.
        """
        call = commands.build_logs(
            target, container=container, lines=lines, previous=previous, namespace=namespace
        )
        with self._open() as calls:
            return calls.run(call, f"reading the lines of {target}").lines

    def execute(self, target: str, words: Sequence[str], *, namespace: str = NAMESPACE) -> Result:
        """Run a command in a container; ``target`` is a pod's name or ``deployment/NAME``.

        Whatever its exit code: that is 1 as well where there is no such container.
        """
        return self.run(commands.build_execute(target, words, namespace=namespace), check=False)

    def _open(self) -> Calls:
        return Calls(self._connections, self._host, self._pace)

    def _apply(self, calls: Calls, manifests: Sequence[Manifest]) -> None:
        self._check()
        call = commands.build_apply(manifests)
        result = calls.run(call, "applying to the cluster", manifests=manifests)
        for line in result.lines:
            log.debug("%s", line)

    def _delete(self, calls: Calls, references: Iterable[Reference], *, wait: bool = True) -> None:
        for call in commands.build_delete(references, wait=wait):
            self._check()
            for line in calls.run(call, "deleting from the cluster").lines:
                log.debug("%s", line)

    def _look(self, calls: Calls, manifests: Sequence[Manifest]) -> Snapshot:
        """What there is of the workloads of ``manifests``."""
        call = commands.build_get(
            LOOKED_AT, selector=build_selector(manifests), namespace=get_namespace(manifests)
        )
        return read_snapshot(calls.run(call, "looking at the cluster").stdout)

    def _delete_stuck(self, calls: Calls, manifests: Sequence[Manifest]) -> None:
        """Delete the pods that a StatefulSet would wait for without end."""
        databases = [item for item in manifests if item["kind"] == "StatefulSet"]
        if not databases:
            return
        pods = self._look(calls, databases).pods
        stuck = [reference for item in databases for reference in find_stuck(item, pods)]
        if stuck:
            log.info("Deleting what stands in the way: %s", ", ".join(map(str, stuck)))
            self._delete(calls, stuck, wait=False)

    def _follow(
        self, calls: Calls, manifests: Sequence[Manifest], seconds: float
    ) -> tuple[Json, ...]:
        references = [read_reference(item) for item in manifests]
        workloads = [reference for reference in references if reference.kind in FOLLOWED]
        follower = self._build_follower(
            calls,
            workloads,
            selector=build_selector(manifests),
            seconds=seconds,
            namespace=get_namespace(manifests),
        )
        found = follower.follow().items
        return tuple(item for item in found if read_reference(item) in references)

    def _build_follower(
        self,
        calls: Calls,
        references: Sequence[Reference],
        *,
        selector: str | None,
        seconds: float,
        namespace: str | None = None,
    ) -> Follower:
        return Follower(
            calls,
            references,
            namespace=namespace or next((one.namespace for one in references), NAMESPACE),
            selector=selector,
            seconds=seconds,
            pace=self._pace,
            open_stream=self._open_stream,
        )

    def _open_stream(self, call: Kubectl, on_line: Callable[[str], None]) -> LogStream:
        return LogStream(self._connections, self._host, call, on_line)


def build_selector(manifests: Iterable[Manifest]) -> str | None:
    """The selector of the workloads among ``manifests`` and of their pods, None for all."""
    names: set[str] = set()
    for manifest in manifests:
        metadata: Any = manifest["metadata"]
        name = (metadata.get("labels") or {}).get(INSTANCE)
        if name is None:
            return None
        names.add(name)
    return f"{INSTANCE} in ({','.join(sorted(names))})"


def get_namespace(manifests: Iterable[Manifest]) -> str:
    """The namespace of ``manifests``, which have only one."""
    (namespace,) = {read_reference(manifest).namespace for manifest in manifests}
    return namespace
