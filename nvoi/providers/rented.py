"""What an app wants of a cloud, whichever it is: servers, volumes, ports, and how they are marked.

Pure. Names are those of docs/config.md, so that what other versions made is found again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nvoi.config.schema import Application, ServerGroup
from nvoi.kubernetes.ingress import PORTS as INGRESS_PORTS
from nvoi.naming import build_server_name, build_volume_name, build_volume_path
from nvoi.providers.ssh import get_master_group
from nvoi.ssh.host import SSH_PORT

#: All that nvoi makes in an account bears this label.
MANAGED_BY = ("managed-by", "nvoi")
NETWORK, SUBNET = "10.0.0.0/16", "10.0.1.0/24"
#: Who logs in, made by cloud-init.
USER = "deploy"


@dataclass(frozen=True)
class WantedVolume:
    """A volume of the config; ``size`` in GB."""

    name: str
    folder: str
    size: int
    uid: int | None = None


@dataclass(frozen=True)
class WantedServer:
    """A server of the config, the ``index``-th of its group, counted from 1.

    ``type`` and ``location`` are the group's own, None for those of the provider.
    """

    name: str
    group: str
    index: int
    is_master: bool
    type: str | None
    location: str | None
    volumes: tuple[WantedVolume, ...]


def list_wanted(application: Application) -> Iterator[WantedServer]:
    """The servers of the config, the master first."""
    master = get_master_group(application)
    groups = (master, *(group for group in application.servers.values() if group != master))
    for group in groups:
        for index in range(1, group.count + 1):
            yield WantedServer(
                name=build_server_name(application.name, group.name, index),
                group=group.name,
                index=index,
                is_master=group == master and index == 1,
                type=group.type,
                location=group.location,
                volumes=tuple(list_volumes(application, group)),
            )


def list_volumes(application: Application, group: ServerGroup) -> Iterator[WantedVolume]:
    for volume in group.volumes.values():
        yield WantedVolume(
            name=build_volume_name(application.name, group.name, volume.name),
            folder=build_volume_path(application.name, group.name, volume.name),
            size=volume.size,
            uid=volume.uid,
        )


def list_open_ports(application: Application) -> tuple[int, ...]:
    """The TCP ports that everybody may reach; whatever else is for the servers among themselves."""
    return (SSH_PORT, *(INGRESS_PORTS if application.uses_ingress else ()))


def build_labels(application: Application) -> dict[str, str]:
    """What all that is made for an app bears; by them it is told from what is not nvoi's."""
    key, value = MANAGED_BY
    return {key: value, "app": application.name, "environment": application.environment}
