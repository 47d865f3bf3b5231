"""What is to be done at Hetzner so that an app has what its config says: found, compared, planned.

Planning is pure. What a step needs from one before it is found by the next look: so what a broken
run half made, or what was made though no answer came, is taken up like all else.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from hcloud.actions import BoundAction
from hcloud.firewalls import Firewall, FirewallResource, FirewallRule
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.networks import Network, NetworkSubnet
from hcloud.server_types import ServerType
from hcloud.servers import Server, ServersClient
from hcloud.ssh_keys import SSHKey
from hcloud.volumes import Volume

from nvoi.config.schema import Application
from nvoi.errors import NvoiError, RequestError
from nvoi.naming import build_firewall_name, build_key_name, build_network_name
from nvoi.providers.cloud_init import build_user_data
from nvoi.providers.hetzner.api import API
from nvoi.providers.hetzner.inventory import (
    FIREWALL,
    KEY,
    NETWORK,
    SERVER,
    VOLUME,
    FirewallRecord,
    KeyRecord,
    ServerRecord,
    VolumeRecord,
    read_rule,
)
from nvoi.providers.hetzner.refusals import SHORTAGES, find_code
from nvoi.providers.hetzner.situation import Situation, describe_shortage, get_type
from nvoi.providers.host_keys import FIRST_HOST_KEY, encode_host_key, generate_host_key
from nvoi.providers.rented import (
    NETWORK as RANGE,
)
from nvoi.providers.rented import (
    SUBNET,
    WantedServer,
    WantedVolume,
    build_labels,
    list_former_ports,
    list_open_ports,
)
from nvoi.providers.wording import describe_ports

EVERYBODY = ["0.0.0.0/0", "::/0"]
OFF = "off"
#: Works of a later stage need what those of an earlier one make.
ROOM, MACHINES, TIES = 1, 2, 3


@dataclass(frozen=True)
class Work:
    """One call that changes something, and what it is told as: ``makes server shop-main-1, …``."""

    stage: int
    verb: str
    thing: str
    detail: str
    do: Callable[[], Sequence[BoundAction]] = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.verb} {self.thing}{self.detail}"


@dataclass(frozen=True)
class Plan(Situation):
    """What an app lacks, and how to make it.

    Args:
        key: the SSH key with the app's public key, whoever's it is.
    """

    key: KeyRecord | None = None
    api: API = field(kw_only=True)

    def list_works(self) -> Iterator[Work]:
        yield from self.plan_network()
        yield from self.plan_firewall()
        if self.lacking and self.key is None:
            yield self.plan_key()
        yield from self.plan_labels()
        for server in self.lacking:
            yield self.plan_server(server)
        for server, volume in self.list_volumes():
            yield from self.plan_volume(server, volume)
        for server in self.wanted:
            record = self.found.servers.find(server.name)
            if record is not None:
                yield from self.plan_ties(record)

    def plan_network(self) -> Iterator[Work]:
        name, cloud = build_network_name(self.application.name), self.api.cloud
        if self.network is not None and SUBNET in self.network.subnets:
            return
        zone = self.catalog.zones[self.get_place(self.wanted[0])] if self.catalog else None
        subnet = NetworkSubnet(SUBNET, type=NetworkSubnet.TYPE_CLOUD, network_zone=zone)
        thing, detail = f"{NETWORK} {name}", f", {RANGE} with {SUBNET}"
        if self.network is not None:
            target = Network(self.network.id)
            yield Work(
                ROOM,
                "completes",
                thing,
                detail,
                lambda: [cloud.networks.add_subnet(target, subnet)],
            )
            return

        def make() -> Sequence[BoundAction]:
            labels = build_labels(self.application)
            cloud.networks.create(name, RANGE, subnets=[subnet], labels=labels)
            return []

        yield Work(ROOM, "makes", thing, detail, make)

    def plan_firewall(self) -> Iterator[Work]:
        name, cloud = build_firewall_name(self.application.name), self.api.cloud
        record = self.found.firewalls.find(name)
        ports = (*list_open_ports(self.application), *self.former_ports)
        rules = [*map(build_rule, ports)]
        thing = f"{FIREWALL} {name}"
        detail = f", which lets in {', '.join(f'tcp/{port}' for port in ports)}"
        if record is None:
            labels: Any = build_labels(self.application)
            yield Work(
                ROOM,
                "makes",
                thing,
                detail,
                lambda: cloud.firewalls.create(name, rules, labels=labels).actions or [],
            )
        elif record.rules != {read_rule(rule) for rule in rules}:
            yield self._correct_firewall(record, rules, detail)

    @cached_property
    def former_ports(self) -> tuple[int, ...]:
        """The open ports that only the release before may need."""
        record = self.found.firewalls.find(build_firewall_name(self.application.name))
        return tuple(
            port
            for port in list_former_ports(self.application)
            if record is not None and read_rule(build_rule(port)) in record.rules
        )

    def plan_closing(self) -> Iterator[Work]:
        """Close the ports that only the release before needed."""
        record = self.found.firewalls.find(build_firewall_name(self.application.name))
        if record is None or not self.former_ports:
            return
        rules = [*map(build_rule, list_open_ports(self.application))]
        detail = f", which no longer lets in {describe_ports(self.former_ports)}"
        yield self._correct_firewall(record, rules, detail)

    def _correct_firewall(
        self, record: FirewallRecord, rules: Sequence[FirewallRule], detail: str
    ) -> Work:
        target, firewalls = Firewall(record.id), self.api.cloud.firewalls
        return Work(
            ROOM,
            "corrects",
            f"{FIREWALL} {record.name}",
            detail,
            lambda: firewalls.set_rules(target, list(rules)),
        )

    def plan_key(self) -> Work:
        public_key = get_public_key(self.application)
        name, cloud = build_key_name(self.application.name, public_key), self.api.cloud

        def make() -> Sequence[BoundAction]:
            cloud.ssh_keys.create(name, public_key, labels=build_labels(self.application))
            return []

        return Work(ROOM, "makes", f"{KEY} {name}", "", make)

    def plan_labels(self) -> Iterator[Work]:
        """Take over what bears the app's names and no owner's label."""
        groups = {one.name: one.group for one in self.wanted}
        groups |= {volume.name: server.group for server, volume in self.list_volumes()}
        cloud = self.api.cloud
        targets: dict[str, tuple[Any, Callable[[int], Any]]] = {
            SERVER: (cloud.servers, Server),
            VOLUME: (cloud.volumes, Volume),
            NETWORK: (cloud.networks, Network),
            FIREWALL: (cloud.firewalls, Firewall),
        }
        for kind, listing in self.found.list_kinds():
            for name, record in listing.others.items():
                client, build = targets[kind]
                own = build_labels(self.application, groups.get(name))
                labels = {**record.labels, **own}
                yield Work(
                    MACHINES,
                    "takes over",
                    f"{kind} {name}",
                    ", and labels it",
                    partial(relabel, client, build(record.id), labels),
                )

    def plan_server(self, wanted: WantedServer) -> Work:
        name, location = get_type(self.application, wanted), self.get_place(wanted)
        return Work(
            MACHINES,
            "makes",
            f"{SERVER} {wanted.name}",
            f", a {name} in {location}",
            lambda: self.make_server(wanted, name, location),
        )

    def make_server(self, wanted: WantedServer, name: str, location: str) -> Sequence[BoundAction]:
        firewall = self.found.firewalls.find(build_firewall_name(self.application.name))
        if not (self.network and firewall and self.key and self.catalog):
            raise AssertionError("a server is made once there is what it needs")
        pair = generate_host_key()
        labels = build_labels(self.application, wanted.group)
        public_key = get_public_key(self.application)
        try:
            made = self.api.cloud.servers.create(
                wanted.name,
                ServerType(name=name),
                Image(id=self.catalog.image),
                ssh_keys=[SSHKey(self.key.id)],
                firewalls=[Firewall(firewall.id)],
                networks=[Network(self.network.id)],
                user_data=build_user_data(wanted.name, public_key, pair),
                labels={**labels, FIRST_HOST_KEY: encode_host_key(pair.public)},
                location=Location(name=location),
            )
        except RequestError as error:
            offer = self.catalog.find_offer(name, location)
            if find_code(error) in SHORTAGES and offer is not None:
                raise NvoiError(describe_shortage(offer, self.catalog)) from error
            raise
        return [made.action, *(made.next_actions or [])]

    def plan_volume(self, server: WantedServer, wanted: WantedVolume) -> Iterator[Work]:
        record = self.found.volumes.find(wanted.name)
        volumes, thing = self.api.cloud.volumes, f"{VOLUME} {wanted.name}"
        if record is None:
            place, labels = self.get_place(server), build_labels(self.application, server.group)
            any_labels: Any = labels

            def make() -> Sequence[BoundAction]:
                made = volumes.create(
                    wanted.size, wanted.name, labels=any_labels, location=Location(name=place)
                )
                return [made.action, *(made.next_actions or [])]

            detail = f", {wanted.size} GB in {place}"
            yield Work(MACHINES, "makes", thing, detail, make)
            return
        target, holder = Volume(record.id), self.found.servers.find(server.name)
        if record.size < wanted.size:
            detail = f" from {record.size} GB to {wanted.size} GB"
            yield Work(
                TIES, "extends", thing, detail, lambda: [volumes.resize(target, wanted.size)]
            )
        if record.server is None and holder is not None:
            machine, detail = Server(holder.id), f" to {server.name}"
            yield Work(
                TIES,
                "attaches",
                thing,
                detail,
                lambda: [volumes.attach(target, machine, automount=False)],
            )

    def plan_ties(self, record: ServerRecord) -> Iterator[Work]:
        """A server's place in the network and behind the firewall, and that it runs."""
        cloud, target, thing = self.api.cloud, Server(record.id), f"{SERVER} {record.name}"
        firewall = self.found.firewalls.find(build_firewall_name(self.application.name))
        if self.network is not None and self.network.id not in record.networks:
            network = Network(self.network.id)
            yield Work(
                TIES,
                "connects",
                thing,
                f" to {self.network.name}",
                lambda: [cloud.servers.attach_to_network(target, network)],
            )
        if firewall is not None and firewall.id not in record.firewalls:
            wall, resource = Firewall(firewall.id), FirewallResource("server", server=target)
            yield Work(
                TIES,
                "protects",
                thing,
                f" by {firewall.name}",
                lambda: cloud.firewalls.apply_to_resources(wall, [resource]),
            )
        if record.status == OFF:
            yield Work(TIES, "starts", thing, "", lambda: [cloud.servers.power_on(target)])


