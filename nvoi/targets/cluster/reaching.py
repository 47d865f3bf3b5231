"""The first steps of `nvoi delete`, and how its others go on where something cannot be done."""

from __future__ import annotations

from collections.abc import Callable

from nvoi.errors import ClusterSilenceError, ConnectionFailedError, HostsError, NvoiError
from nvoi.k3s.facts import Facts
from nvoi.k3s.survey import survey
from nvoi.log.levels import get_logger
from nvoi.providers import Server
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.locking import plan_lock, take
from nvoi.targets.step import Step

log = get_logger("nvoi.cluster")

#: The errors of a cluster that was asked again and again, and did not answer.
SILENCES = (ClusterSilenceError, ConnectionFailedError)


def reach(context: ClusterContext) -> None:
    """Find out which servers can be reached, and what they have."""
    context.servers = context.provider.list_servers(context.application)
    if not context.servers:
        log.info("There are no servers")
        return
    found = survey(context.connections, context.servers)
    for name, one in found.items():
        if isinstance(one, Facts):
            context.facts[name] = one
        else:
            log.error("%s", one)
            context.failures.append(f"what is on {name}, which cannot be reached")
    if not is_reached(context):
        # Without its lock and its word nothing is known of what runs on the others.
        log.warning("The master cannot be reached: all on the servers stays as it is")
        for name in context.facts:
            context.failures.append(f"what is on {name}, of which its master must tell")
        context.facts.clear()


def is_reached(context: ClusterContext) -> bool:
    """Whether the master can be reached."""
    return bool(context.servers) and context.master.name in context.facts


def has_cluster(context: ClusterContext) -> bool:
    """Whether there is a cluster to remove something from."""
    return is_reached(context) and context.facts[context.master.name].k3s.role is not None


def list_reached(context: ClusterContext) -> list[Server]:
    """The servers that can be reached."""
    return [server for server in context.servers if server.name in context.facts]


def attempt(context: ClusterContext, what: str, work: Callable[[], None]) -> bool:
    """Do ``work``; where it fails, say so, remember it, and go on. Whether it was done."""
    try:
        work()
    except NvoiError as error:
        for one in error.errors if isinstance(error, HostsError) else [error]:
            log.error("Not removed: %s: %s", what, one)  # noqa: TRY400 - told in a line
        context.failures.append(what)
        context.is_away = context.is_away or isinstance(error, SILENCES)
        return False
    return True


def attempt_in_cluster(context: ClusterContext, what: str, work: Callable[[], None]) -> bool:
    """The same, with the cluster. One that did not answer is not waited for again."""
    if not context.is_away:
        return attempt(context, what, work)
    log.error("Not removed: %s: the cluster does not answer", what)
    context.failures.append(what)
    return False


def lock(context: ClusterContext) -> None:
    """Take the lock, where there is a master to take it on.

    Raises:
        LockError: another run has it.
    """
    if is_reached(context):
        take(context)
    else:
        log.info("There is none to take")


REACH: Step[ClusterContext] = Step(
    name="Servers",
    run=reach,
    plan=lambda context: context.provider.describe(context.application),
)
DELETION_LOCK: Step[ClusterContext] = Step(name="Lock", run=lock, plan=plan_lock)
