"""The local target: the app's services on this machine, kept by supervisord.

No root, no containers, no account: anyone can try a config, a dashboard or a pipeline.
Releases and state are described in :mod:`nvoi.targets.local.state`.
"""

from __future__ import annotations

from nvoi.targets.local.check import check
from nvoi.targets.local.context import LocalContext, open_context, preview
from nvoi.targets.local.ports import PORTS
from nvoi.targets.local.prepare import PREPARE
from nvoi.targets.local.prune import PRUNE
from nvoi.targets.local.recovery import RECOVERY
from nvoi.targets.local.removal import REMOVE, STOP
from nvoi.targets.local.snapshot import SNAPSHOT
from nvoi.targets.local.supervise import SUPERVISE
from nvoi.targets.local.switch import SWITCH
from nvoi.targets.local.trial import TRIAL
from nvoi.targets.local.volumes import VOLUMES
from nvoi.targets.step import Step, Target

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

__all__ = ["DELETE", "DEPLOY", "TARGET", "LocalContext"]
