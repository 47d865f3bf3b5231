"""What the servers have room for: a request that none can fulfil, and the share of a database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from nvoi.config.fields import find_bytes, find_millicores
from nvoi.config.schema import Application, Database
from nvoi.domains import list_sites
from nvoi.errors import ConfigError, Fault, UsageError
from nvoi.k3s.drain import list_claims
from nvoi.k3s.requirements import show
from nvoi.kubernetes.cloudflared import REPLICAS, RESOURCES
from nvoi.kubernetes.names import PART_OF, build_label_value, build_statefulset_name
from nvoi.kubernetes.ownership import Json, Manifest, Reference, get_label
from nvoi.kubernetes.placement import list_allowed_groups, list_locations
from nvoi.kubernetes.progress import is_ready
from nvoi.kubernetes.workloads import Resources, build_database_resources, find_engine, names_cpu
from nvoi.log.levels import get_logger
from nvoi.log.rendering import format_count
from nvoi.naming import build_database_name
from nvoi.targets.cluster.checks import list_resources
from nvoi.targets.cluster.context import ClusterContext

log = get_logger("nvoi.cluster")

#: Processor time is in thousandths of a processor, as Kubernetes counts it.
PROCESSOR = 1000
#: What a database has where its server has more, and where all else leaves it less.
MOST, LEAST = 1000, 100
#: Pods that have ended take nothing.
ENDED = frozenset({"Succeeded", "Failed"})


def check_room(context: ClusterContext) -> None:
    """See that each service is promised no more than one of its servers has.

    Raises:
        ConfigError: one is, of those whose servers are all known.
    """
    faults = [
        Fault(0, 0, f"{path}.resources", message)
        for path, groups, wanted in list_resources(context.application)
        for message in find_lacks(context, groups, wanted)
    ]
    if faults:
        raise ConfigError("config", faults)


def find_lacks(
    context: ClusterContext, groups: tuple[str, ...], wanted: Resources
) -> Iterator[str]:
    names = [one.name for one in context.survey.servers if one.group in groups or not groups]
    facts = [context.survey.facts.get(name) for name in names]
    known = [one for one in facts if one and one.processors and one.memory]
    if not known or len(known) < len(facts):
        return
    processors, memory = max(one.processors for one in known), max(one.memory for one in known)
    who = names[0] if len(names) == 1 else f"the largest of {', '.join(names)}"
    if (find_millicores(wanted.requested_cpu) or 0) > processors * PROCESSOR:
        count = format_count(processors, "processor")
        yield f"asks for {wanted.requested_cpu} of processor time, and {who} has {count}"
    if (find_bytes(wanted.requested_memory) or 0) > memory:
        yield f"asks for {wanted.requested_memory} of memory, and {who} has {show(memory)}"


def settle_share(context: ClusterContext) -> None:
    """Choose how much processor time the database has, where the config does not say it.

    Raises:
        UsageError: the config asks for more than any of its servers has beside other apps.
    """
    database = context.application.database
    if database is None or find_engine(context.application) is None:
        return
    name = build_statefulset_name(build_database_name(context.application.name))
    live = context.state.find(Reference("StatefulSet", name))
    candidates = [*list_candidates(context, database)]
    if names_cpu(database.resources):
        check_promise(context, database, live, candidates)
        return
    is_down = live is not None and not is_ready(live)
    if live is not None and (is_down or find_share(live, candidates) is None):
        candidates = list_disk_holders(context, live, candidates) or candidates
    share = find_share(live, candidates)
    if share is not None and is_down and candidates:
        # Pods of others may have come since.
        most = max(one.free for one in measure(context, candidates))
        share = share if share <= most else None
    if share is None:
        share = choose_share(context, live, candidates)
    context.rollout.database_cpu = f"{share}m"


def check_promise(
    context: ClusterContext, database: Database, live: Json | None, candidates: list[Candidate]
) -> None:
    """See that a database has room without the pods of others, which it would push away."""
    text = build_database_resources(database.resources).requested_cpu
    wanted, (promised, _) = find_millicores(text) or 0, read_promise(live)
    if not candidates or (promised is not None and promised >= wanted):
        return
    best = max(measure(context, candidates), key=lambda one: one.free)
    if wanted > best.free:
        raise UsageError(
            f"the database asks for {text} of processor time, and {best.node} has {best.free}m "
            "beside what other apps and the cluster itself are promised",
            hint="lower application.database.resources, or give the database another server",
        )


def choose_share(context: ClusterContext, live: Json | None, candidates: list[Candidate]) -> int:
    """What the database can have on any of its servers, which do not all have as much."""
    if not candidates:
        return MOST
    least = min(measure(context, candidates), key=lambda one: one.share)
    promised, limit = read_promise(live)
    if promised is None:
        log.info("The database has %sm of processor time: %s", least.share, least)
    elif (promised, limit) != (least.share, least.share):
        log.warning(
            "The database starts anew, with %sm of processor time where %sm was promised: %s",
            *(least.share, promised, least),
        )
    return least.share


def measure(context: ClusterContext, candidates: list[Candidate]) -> list[Candidate]:
    """The candidates with what is on them: the pods of others, and the app's services."""
    app, tunnels = build_label_value(context.application.name), count_tunnels(context.application)
    pods = context.cluster.get(["pods"], namespace=None)
    others = [pod for pod in pods if get_label(pod, PART_OF) != app]
    own = [item for item in context.manifests.kept if item["kind"] == "Deployment"]
    return [
        replace(one, others=sum_pods(one, others), own=sum_deployments(one, own) + tunnels)
        for one in candidates
    ]


def count_tunnels(application: Application) -> int:
    """What is promised to the pods that bring visitors in; also all of these may be on one server.

    They come with the first deploy, after the database.
    """
    if application.cloudflare is None:
        return 0
    each = find_millicores(RESOURCES.requested_cpu) or 0
    return len([*list_sites(application)]) * REPLICAS * each


def list_disk_holders(
    context: ClusterContext, live: Json, candidates: list[Candidate]
) -> list[Candidate]:
    """The candidates that have a disk of the database: it cannot leave that."""
    claims = {location.claim for location in list_locations(live) if location.is_disk}
    if not claims:
        return []
    return [one for one in candidates if claims & {*list_claims(context.cluster, one.node)}]


def list_candidates(context: ClusterContext, database: Database) -> Iterator[Candidate]:
    survey = context.survey
    for server in survey.servers:
        facts, node = survey.facts.get(server.name), survey.nodes.get(server.name)
        if server.group in database.servers and facts and facts.processors and node:
            yield Candidate(node, server.group, facts.processors)


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


def sum_pods(candidate: Candidate, pods: Iterable[Json]) -> int:
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
        item["spec"] for item in deployments if group in (list_allowed_groups(item) or (group,))
    ]
    return sum(
        (spec["replicas"] + (spec["strategy"]["type"] != "Recreate"))
        * sum_containers(spec["template"]["spec"])
        for spec in specs
    )


def sum_containers(specification: Any) -> int:
    requests = (
        (container.get("resources") or {}).get("requests") or {}
        for container in specification["containers"]
    )
    return sum(find_millicores(str(one.get("cpu", ""))) or 0 for one in requests)
