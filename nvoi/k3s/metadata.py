"""Keeps pods from the metadata of the cloud that rents the servers out.

It has the user data that a server was made with and, with some clouds, credentials, and gives them
to whoever asks from the server. All clouds have it at a link-local address (RFC 3927), which pods
need nothing of; some also at one of IPv6, which k3s gives pods none of. A rule on each node holds
for all pods of the cluster from their first packet on; a NetworkPolicy would hold for those of its
namespace, and from some time after their start on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from nvoi.command import Command, build_script
from nvoi.k3s.facts import GUARD, GUARD_FILE, Facts
from nvoi.kubernetes.isolation import POD_NETWORK
from nvoi.log.levels import get_logger
from nvoi.parallel import work_on_all
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import as_root

log = get_logger("nvoi.k3s")

NETWORK = "169.254.0.0/16"
#: Before any other rule can let them through (iptables(8), TABLES).
RULE = f"PREROUTING -s {POD_NETWORK} -d {NETWORK} -j DROP"
ENSURE = f"iptables -w -t raw -C {RULE} 2>/dev/null || iptables -w -t raw -I {RULE}"
#: systemd.unit(5), systemd.service(5).
UNIT = f"""\
[Unit]
Description=Keeps pods from the metadata of the cloud
Before=k3s.service k3s-agent.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c '{ENSURE}'

[Install]
WantedBy=multi-user.target
"""
#: Its arguments: the unit's name, and its file.
INSTALL = f"""\
set -eu
mkdir -p "${{2%/*}}"
cat >"$2.new" <<'END'
{UNIT}END
mv -f "$2.new" "$2"
systemctl daemon-reload
systemctl enable "$1"
systemctl restart "$1"
"""


def build_guard() -> Command:
    """The command that root runs on a node, before it has pods."""
    return build_script(GUARD, INSTALL, GUARD, GUARD_FILE)


def ensure_guards(
    connections: Connections, servers: Sequence[Server], facts: Mapping[str, Facts]
) -> None:
    """Have all servers keep their pods from it, also after a restart.

    Raises:
        NvoiError: one of them does not.
    """
    wanted = hashlib.sha256(UNIT.encode()).hexdigest()
    hosts = [one.host for one in servers if facts[one.name].guard_checksum != wanted]
    if hosts:
        work_on_all(hosts, lambda host: connections.run(host, as_root(host, build_guard())))
        names = ", ".join(host.name for host in hosts)
        log.info("%s: pods are kept from the metadata of the cloud", names)
