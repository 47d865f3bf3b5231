"""Probes: how Kubernetes finds out that a container is ready, and that it still lives.

Kubernetes counts in whole seconds, at least one (its documentation, "Configure Liveness,
Readiness and Startup Probes"); shorter times of a config become 1.
"""

from __future__ import annotations

import math

from nvoi.config.schema import AppService, Healthcheck
from nvoi.kubernetes.shell import build_shell
from nvoi.kubernetes.workload import Manifest, Probes

# Under a CPU limit even a small framework takes longer to start than the 30 s of the defaults.
STARTUP_SECONDS = 60
# Time for data to be recovered after a crash: ending a database that recovers only makes it last.
DATABASE_STARTUP_SECONDS = 600
AUXILIARY_STARTUP_SECONDS = 300


def build_app_probes(service: AppService) -> Probes:
    """The probes of an app's service.

    Without a healthcheck it is ready when it accepts connections, and without a port when it runs.
    """
    check = service.healthcheck
    if check is None:
        return build_port_probes(service.port, STARTUP_SECONDS) if service.port else Probes()
    action = build_action(check, check.port or service.port)
    interval, timeout = round_seconds(check.interval), round_seconds(check.timeout)
    regular = build_probe(action, interval, timeout, check.retries)
    patience = max(math.ceil(check.interval * check.retries), STARTUP_SECONDS)
    return Probes(
        startup=build_probe(action, 1, timeout, patience), readiness=regular, liveness=regular
    )


def build_port_probes(port: int, patience: int) -> Probes:
    """Ready when ``port`` accepts connections; ``patience`` seconds until it first does."""
    action: Manifest = {"tcpSocket": {"port": port}}
    return Probes(startup=build_probe(action, 1, 5, patience), readiness=build_probe(action))


def build_database_probes(command: str) -> Probes:
    """The probes of a database that ``command`` asks."""
    action: Manifest = {"exec": {"command": build_shell(command)}}
    return Probes(
        startup=build_probe(action, 2, 5, DATABASE_STARTUP_SECONDS // 2),
        readiness=build_probe(action, 5),
        liveness=build_probe(action, 10, 5, 6),
    )


def build_action(check: Healthcheck, port: int | None) -> Manifest:
    """What a probe does."""
    if check.type == "exec":
        return {"exec": {"command": build_shell(check.command or "")}}
    if check.type == "tcp":
        return {"tcpSocket": {"port": port}}
    return {"httpGet": {"path": check.path, "port": port, "scheme": "HTTP"}}


def build_probe(
    action: Manifest, interval: int = 10, timeout: int = 5, failures: int = 3
) -> Manifest:
    """A probe; times in seconds."""
    return action | {
        "periodSeconds": interval,
        "timeoutSeconds": timeout,
        "successThreshold": 1,
        "failureThreshold": failures,
    }


def round_seconds(seconds: float) -> int:
    """Whole seconds, at least one."""
    return max(1, math.ceil(seconds))
