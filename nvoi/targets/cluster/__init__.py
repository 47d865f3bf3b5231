"""The cluster target: the app's services on servers joined by k3s, which are reached over SSH.

What a release is and how it is gone back to is told in docs/cluster.md.
"""

from __future__ import annotations

from nvoi.targets.cluster.checks import check_request
from nvoi.targets.cluster.cleaning import CLEAN, RECORD
from nvoi.targets.cluster.context import ClusterContext, open_context, preview
from nvoi.targets.cluster.image import BUILD, PUSH
from nvoi.targets.cluster.k3s import K3S
from nvoi.targets.cluster.locking import LOCK, unlock
from nvoi.targets.cluster.reaching import DELETION_LOCK, REACH
from nvoi.targets.cluster.registry import REGISTRY
from nvoi.targets.cluster.releases import list_releases
from nvoi.targets.cluster.removal import CLUSTER, DATA, FINISH, IMAGES, WORKLOADS
from nvoi.targets.cluster.rollback import FIND, GO_BACK, REMOVE_NEWER
from nvoi.targets.cluster.servers import SERVERS
from nvoi.targets.cluster.state import STATE
from nvoi.targets.cluster.traffic import TRAFFIC
from nvoi.targets.cluster.volumes import VOLUMES
from nvoi.targets.cluster.workloads import APPS, DATABASE, PRE_RUN, SECRETS, SERVICES
from nvoi.targets.step import Step, Target

#: What `nvoi deploy` does here. Until APPS the old release serves undisturbed.
DEPLOY: tuple[Step[ClusterContext], ...] = (
    BUILD,
    SERVERS,
    LOCK,
    K3S,
    REGISTRY,
    PUSH,
    STATE,
    VOLUMES,
    SECRETS,
    DATABASE,
    PRE_RUN,
    SERVICES,
    APPS,
    TRAFFIC,
    RECORD,
    CLEAN,
)

#: What `nvoi rollback` does here.
ROLLBACK: tuple[Step[ClusterContext], ...] = (FIND, LOCK, GO_BACK, TRAFFIC, REMOVE_NEWER)

#: What `nvoi delete` does here.
DELETE: tuple[Step[ClusterContext], ...] = (
    REACH,
    DELETION_LOCK,
    WORKLOADS,
    IMAGES,
    DATA,
    CLUSTER,
    FINISH,
)

TARGET: Target[ClusterContext] = Target(
    name="cluster",
    check=check_request,
    open=open_context,
    preview=preview,
    deploy=DEPLOY,
    delete=DELETE,
    rollback=ROLLBACK,
    list_releases=list_releases,
    unlock=unlock,
    has_cluster=True,
)

__all__ = ["DELETE", "DEPLOY", "ROLLBACK", "TARGET", "ClusterContext"]
