"""Takes k3s off all servers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from nvoi.errors import HostsError, NvoiError, RemoteError
from nvoi.k3s.installer import FOREIGN, build_removal
from nvoi.log.levels import get_logger
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, as_root

log = get_logger("nvoi.k3s")

UNINSTALL_SECONDS = 600


def uninstall(connections: Connections, servers: Sequence[Server]) -> None:
    """Remove k3s, and what nvoi has put beside it, from all servers; what is gone is fine.

    The workers come first, side by side, then the master. Volumes stay.

    Args:
        connections: those of the run.
        servers: those of the config.

    Raises:
        HostsError: several servers still have it; the others do not.
        NvoiError: one has.
    """
    errors: list[NvoiError] = []
    for is_master in (False, True):
        hosts = [one.host for one in servers if one.is_master == is_master]
        if hosts:
            found = connections.on_all(hosts, partial(remove, connections))
            errors += [error for error in found.values() if error is not None]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise HostsError(errors)


def remove(connections: Connections, host: Host) -> NvoiError | None:
    """Remove k3s from one server; returns why it is still there."""
    try:
        result = connections.run(host, as_root(host, build_removal()), timeout=UNINSTALL_SECONDS)
    except RemoteError as error:
        if error.status != FOREIGN:
            return error
        return NvoiError(
            f"{host}: its k3s is not one that nvoi has installed, and stays",
            hint="remove it with `k3s-uninstall.sh` or `k3s-agent-uninstall.sh` there",
        )
    except NvoiError as error:
        return error
    if result.lines and result.lines[-1] == "removed":
        log.ok("%s: k3s is removed", host.name)
    else:
        log.info("%s: there was no k3s", host.name)
    return None
