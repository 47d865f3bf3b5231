"""What an app wants of a cloud, whichever it is: servers, volumes, ports, and how they are marked.

Pure. Names are those of docs/config.md, so that what other versions made is found again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from nvoi.config.nodes import join_path
from nvoi.config.schema import (
    Application,
    AWSProvider,
    HetznerProvider,
    ScalewayProvider,
    ServerGroup,
)
from nvoi.errors import Fault
from nvoi.http import clean_line
from nvoi.kubernetes.ingress import PORTS as INGRESS_PORTS
from nvoi.naming import (
    HASH_LENGTH,
    LABEL_LENGTH,
    VOLUMES_FOLDER,
    build_notes_path,
    build_server_name,
    build_volume_name,
    build_volume_path,
)
from nvoi.providers.cloud_init import USER, read_host_keys
from nvoi.providers.provider import Disk, Server
from nvoi.providers.ssh import list_server_groups
from nvoi.ssh.host import SSH_PORT
from nvoi.ssh.routes import Destination, Routes

A = TypeVar("A")

#: All that nvoi makes in an account bears this label.
MANAGED_BY = ("managed-by", "nvoi")
NETWORK, SUBNET = "10.0.0.0/16", "10.0.1.0/24"
#: The label with the group of a server or a volume.
GROUP = "group"
#: The label with the name of a server: on the disk that it starts from, at Scaleway on its address
#: too.
OF_SERVER = "server"
#: Of a label, at the strictest of the clouds: Hetzner's, "Labels".
LABEL_VALUE = re.compile(rf"[A-Za-z0-9]([A-Za-z0-9._-]{{0,{LABEL_LENGTH - 2}}}[A-Za-z0-9])?")
#: Labels of other tools by which they know what is theirs end in this.
OWNER_SUFFIX = "managed-by"


#: Where the config has the type and the location of servers whose group says none.
ACCOUNTS: Mapping[type, tuple[str, str, str]] = {
    AWSProvider: ("application.compute_provider.aws.", "instance_type", ""),
    HetznerProvider: ("application.compute_provider.hetzner.", "server_type", "server_location"),
    ScalewayProvider: ("application.compute_provider.scaleway.", "server_type", "zone"),
}


@dataclass(frozen=True)
class WantedVolume:
    """A volume of the config, at ``path`` there; ``size`` in GB."""

    name: str
    folder: str
    size: int
    path: str
    uid: int | None = None


@dataclass(frozen=True)
class WantedServer:
    """A server of the config, in the words of its provider.

    ``type_path`` and ``place_path`` are where the config says its type and its location, which at
    AWS may be left out.
    """

    name: str
    group: str
    is_master: bool = False
    type: str = ""
    type_path: str = ""
    location: str | None = None
    place_path: str = ""
    volumes: tuple[WantedVolume, ...] = ()


def get_account(application: Application, kind: type[A]) -> A:
    """The section of the config's provider, which is known to be of this kind."""
    account = application.compute_provider
    if not isinstance(account, kind):
        raise TypeError("the config has another provider")
    return account


def build_path(group: str, key: str) -> str:
    """The place of a group's key in the config."""
    return join_path(join_path("application.servers", group), key)


def list_wanted(application: Application) -> Iterator[WantedServer]:
    """The servers of the config, the master first."""
    account = application.compute_provider
    section, type_key, place_key = ACCOUNTS.get(type(account), ("", "", ""))
    for number, group in enumerate(list_server_groups(application)):
        for index in range(1, group.count + 1):
            yield WantedServer(
                name=build_server_name(application.name, group.name, index),
                group=group.name,
                is_master=number == 0 and index == 1,
                type=str(group.type or getattr(account, type_key, "")),
                type_path=build_path(group.name, "type") if group.type else section + type_key,
                location=group.location or getattr(account, place_key, None),
                place_path=(
                    build_path(group.name, "location") if group.location else section + place_key
                ),
                # They are one server's.
                volumes=tuple(list_volumes(application, group)) if index == 1 else (),
            )


def list_volumes(application: Application, group: ServerGroup) -> Iterator[WantedVolume]:
    for volume in group.volumes.values():
        yield WantedVolume(
            name=build_volume_name(application.name, group.name, volume.name),
            folder=build_volume_path(application.name, group.name, volume.name),
            size=volume.size,
            path=join_path(build_path(group.name, "volumes"), volume.name),
            uid=volume.uid,
        )


