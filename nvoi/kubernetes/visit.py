"""What is done to the cluster in one go: several calls, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nvoi.kubernetes import commands
from nvoi.kubernetes.calls import Calls
from nvoi.kubernetes.commands import Kubectl
from nvoi.kubernetes.following import Follower
from nvoi.kubernetes.names import INSTANCE
from nvoi.kubernetes.ownership import Json, Reference, find_fixed, read_reference
from nvoi.kubernetes.rollout import find_stuck
from nvoi.kubernetes.snapshots import Snapshot, read_snapshot
from nvoi.kubernetes.streaming import LogStream
from nvoi.kubernetes.workloads import Manifest
from nvoi.log.levels import get_logger
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host

log = get_logger("nvoi.kubernetes")

#: The kinds that a rollout is about.
FOLLOWED = frozenset({"Deployment", "StatefulSet", "Job"})
#: The kinds that can be put back.
LOOKED_AT = ("deployments", "statefulsets", "services", "pods")


class Visit:
    """Changes to the cluster, and looks at it.

    Args:
        calls: how kubectl is called.
        connections: the way to the master.
        host: the master.
        check: called before each change; raises where this run may not change anything.
        pace: seconds from one look at a rollout to the next.
    """

    def __init__(
        self,
        calls: Calls,
        connections: Connections,
        host: Host,
        check: Callable[[], None],
        pace: float,
    ) -> None:
        self.calls = calls
        self._connections = connections
        self._host = host
        self._check = check
        self._pace = pace

    def apply(self, manifests: Sequence[Manifest]) -> None:
        """Have the cluster hold ``manifests``."""
        self._check()
        call = commands.build_apply(manifests)
        result = self.calls.run(call, "applying to the cluster", manifests=manifests)
        for line in result.lines:
            log.debug("%s", line)

    def delete(self, references: Iterable[Reference], *, wait: bool = True) -> None:
        """Delete objects; those that are gone are no error."""
        for call in commands.build_delete(references, wait=wait):
            self._check()
            for line in self.calls.run(call, "deleting from the cluster").lines:
                log.debug("%s", line)

    def look(self, manifests: Sequence[Manifest]) -> Snapshot:
        """What there is of the workloads of ``manifests``."""
        call = commands.build_get(
            LOOKED_AT, selector=build_selector(manifests), namespace=get_namespace(manifests)
        )
        return read_snapshot(self.calls.run(call, "looking at the cluster").stdout)

    def delete_fixed(self, manifests: Sequence[Manifest]) -> None:
        """Delete what has to go before ``manifests`` can be applied."""
        self.delete(find_fixed(self.look(manifests).items, manifests))

    def delete_stuck(self, manifests: Sequence[Manifest]) -> None:
        """Delete the pods that the StatefulSets of ``manifests`` would wait for without end."""
        databases = [item for item in manifests if item["kind"] == "StatefulSet"]
        if not databases:
            return
        pods = self.look(databases).pods
        stuck = [reference for item in databases for reference in find_stuck(item, pods)]
        if stuck:
            log.info("Deleting what stands in the way: %s", ", ".join(map(str, stuck)))
            self.delete(stuck, wait=False)

    def follow(self, manifests: Sequence[Manifest], seconds: float) -> tuple[Json, ...]:
        """Follow the workloads of ``manifests``; what there is of all of them at the end."""
        references = [read_reference(item) for item in manifests]
        found = self.follow_named(
            [one for one in references if one.kind in FOLLOWED],
            seconds,
            namespace=get_namespace(manifests),
            selector=build_selector(manifests),
        )
        return tuple(item for item in found.items if read_reference(item) in references)

    def follow_named(
        self,
        references: Sequence[Reference],
        seconds: float,
        *,
        namespace: str,
        selector: str | None = None,
    ) -> Snapshot:
        """Follow workloads, and return what was seen last once all are done."""
        return Follower(
            self.calls,
            references,
            namespace=namespace,
            selector=selector,
            seconds=seconds,
            pace=self._pace,
            open_stream=self._open_stream,
        ).follow()

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