def build_rule(port: int) -> FirewallRule:
    return FirewallRule("in", "tcp", list(EVERYBODY), str(port))


def plan_removal(
    api: API,
    servers: Sequence[ServerRecord],
    volumes: Sequence[VolumeRecord],
    others: Iterable[tuple[str, Any]] = (),
) -> Iterator[Work]:
    """Works that delete; ``others`` are networks, firewalls and keys with their kinds."""
    cloud = api.cloud
    going = {one.id for one in servers}
    for volume in volumes:
        if volume.server is not None and volume.server not in going:
            target = Volume(volume.id)
            yield Work(
                ROOM, "detaches", f"{VOLUME} {volume.name}", "", partial(detach, api, target)
            )
    for server in servers:
        yield Work(
            ROOM,
            "deletes",
            f"{SERVER} {server.name}",
            f", a {server.type} in {server.location}",
            partial(delete_server, cloud.servers, Server(server.id)),
        )
    rest: list[tuple[str, Any]] = [(VOLUME, one) for one in volumes]
    clients: dict[str, tuple[Any, Callable[[int], Any]]] = {
        VOLUME: (cloud.volumes, Volume),
        FIREWALL: (cloud.firewalls, Firewall),
        NETWORK: (cloud.networks, Network),
        KEY: (cloud.ssh_keys, SSHKey),
    }
    for kind, record in [*rest, *others]:
        client, build = clients[kind]
        yield Work(
            MACHINES,
            "deletes",
            f"{kind} {record.name}",
            " with all its data" if kind == VOLUME else "",
            partial(forget, client, build(record.id)),
        )


def delete_server(client: ServersClient, target: Server) -> Sequence[BoundAction]:
    return [client.delete(target)]


def detach(api: API, volume: Volume) -> Sequence[BoundAction]:
    return [api.cloud.volumes.detach(volume)]


def forget(client: Any, target: Any) -> Sequence[BoundAction]:
    """Delete what is gone at once."""
    client.delete(target)
    return []


def relabel(client: Any, target: Any, labels: Mapping[str, str]) -> Sequence[BoundAction]:
    client.update(target, labels=labels)
    return []


def get_public_key(application: Application) -> str:
    """Its kind and the key itself: an account knows it without its comment."""
    if application.ssh_keys is None:
        raise AssertionError("a config for rented servers has SSH keys")
    return " ".join(application.ssh_keys.public_key.split()[:2])


def build_fingerprint(public_key: str) -> str:
    """As Hetzner has it: the MD5 of the key (RFC 4716, 4)."""
    digest = hashlib.md5(b64decode(public_key.split()[1]), usedforsecurity=False).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))
