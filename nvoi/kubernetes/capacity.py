"""How much of its server's processor time a database may have. Pure.

Processor time is in thousandths of a processor, as Kubernetes counts it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from nvoi.config.fields import find_millicores
from nvoi.kubernetes.data import list_groups
from nvoi.kubernetes.names import PART_OF, build_label_value
from nvoi.kubernetes.ownership import Json, Manifest, get_label
from nvoi.log.rendering import format_count

PROCESSOR = 1000
#: What a database has where its server has more, and where all else leaves it less.
MOST, LEAST = 1000, 100
#: Pods that have ended take nothing.
ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True)
class Candidate:
    """A node that the database may be on.

    ``others`` is what the pods of other apps and of the cluster itself are promised there, and
    ``own`` what the app's other services may come to.
    """

    node: str
    group: str
    processors: int
    others: int = 0
    own: int = 0

    @property
    def half(self) -> int:
        return min(MOST, self.processors * PROCESSOR // 2)

    @property
    def free(self) -> int:
        """What pods of the app can be promised."""
        return self.processors * PROCESSOR - self.others

    @property
    def share(self) -> int:
        """What the database has: half, unless all else leaves less."""
        return max(LEAST, min(self.half, self.free - self.own))

    def __str__(self) -> str:
        count, taken = format_count(self.processors, "processor"), self.others + self.own
        return f"{self.node} has {count}, and all else needs {taken}m"


def read_promise(live: Json | None) -> tuple[int | None, int | None]:
    """What a live database is promised, and what it may use."""
    if live is None:
        return None, None
    resources = live["spec"]["template"]["spec"]["containers"][0].get("resources") or {}
    requested, limit = (
        find_millicores(str((resources.get(part) or {}).get("cpu", "")))
        for part in ("requests", "limits")
    )
    return requested, limit


def find_share(live: Json | None, candidates: Iterable[Candidate]) -> int | None:
    """What a running database has, unless it is too much there: more is not worth its restart."""
    requested, limit = read_promise(live)
    most = min((one.half for one in candidates), default=MOST)
    return limit if limit is not None and limit == requested and limit <= most else None


def measure_candidates(
    app: str, candidates: Iterable[Candidate], pods: Iterable[Json], wanted: Iterable[Manifest]
) -> list[Candidate]:
    """The candidates with what is on them: the pods of others, and the app's services."""
    others = [pod for pod in pods if get_label(pod, PART_OF) != build_label_value(app)]
    own = [item for item in wanted if item["kind"] == "Deployment"]
    return [
        replace(one, others=sum_pods(one, others), own=sum_deployments(one, own))
        for one in candidates
    ]


def sum_pods(candidate: Candidate, pods: Iterable[Json]) -> int:
    """What those on it are promised."""
    return sum(
        sum_containers(pod["spec"])
        for pod in pods
        if pod["spec"].get("nodeName") == candidate.node
        if (pod.get("status") or {}).get("phase") not in ENDED
    )


def sum_deployments(candidate: Candidate, deployments: Iterable[Manifest]) -> int:
    """What they come to at most, all on one server: in a rollout each has one pod more."""
    group = candidate.group
    specs: list[Any] = [
        item["spec"] for item in deployments if group in (list_groups(item) or (group,))
    ]
    return sum(
        (spec["replicas"] + (spec["strategy"]["type"] != "Recreate"))
        * sum_containers(spec["template"]["spec"])
        for spec in specs
    )


def sum_containers(specification: Any) -> int:
    """What the containers of a pod are promised."""
    requests = (
        (container.get("resources") or {}).get("requests") or {}
        for container in specification["containers"]
    )
    return sum(find_millicores(str(one.get("cpu", ""))) or 0 for one in requests)
