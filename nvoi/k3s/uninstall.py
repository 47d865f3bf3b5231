"""Takes k3s, and what nvoi has put beside it, off servers."""

from __future__ import annotations

from collections.abc import Sequence

from nvoi.command import Command, Result, build_script
from nvoi.errors import HostsError, NvoiError, RemoteError
from nvoi.k3s import read_script
from nvoi.k3s.datastore import COPIES_FOLDER
from nvoi.k3s.facts import FOLDER, HEADER
from nvoi.kubernetes.registry import DATA_FOLDER
from nvoi.log.levels import get_logger
from nvoi.parallel import work_on_all
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, as_root

log = get_logger("nvoi.k3s")

UNINSTALL_SECONDS = 600
#: The script's exit code where somebody else has set k3s up; sysexits(3) leaves it alone.
FOREIGN = 94


def build_removal() -> Command:
    """The command, to be run as root, that removes k3s and what nvoi has put beside it."""
    folders = (DATA_FOLDER, COPIES_FOLDER)
    return build_script("nvoi-k3s-removal", read_script("uninstall.sh"), FOLDER, HEADER, *folders)


def send_removal(connections: Connections, host: Host) -> Result:
    return connections.run(host, as_root(host, build_removal()), timeout=UNINSTALL_SECONDS)


def uninstall(connections: Connections, servers: Sequence[Server]) -> None:
    """Remove k3s, and what nvoi has put beside it, from all servers; what is gone is fine.

    The workers come first, side by side, then the master. Volumes stay.

    Raises:
        HostsError: several servers still have it; the others do not.
        NvoiError: one has.
    """
    errors: list[NvoiError] = []
    for is_master in (False, True):
        hosts = [one.host for one in servers if one.is_master == is_master]
        found = work_on_all(hosts, lambda host: uninstall_from(connections, host))
        errors += [error for error in found.values() if error is not None]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise HostsError(errors)


def uninstall_from(connections: Connections, host: Host) -> NvoiError | None:
    """Remove k3s from one server; returns why it is still there."""
    try:
        result = send_removal(connections, host)
    except NvoiError as error:
        if not isinstance(error, RemoteError) or error.status != FOREIGN:
            return error
        return NvoiError(
            f"{host}: its k3s is not one that nvoi has installed, and stays",
            hint="remove it with `k3s-uninstall.sh` or `k3s-agent-uninstall.sh` there",
        )
    if result.lines and result.lines[-1] == "removed":
        log.ok("%s: k3s is removed", host.name)
    else:
        log.info("%s: there was no k3s", host.name)
    return None