def list_volume_names(servers: Iterable[WantedServer]) -> list[str]:
    return [volume.name for server in servers for volume in server.volumes]


def list_name_faults(application: Application) -> Iterator[Fault]:
    """Volumes that have one name between them, such as ``b-c`` of ``a`` and ``c`` of ``a-b``."""
    taken: dict[str, str] = {}
    for group in application.servers.values():
        for volume in list_volumes(application, group):
            first = taken.setdefault(volume.name, volume.path)
            if first != volume.path:
                message = f"has the name {volume.name}, as {first}: rename one"
                yield Fault(0, 0, volume.path, message)


def list_open_ports(application: Application) -> tuple[int, ...]:
    """The TCP ports that everybody may reach; whatever else is for the servers among themselves."""
    return (SSH_PORT, *(INGRESS_PORTS if application.uses_ingress else ()))


def list_former_ports(application: Application) -> tuple[int, ...]:
    """The ports that only the release before may need: the ingress', unless the app has one.

    Visitors come by them until the new release is reached: those that are open stay so until then.
    """
    return () if application.uses_ingress else INGRESS_PORTS


def build_labels(application: Application, group: str | None = None) -> dict[str, str]:
    """What all that is made for an app bears; by them it is told from what is not nvoi's."""
    key, value = MANAGED_BY
    own = {key: value, "app": application.name, "environment": application.environment}
    texts = own if group is None else {**own, GROUP: group}
    return {key: build_label_value(text) for key, text in texts.items()}


def build_label_value(text: str) -> str:
    """``text`` where a label takes it; else what it takes of that, and 8 hex of its SHA-256."""
    if LABEL_VALUE.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]
    part = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")
    return f"{part[: LABEL_LENGTH - HASH_LENGTH - 1]}-{digest}".lstrip("-")


def find_other_owner(labels: Mapping[str, str], own: Mapping[str, str]) -> str | None:
    """The label that says something is not the app's, whose labels are ``own``; None without one.

    What the gem made bears no labels. Labels that say nothing of an owner are no hindrance.
    """
    for key, value in labels.items():
        if key in own and key != GROUP and own[key] != value:
            return clean_line(f"{key}={value}")
        if key.endswith(f"/{OWNER_SUFFIX}"):
            return clean_line(f"{key}={value}")
    return None


def is_first_disk(labels: Mapping[str, str]) -> bool:
    """Whether these are of a disk that a server starts from.

    nvoi labels it without a group. Every other disk may have data, also where its owner has given
    it labels of these names.
    """
    return OF_SERVER in labels and MANAGED_BY[0] in labels and GROUP not in labels


def build_server(
    application: Application,
    wanted: WantedServer,
    routes: Routes,
    address: str,
    *,
    labels: Mapping[str, str],
    private_ip: str | None = None,
    disks: Iterable[Disk] = (),
) -> Server:
    """A server as it is reached, held to the host keys that its labels name.

    A disk that grows is to have the size that the config says.
    """
    keys, is_new = read_host_keys(labels)
    sizes = {one.name: one.size for one in wanted.volumes}
    seen = tuple(replace(one, size=sizes.get(one.name, one.size)) for one in disks)
    given = Destination(address, default_user=USER, name=wanted.name, host_keys=keys)
    folders = [*(one.folder for one in wanted.volumes), *(one.folder for one in seen)]
    return Server(
        name=wanted.name,
        group=wanted.group,
        host=routes.build_host(given),
        is_master=wanted.is_master,
        private_ip=private_ip,
        volumes=tuple(dict.fromkeys(folders)),
        owners=tuple((one.folder, one.uid) for one in wanted.volumes if one.uid),
        notes=build_notes_path(application.name),
        disks=seen,
        is_new=is_new,
        is_rented=True,
        is_labelled=build_labels(application).items() <= labels.items(),
    )


def build_disk(name: str, device: str, size: int) -> Disk:
    """A volume of this name at the provider, and where it is mounted."""
    return Disk(name, f"{VOLUMES_FOLDER}/{name}", device, size)
