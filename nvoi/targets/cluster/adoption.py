"""Takes over what the Ruby gem nvoi 0.2 has made, once it was shown and accepted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nvoi.errors import NvoiError, UsageError
from nvoi.invocation import name_command
from nvoi.kubernetes.adoption import (
    MADE,
    build_marks,
    build_way_in,
    describe,
    find_faults,
    find_made,
    is_data_inside,
)
from nvoi.kubernetes.names import MANAGED_BY, OWNER
from nvoi.kubernetes.objects import Query
from nvoi.kubernetes.ownership import WORKLOADS, Json, read_reference
from nvoi.log.levels import get_logger
from nvoi.operation import Step
from nvoi.targets.cluster.context import ClusterContext

log = get_logger("nvoi.cluster")


def list_rented(context: ClusterContext) -> Sequence[str]:
    """What bears the app's names at the cloud, and no labels.

    Raises:
        UsageError: there is something, and nobody has asked for it to be taken over.
    """
    found = context.provider.list_unlabelled()
    if found and not context.request.adopt:
        raise UsageError(
            f"these bear names of {context.application.name}, as what the gem nvoi 0.2 has made, "
            f"and no label says whose they are: {', '.join(found)}",
            hint=f"{name_command('deploy --adopt')} takes them over, after it has shown them, and "
            "what the gem has made in the cluster; what is not the app's needs another name",
        )
    return found


def adopt_rented(context: ClusterContext) -> None:
    """Show what of the account becomes the app's, and ask; the provider labels it.

    Raises:
        UsageError: nobody has asked for it.
        NvoiError: whoever was asked does not want it.
    """
    found = list_rented(context)
    if not found:
        return
    log.info("No label says whose these are; by their names they become nvoi's:")
    for line in found:
        log.info("  %s", line)
    if not context.request.confirm("Take them over? What is in the cluster comes next."):
        raise NvoiError("nothing was taken over, and nothing changed")


def adopt(context: ClusterContext) -> None:
    """Show what the gem has made, ask, and mark it as the app's.

    Raises:
        UsageError: there is something, and nobody has asked for it to be taken over; or something
            of the app would be lost by that.
        NvoiError: whoever was asked does not want it.
    """
    servers = list_servers(context)
    if not servers and not context.request.adopt:
        return
    has_cluster = context.survey.facts[context.master.name].k3s.is_active
    made = find_all(context) if has_cluster else []
    if not made and not servers:
        log.info("Nothing of the gem's is there")
        return
    if not context.request.adopt:
        raise refuse(context, made)
    check(context, made)
    log.info("The gem nvoi 0.2 has made this, which becomes nvoi's:")
    wanted = context.manifests.all
    lines = [describe(item, wanted) for item in made if item["kind"] != "ReplicaSet"]
    for line in (*servers, *lines):
        log.info("  %s", line)
    if not context.request.confirm("Take all of it over?"):
        raise NvoiError("nothing in the cluster was taken over or changed")
    mark(context, made)
    log.ok("Taken over")


def list_servers(context: ClusterContext) -> list[str]:
    return [
        f"{name}: k3s {one.k3s.version} gets nvoi's settings and starts anew; pods go on"
        for name, one in context.survey.facts.items()
        if one.k3s.is_of_gem
    ]


def find_all(context: ClusterContext) -> list[Json]:
    """What the gem has made for the app, and was not taken over yet."""
    secrets = Query("secrets", f"{MANAGED_BY}!={OWNER}", names_only=True)
    return find_made(context.application, context.cluster.get([*MADE, secrets]))


def refuse(context: ClusterContext, made: Sequence[Json]) -> UsageError:
    names = [str(read_reference(item)) for item in made if item["kind"] != "ReplicaSet"]
    names += [f"k3s on {line.partition(':')[0]}" for line in list_servers(context)]
    return UsageError(
        f"the gem nvoi 0.2 has made {', '.join(names)} for {context.application.name}",
        hint=f"{name_command('deploy --adopt')} takes it over, after it has shown what becomes of "
        "it",
    )


def check(context: ClusterContext, made: Sequence[Json]) -> None:
    faults = [*find_faults(context.application, made, context.manifests.all)]
    if faults:
        raise UsageError("; ".join(faults), hint="nothing in the cluster was changed")
    for item in made:
        if is_data_inside(item) and not context.request.accept_data_move:
            raise UsageError(
                f"the data of {read_reference(item)} is inside its container and ends with it: "
                "the gem mounted its volume where this database has no data",
                hint="dump it, deploy with --adopt --accept-data-move, and load the dump",
            )


def mark(context: ClusterContext, made: Sequence[Json]) -> None:
    """Make it the app's. What leads to its pods now is to reach the new ones too."""
    if made:
        context.cluster.apply([build_way_in(context.application, context.request.deploy_id)])
    # What belongs to a workload is found by it: that comes last.
    for item in sorted(made, key=lambda one: one["kind"] in WORKLOADS):
        context.cluster.change(read_reference(item), build_marks(context.application, item))


def plan(context: ClusterContext) -> Iterator[str]:
    # What the servers have is known once they were looked at.
    if context.request.adopt or (context.survey.facts and list_servers(context)):
        yield "shows what the gem nvoi 0.2 has made, and takes it over"


ADOPT: Step[ClusterContext] = Step(name="Adoption", run=adopt, plan=plan)
