"""The cluster target: the app's services on servers joined by k3s, which are reached over SSH.

What a release is and how it is gone back to is told in docs/cluster.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from nvoi.log.levels import get_logger
from nvoi.operation import KeptRelease, Request, Step, Target
from nvoi.targets.cluster.adoption import ADOPT
from nvoi.targets.cluster.checks import check_request
from nvoi.targets.cluster.cleanup import CLEAN
from nvoi.targets.cluster.context import ClusterContext, open_context, preview
from nvoi.targets.cluster.delete import DELETE
from nvoi.targets.cluster.departures import DEPART
from nvoi.targets.cluster.domains import ADDRESSES, DOMAINS, OLD_ROUTES, PUBLIC, ROUTES
from nvoi.targets.cluster.lock_file import end_holder, find_holder
from nvoi.targets.cluster.prepare import BUILD, LOCK, PUSH, REGISTRY
from nvoi.targets.cluster.pull import PULL
from nvoi.targets.cluster.release import APPS, DATABASE, PRE_RUN, RECORD, SECRETS, SERVICES, STATE
from nvoi.targets.cluster.rollback import FIND, GO_BACK, REMOVE_NEWER, list_releases
from nvoi.targets.cluster.servers import K3S, SERVERS
from nvoi.targets.cluster.traffic import TRAFFIC
from nvoi.targets.cluster.volumes import VOLUMES

log = get_logger("nvoi.lock")

#: What `nvoi deploy` does here. Until APPS the old release serves undisturbed.
DEPLOY: tuple[Step[ClusterContext], ...] = (
    DOMAINS,
    BUILD,
    SERVERS,
    ADDRESSES,
    LOCK,
    ADOPT,
    K3S,
    REGISTRY,
    PUSH,
    STATE,
    VOLUMES,
    PULL,
    SECRETS,
    DATABASE,
    PRE_RUN,
    SERVICES,
    APPS,
    TRAFFIC,
    ROUTES,
    PUBLIC,
    RECORD,
    OLD_ROUTES,
    CLEAN,
    DEPART,
)

#: What `nvoi rollback` does here.
ROLLBACK: tuple[Step[ClusterContext], ...] = (FIND, LOCK, GO_BACK, TRAFFIC, REMOVE_NEWER)


class ClusterTarget(Target[ClusterContext]):
    """Servers joined by k3s: releases are kept, and a lock outlives nobody's run."""

    has_cluster = True

    def list_releases(self, request: Request) -> Sequence[KeptRelease]:
        return list_releases(request)

    def unlock(self, request: Request) -> None:
        with open_context(request) as context:
            context.list_servers()
            host = context.master.host
            holder = find_holder(context.connections, host)
            if holder is None:
                log.info("Nobody holds the deploy lock of %s", host)
                return
            log.info("The deploy lock of %s is held by %s", host, holder.describe())
            end_holder(context.connections, host, context.holder.describe())
            log.ok("The lock is free; that run changes nothing more")


TARGET = ClusterTarget(
    name="cluster",
    check=check_request,
    open=open_context,
    preview=preview,
    deploy=DEPLOY,
    delete=DELETE,
    rollback=ROLLBACK,
)

__all__ = ["DELETE", "DEPLOY", "ROLLBACK", "TARGET", "ClusterContext"]
