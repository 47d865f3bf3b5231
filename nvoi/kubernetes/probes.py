"""How the kubelet sees whether a container has started, is ready, or hangs. Pure."""

from __future__ import annotations

import math

from nvoi.config.schema import AppService, Healthcheck
from nvoi.kubernetes.ownership import Manifest

# Under a CPU limit even a small framework takes longer to start than the 30 s of the defaults.
STARTUP_SECONDS = 60
AUXILIARY_STARTUP_SECONDS = 300
# Time for data to be recovered after a crash: ending a database that recovers only makes it last.
DATABASE_STARTUP_SECONDS = 600
# A database that is slow under load answers again once the load is over; one that is started anew
# has to recover first, under the same load.
DATABASE_HANG_SECONDS = 600
# A service that is slow gets no requests as soon as it fails its healthcheck, and is started anew
# only where that has not helped.
PATIENCE_FACTOR = 3
LEAST_HANG_SECONDS = 60


def build_app_probes(service: AppService) -> Manifest:
    """The probes of an app's service.

    Without a healthcheck it is ready when it accepts connections, and without a port when it runs.
    """
    check = service.healthcheck
    if check is None:
        return build_port_probes(service.port, STARTUP_SECONDS) if service.port else {}
    action = build_action(check, check.port or service.port)
    interval, timeout = round_seconds(check.interval), round_seconds(check.timeout)
    regular = build_probe(action, interval, timeout, check.retries)
    patience = max(math.ceil(check.interval * check.retries), STARTUP_SECONDS)
    hang = check.restart_after or max(
        PATIENCE_FACTOR * interval * check.retries, LEAST_HANG_SECONDS
    )
    return {
        "startupProbe": build_probe(action, 1, timeout, patience),
        "readinessProbe": regular,
        "livenessProbe": build_probe(action, interval, timeout, math.ceil(hang / interval)),
    }


def build_port_probes(port: int, patience: int) -> Manifest:
    """Ready when ``port`` accepts connections; ``patience`` seconds until it first does."""
    action: Manifest = {"tcpSocket": {"port": port}}
    return {
        "startupProbe": build_probe(action, 1, 5, patience),
        "readinessProbe": build_probe(action),
    }


def build_database_probes(command: str) -> Manifest:
    action: Manifest = {"exec": {"command": build_shell(command)}}
    return {
        "startupProbe": build_probe(action, 2, 5, DATABASE_STARTUP_SECONDS // 2),
        "readinessProbe": build_probe(action, 5),
        "livenessProbe": build_probe(action, 30, 30, DATABASE_HANG_SECONDS // 30),
    }


def build_action(check: Healthcheck, port: int | None) -> Manifest:
    if check.type == "exec":
        return {"exec": {"command": build_shell(check.command or "")}}
    if check.type == "tcp":
        return {"tcpSocket": {"port": port}}
    return {"httpGet": {"path": check.path, "port": port, "scheme": "HTTP"}}


def build_probe(
    action: Manifest, interval: int = 10, timeout: int = 5, failures: int = 3
) -> Manifest:
    return action | {
        "periodSeconds": interval,
        "timeoutSeconds": timeout,
        "successThreshold": 1,
        "failureThreshold": failures,
    }


def round_seconds(seconds: float) -> int:
    """Whole seconds, at least one: Kubernetes counts in these.

    Source: its documentation, "Configure Liveness, Readiness and Startup Probes".
    """
    return max(1, math.ceil(seconds))


def build_shell(command: str) -> list[str]:
    """A shell that runs ``command`` just as it stands.

    Kubernetes reads ``$(NAME)`` in a container's command and in an exec probe's itself, and
    makes one dollar of two (API reference, Container, ``command``): each is written twice.
    """
    return ["/bin/sh", "-c", command.replace("$", "$$")]
