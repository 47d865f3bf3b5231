"""The cluster as it is changed and watched: kubectl on the master, as root, over SSH."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from nvoi.command import Result, build_script
from nvoi.kubernetes import commands
from nvoi.kubernetes.calls import Calls
from nvoi.kubernetes.commands import Kubectl
from nvoi.kubernetes.dialogue import SECONDS
from nvoi.kubernetes.names import NAMESPACE
from nvoi.kubernetes.ownership import Json, Reference
from nvoi.kubernetes.snapshots import read_names, read_objects
from nvoi.kubernetes.visit import Visit
from nvoi.kubernetes.workloads import Manifest
from nvoi.log.levels import get_logger
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, as_root

log = get_logger("nvoi.kubernetes")

EXECUTE = 'PATH=$PATH:/usr/local/bin:/opt/bin; exec k3s "$@"'
#: The verbs that leave the cluster as it is.
READING = frozenset({"get", "logs", "exec", "version"})
#: Seconds that the release before has to be ready again.
RESTORE_SECONDS = 120.0


class Cluster:
    """A cluster by way of its master: one SSH command for all uses, followed logs aside.

    A cluster that does not answer for a moment is asked again; said once. Threads that use it
    wait for each other; whoever makes one closes it.

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
        self._lock = threading.Lock()
        self._calls: Calls | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

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
        with self._visit() as visit:
            if not check:
                return visit.calls.attempt(call, seconds=seconds)
            return visit.calls.run(call, f"kubectl {call.verb}", seconds=seconds)

    def get(
        self, kinds: Sequence[str], *, selector: str | None = None, namespace: str = NAMESPACE
    ) -> tuple[Json, ...]:
        """All objects of ``kinds``.

        Raises:
            NvoiError: they cannot be had.
        """
        call = commands.build_get(kinds, selector=selector, namespace=namespace)
        with self._visit() as visit:
            return read_objects(visit.calls.run(call, "looking at the cluster").stdout)

    def find_names(
        self, words: Iterable[str], *, selector: str | None = None, namespace: str = NAMESPACE
    ) -> frozenset[Reference]:
        """The objects that there are of ``words``; nothing of what they hold is read.

        Args:
            words: kinds, or objects as a :class:`Reference` reads.
            selector: of kinds, the labels that are asked for.
            namespace: the objects' namespace.

        Raises:
            NvoiError: they cannot be had.
        """
        call = commands.build_get_names(words, selector=selector, namespace=namespace)
        with self._visit() as visit:
            return read_names(visit.calls.run(call, "looking at the cluster").stdout, namespace)

    def apply(self, manifests: Iterable[Manifest]) -> None:
        """Have the cluster hold ``manifests``.

        Raises:
            RemoteError: the cluster refuses one; it says why.
            LockError: this run may not change the cluster.
        """
        items = [*manifests]
        if items:
            with self._visit() as visit:
                visit.apply(items)

    def delete(self, references: Iterable[Reference], *, wait: bool = True) -> None:
        """Delete objects; those that are gone are no error.

        Raises:
            RemoteError: one cannot be deleted.
            LockError: this run may not change the cluster.
        """
        items = [*references]
        if items:
            with self._visit() as visit:
                visit.delete(items, wait=wait)

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
        with self._visit() as visit:
            visit.delete(delete_first)
            visit.apply(items)
            return visit.follow(items, seconds)

    def follow(self, references: Iterable[Reference], seconds: float) -> None:
        """Follow workloads of one namespace until all are done.

        Raises:
            ServiceError: one has failed, is gone, or was not done in ``seconds``.
        """
        items = [*references]
        with self._visit() as visit:
            visit.follow_named(items, seconds, namespace=items[0].namespace)

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
        with self._visit() as visit:
            if old:
                visit.delete_fixed(old)
                visit.apply(old)
            visit.delete(created, wait=False)
            if old:
                visit.delete_stuck(old)
                log.info("Waiting until the release before is ready again")
                visit.follow(old, RESTORE_SECONDS)

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
        with self._visit() as visit:
            return visit.calls.run(call, f"reading the lines of {target}").lines

    def execute(
        self,
        target: str,
        words: Sequence[str],
        *,
        seconds: float = SECONDS,
        namespace: str = NAMESPACE,
    ) -> Result:
        """Run a command in a container; ``target`` is a pod's name or ``deployment/NAME``.

        Whatever its exit code: that is 1 as well where there is no such container. It has an SSH
        command of its own: several go on side by side.

        Raises:
            RemoteTimeoutError: it has not ended after ``seconds``.
        """
        call = commands.build_execute(target, words, namespace=namespace)
        command = as_root(self._host, build_script("nvoi-exec", EXECUTE, *call.argv))
        return self._connections.run(
            self._host, command, timeout=seconds, idle_timeout=seconds, level=None, check=False
        )

    def close(self) -> None:
        """End the shell on the master. A later use opens another one."""
        calls, self._calls = self._calls, None
        if calls is not None:
            calls.close()

    @contextmanager
    def _visit(self) -> Iterator[Visit]:
        """Work over the shell that there is, or over a new one where that has ended."""
        with self._lock:
            if self._calls is None or self._calls.is_over:
                self.close()
                self._calls = Calls(self._connections, self._host, self._pace)
                self._calls.start()
            try:
                yield Visit(self._calls, self._connections, self._host, self._check, self._pace)
            except BaseException:
                # It may be in the middle of an answer.
                self.close()
                raise
