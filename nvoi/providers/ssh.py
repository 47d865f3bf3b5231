"""Servers that one already has: the config names them, nothing is rented or given back."""

from __future__ import annotations

from collections.abc import Sequence

from nvoi.command import Command, build_script
from nvoi.config.schema import Application, ServerGroup
from nvoi.errors import Fault
from nvoi.naming import build_server_name, build_volume_path
from nvoi.providers.provider import OWN_MODE, Server
from nvoi.ssh.host import SSH_PORT, Host

#: Its arguments: the mode of those with an owner, then each folder behind its owner, or `-`. Their
#: parent lets nobody list it; where an image's user is not known, anyone must be able to write.
MAKE = """\
set -eu
mode=$1
shift
mkdir -p /opt/nvoi/volumes
chmod 0711 /opt/nvoi /opt/nvoi/volumes
while [ "$#" -gt 0 ]; do
  owner=$1 folder=$2
  shift 2
  mkdir -m 0777 "$folder" 2>/dev/null || [ -d "$folder" ]
  [ "$owner" != - ] || continue
  chmod "$mode" "$folder"
  chown "$owner:0" "$folder"
done
"""
REMOVE = """\
set -eu
for folder; do rm -rf -- "$folder"; done
rmdir /opt/nvoi/volumes 2>/dev/null || true
"""
DEFAULT_USER = "root"


class OwnServers:
    """``compute_provider: {ssh: {}}``."""

    def find_faults(self, application: Application) -> list[Fault]:
        # What the config must say of servers is a part of its rules.
        del application
        return []

    def list_servers(self, application: Application) -> tuple[Server, ...]:
        master = get_master_group(application)
        groups = (master, *(group for group in application.servers.values() if group != master))
        return tuple(
            build_server(application, group, index, is_master=group == master and index == 1)
            for group in groups
            for index in range(1, len(group.hosts) + 1)
        )

    def ensure_servers(self, application: Application) -> tuple[Server, ...]:
        return self.list_servers(application)

    def build_volumes(self, server: Server, lacking: Sequence[str]) -> Command:
        pairs = [(server.find_owner(folder) or "-", folder) for folder in lacking]
        words = [str(word) for pair in pairs for word in pair]
        return build_script("nvoi-volumes", MAKE, OWN_MODE, *words)

    def build_volumes_removal(self, server: Server) -> Command | None:
        if not server.volumes:
            return None
        return build_script("nvoi-volumes", REMOVE, *server.volumes)

    def delete_servers(self, application: Application, *, with_volumes: bool) -> None:
        # They are not nvoi's.
        del application, with_volumes

    def describe(self, application: Application) -> list[str]:
        return [
            f"reaches {server.host} as {server.host.user}{', the master' * server.is_master}"
            for server in self.list_servers(application)
        ]


def get_master_group(application: Application) -> ServerGroup:
    """The group whose first server is the master; a valid config has one."""
    groups = application.servers.values()
    return next((group for group in groups if group.master), next(iter(groups)))


def build_server(
    application: Application, group: ServerGroup, index: int, *, is_master: bool
) -> Server:
    """The server ``index``, counted from 1, of a group."""
    name = build_server_name(application.name, group.name, index)
    folders = {
        volume: build_volume_path(application.name, group.name, volume) for volume in group.volumes
    }
    return Server(
        name=name,
        group=group.name,
        host=Host(
            name=name,
            address=group.hosts[index - 1],
            port=group.port or SSH_PORT,
            user=group.user or DEFAULT_USER,
            host_keys=group.host_keys,
        ),
        is_master=is_master,
        private_ip=group.private_ip,
        volumes=tuple(folders.values()),
        owners=tuple(
            (folder, uid) for name, folder in folders.items() if (uid := group.volumes[name].uid)
        ),
    )
