"""Servers that one already has: the config names them, nothing is rented or given back."""

from __future__ import annotations

from collections.abc import Sequence

from nvoi.command import Command, build_script
from nvoi.config.schema import Application, ServerGroup
from nvoi.errors import Fault
from nvoi.naming import build_notes_path, build_server_name, build_volume_path
from nvoi.providers.provider import OWN_MODE, Server
from nvoi.ssh.routes import Destination, Routes

#: Its arguments: where it is noted whose the folders are, the mode of those with an owner, then
#: each folder behind its owner, or `-`. Their parent lets nobody list it; where an image's user is
#: not known, anyone must be able to write into a new one.
MAKE = """\
set -eu
notes=$1 mode=$2
shift 2
mkdir -p "$notes"
chmod 0711 /opt/nvoi /opt/nvoi/volumes
chmod 0700 /opt/nvoi/volumes/.apps
while [ "$#" -gt 0 ]; do
  owner=$1 folder=$2
  shift 2
  mkdir -m 0777 "$folder" 2>/dev/null || [ -d "$folder" ]
  if [ "$owner" != - ]; then
    chmod "$mode" "$folder"
    chown "$owner:0" "$folder"
  fi
  mkdir -p "$notes/${folder##*/}"
done
"""
REMOVE = """\
set -eu
notes=$1
shift
for folder; do rm -rf -- "$folder"; done
rm -rf -- "$notes"
rmdir /opt/nvoi/volumes/.apps /opt/nvoi/volumes 2>/dev/null || true
"""
DEFAULT_USER = "root"


class OwnServers:
    """``compute_provider: {ssh: {}}``."""

    is_rented = False

    def __init__(self, application: Application, routes: Routes) -> None:
        self.application, self.routes = application, routes

    def find_faults(self) -> list[Fault]:
        # What the config must say of servers is a part of its rules. The ways to them are checked.
        self.list_servers()
        return []

    def list_servers(self) -> tuple[Server, ...]:
        numbered = (
            (group, index)
            for group in list_server_groups(self.application)
            for index in range(1, len(group.hosts) + 1)
        )
        return tuple(
            build_server(self.application, group, index, self.routes, is_master=number == 0)
            for number, (group, index) in enumerate(numbered)
        )

    def ensure_servers(self) -> tuple[Server, ...]:
        return self.list_servers()

    def close_ports(self) -> None:
        """Do nothing: their firewalls are the user's."""

    def list_unlabelled(self) -> Sequence[str]:
        # The config names them: nobody else's are meant.
        return ()

    def list_surplus(self) -> tuple[Server, ...]:
        # Only their nodes tell of them.
        return ()

    def keep_host_keys(self, server: Server, keys: Sequence[str]) -> Server:
        # Their host keys are known as they are met, or from the config.
        del keys
        return server

    def build_volumes(self, server: Server, lacking: Sequence[str]) -> Command:
        return build_script("nvoi-volumes", MAKE, *list_make_words(server, lacking))

    def build_volumes_removal(self, server: Server) -> Command | None:
        if not server.volumes:
            return None
        return build_script("nvoi-volumes", REMOVE, server.notes, *server.volumes)

    def delete_surplus(self, servers: Sequence[Server], *, with_volumes: bool) -> None:
        del servers, with_volumes

    def delete_servers(self, *, with_volumes: bool) -> Sequence[str]:
        # They are not nvoi's.
        del with_volumes
        return ()

    def describe(self, *, with_volumes: bool = False) -> list[str]:
        del with_volumes
        return [
            f"reaches {server.host} as {server.host.user}{', the master' * server.is_master}"
            for server in self.list_servers()
        ]

    def describe_deletion(self, *, with_volumes: bool) -> list[str]:
        return self.describe(with_volumes=with_volumes)


def list_make_words(server: Server, folders: Sequence[str]) -> list[str]:
    """The arguments of :data:`MAKE`."""
    pairs = [(server.find_owner(folder) or "-", folder) for folder in folders]
    return [server.notes, OWN_MODE, *(str(word) for pair in pairs for word in pair)]


def list_server_groups(application: Application) -> list[ServerGroup]:
    """The groups, first that whose first server is the master; a valid config has one."""
    return sorted(application.servers.values(), key=lambda group: not group.master)


def list_destinations(application: Application) -> tuple[Destination, ...]:
    """The servers as the config names them."""
    return tuple(
        build_destination(application, group, index)
        for group in application.servers.values()
        for index in range(1, len(group.hosts) + 1)
    )


def build_destination(application: Application, group: ServerGroup, index: int) -> Destination:
    """The server ``index``, counted from 1, of a group."""
    return Destination(
        address=group.hosts[index - 1],
        user=group.user,
        port=group.port,
        default_user=DEFAULT_USER,
        name=build_server_name(application.name, group.name, index),
        host_keys=group.host_keys,
    )


def build_server(
    application: Application,
    group: ServerGroup,
    index: int,
    routes: Routes,
    *,
    is_master: bool,
) -> Server:
    host = routes.build_host(build_destination(application, group, index))
    folders = {
        volume: build_volume_path(application.name, group.name, volume) for volume in group.volumes
    }
    return Server(
        name=host.name,
        group=group.name,
        host=host,
        is_master=is_master,
        private_ip=group.private_ip,
        volumes=tuple(folders.values()),
        owners=tuple(
            (folder, uid) for name, folder in folders.items() if (uid := group.volumes[name].uid)
        ),
        notes=build_notes_path(application.name),
    )
