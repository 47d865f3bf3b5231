"""What the servers have room for: a request that none can fulfil, and the share of a database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nvoi.config.fields import find_bytes, find_millicores
from nvoi.config.schema import Application, Database
from nvoi.domains import list_sites
from nvoi.errors import ConfigError, Fault, UsageError
from nvoi.k3s.drain import list_claims
from nvoi.k3s.requirements import show
from nvoi.kubernetes.capacity import (
    MOST,
    PROCESSOR,
    Candidate,
    find_share,
    measure_candidates,
    read_promise,
)
from nvoi.kubernetes.cloudflared import REPLICAS, RESOURCES
from nvoi.kubernetes.data import list_places
from nvoi.kubernetes.database import find_engine
from nvoi.kubernetes.names import NAMESPACE, build_statefulset_name
from nvoi.kubernetes.ownership import Reference
from nvoi.kubernetes.progress import is_ready
from nvoi.kubernetes.workloads import Resources, build_database_resources, names_cpu
from nvoi.log.levels import get_logger
from nvoi.log.rendering import format_count
from nvoi.naming import build_database_name
from nvoi.targets.cluster.checks import list_resources
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.state import Json

log = get_logger("nvoi.cluster")


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
    if share is None or (is_down and not has_room(context, candidates, share)):
        share = choose_share(context, live, candidates)
    context.rollout.database_cpu = f"{share}m"


def has_room(context: ClusterContext, candidates: list[Candidate], share: int) -> bool:
    """Whether one of the servers has it beside the pods of others, which may have come since."""
    return not candidates or any(one.free >= share for one in measure(context, candidates))


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
    """The candidates with what is on them."""
    application = context.application
    pods = context.cluster.get(["pods"], namespace=None)
    found = measure_candidates(application.name, candidates, pods, context.manifests.kept)
    return [replace(one, own=one.own + count_tunnels(application)) for one in found]


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
    claims = {
        f"{NAMESPACE}/{place.name.rpartition('/')[2]}"
        for place in list_places(live)
        if place.is_disk
    }
    if not claims:
        return []
    return [one for one in candidates if claims & {*list_claims(context.cluster, one.node)}]


def list_candidates(context: ClusterContext, database: Database) -> Iterator[Candidate]:
    survey = context.survey
    for server in survey.servers:
        facts, node = survey.facts.get(server.name), survey.nodes.get(server.name)
        if server.group in database.servers and facts and facts.processors and node:
            yield Candidate(node, server.group, facts.processors)
