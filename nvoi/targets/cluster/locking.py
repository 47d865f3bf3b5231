"""The step that takes the lock on the master, and what `nvoi unlock` does."""

from __future__ import annotations

from collections.abc import Iterator

from nvoi.log.levels import get_logger
from nvoi.targets.cluster.context import ClusterContext, open_context
from nvoi.targets.cluster.holder import end_holder, find_holder
from nvoi.targets.cluster.lock import take_lock
from nvoi.targets.cluster.servers import look
from nvoi.targets.step import Request, Step

log = get_logger("nvoi.lock")


def take(context: ClusterContext) -> None:
    """Take it, until the run ends in any way.

    Raises:
        LockError: another run has it.
        NvoiError: there are no servers.
    """
    context.lock = take_lock(
        context.connections, context.master.host, context.holder, wait=context.request.lock_wait
    )
    context.stack.callback(context.lock.release)
    log.info("Held; nobody else changes these servers now")
    if context.surveyed and context.lock.rival is not None:
        log.info("Another run was at work meanwhile: looking at the servers again")
        look(context)


def unlock(request: Request) -> None:
    """Tell who holds the lock, and end that.

    Raises:
        NvoiError: the master cannot be reached, or the lock not be had.
    """
    with open_context(request) as context:
        context.servers = context.provider.list_servers(request.config.application)
        host = context.master.host
        holder = find_holder(context.connections, host)
        if holder is None:
            log.info("Nobody holds the deploy lock of %s", host)
            return
        log.info("The deploy lock of %s is held by %s", host, holder.describe())
        end_holder(context.connections, host, context.holder.describe())
        log.ok("The lock is free; that run changes nothing more")


def plan_lock(context: ClusterContext) -> Iterator[str]:
    """What is locked."""
    yield f"takes the deploy lock of {context.application.name}'s master, which all its apps share"


LOCK: Step[ClusterContext] = Step(name="Lock", run=take, plan=plan_lock)
