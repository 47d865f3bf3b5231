"""The local target: the app's services on this machine, kept by supervisord.

No root, no containers, no account: anyone can try a config, a dashboard or a pipeline.
Releases and state are described in :mod:`nvoi.targets.local.state`.
"""

from __future__ import annotations

from nvoi.operation import Step, Target
from nvoi.targets.local.check import check
from nvoi.targets.local.context import LocalContext, open_context, preview, require_extra
from nvoi.targets.local.rollout import SWITCH, TRIAL
from nvoi.targets.local.snapshot import PRUNE, SNAPSHOT, VOLUMES
from nvoi.targets.local.steps import PORTS, PREPARE, RECOVERY, REMOVE, STOP, SUPERVISE

#: What `nvoi deploy` does here. Until SWITCH the old release serves undisturbed.
DEPLOY: tuple[Step[LocalContext], ...] = (
    RECOVERY,
    PORTS,
    SNAPSHOT,
    VOLUMES,
    PREPARE,
    SUPERVISE,
    TRIAL,
    SWITCH,
    PRUNE,
)

#: What `nvoi delete` does here.
DELETE: tuple[Step[LocalContext], ...] = (STOP, REMOVE)

TARGET: Target[LocalContext] = Target(
    name="local",
    check=check,
    open=open_context,
    preview=preview,
    deploy=DEPLOY,
    delete=DELETE,
)

__all__ = ["DELETE", "DEPLOY", "TARGET", "LocalContext", "require_extra"]
