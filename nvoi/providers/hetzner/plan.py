"""What is to be done at Hetzner so that an app has what its config says: compared, planned, told.

Planning is pure. What a step needs from one before it is found by the next look: so what a broken
run half made, or what was made though no answer came, is taken up like all else.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from hcloud.firewalls import FirewallResource, FirewallRule
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.networks import NetworkSubnet
from hcloud.server_types import ServerType
from hcloud.servers import CreateServerResponse

from nvoi.errors import NvoiError, RequestError
from nvoi.naming import build_firewall_name, build_key_name, build_network_name
from nvoi.providers.cloud_init import get_public_key, prepare_boot
from nvoi.providers.hetzner.api import (
    API,
    FIREWALL,
    KEY,
    NETWORK,
    SERVER,
    VOLUME,
    Record,
    read_rule,
)
from nvoi.providers.hetzner.offers import Catalog
from nvoi.providers.hetzner.refusals import SHORTAGES, find_code
from nvoi.providers.hetzner.situation import Situation
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
from nvoi.providers.wording import (
    AS_IT_IS_TO_BE,
    describe_closing,
    describe_ports,
    describe_surplus,
    describe_volume,
)

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
    do: Callable[[], object] = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.verb} {self.thing}{self.detail}"


@dataclass(frozen=True)
class Plan(Situation):
    """What an app lacks, and how to make it.

    Args:
        key: the SSH key with the app's public key, whoever's it is.
    """

    key: Record | None = None
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
            if found := self.find_server(server.name):
                yield from self.plan_ties(found)

    def plan_network(self) -> Iterator[Work]:
        network, name = self.network, build_network_name(self.application.name)
        if network is not None and SUBNET in network.subnets:
            return
        zone = self.catalog.regions[self.get_place(self.wanted[0])] if self.catalog else None
        subnet = NetworkSubnet(SUBNET, type=NetworkSubnet.TYPE_CLOUD, network_zone=zone)
        verb, do = (
            "makes",
            partial(
                self.api.cloud.networks.create, name, RANGE, subnets=[subnet], labels={**self.own}
            ),
        )
        if network is not None:
            verb, do = "completes", partial(network.data.add_subnet, subnet)
        yield Work(ROOM, verb, f"{NETWORK} {name}", f", {RANGE} with {SUBNET}", do)

    def plan_firewall(self) -> Iterator[Work]:
        name, found = build_firewall_name(self.application.name), self.find(FIREWALL)
        ports = (*list_open_ports(self.application), *self.former_ports)
        rules = [*map(build_rule, ports)]
        detail = f", which lets in {', '.join(f'tcp/{port}' for port in ports)}"
        if found is None:
            labels: Any = {**self.own}
            do = partial(self.api.cloud.firewalls.create, name, rules, labels=labels)
            yield Work(ROOM, "makes", f"{FIREWALL} {name}", detail, do)
        elif found.rules != {read_rule(rule) for rule in rules}:
            yield correct_firewall(found, rules, detail)

    @cached_property
    def former_ports(self) -> tuple[int, ...]:
        """The open ports that only the release before may need."""
        found = self.find(FIREWALL)
        return tuple(
            port
            for port in list_former_ports(self.application)
            if found is not None and read_rule(build_rule(port)) in found.rules
        )

    def plan_closing(self) -> Iterator[Work]:
        """Close the ports that only the release before needed."""
        found = self.find(FIREWALL)
        if found is not None and self.former_ports:
            rules = [*map(build_rule, list_open_ports(self.application))]
            detail = f", which no longer lets in {describe_ports(self.former_ports)}"
            yield correct_firewall(found, rules, detail)

    def plan_key(self) -> Work:
        public_key = get_public_key(self.application)
        name = build_key_name(self.application.name, public_key)
        do = partial(self.api.cloud.ssh_keys.create, name, public_key, labels={**self.own})
        return Work(ROOM, "makes", f"{KEY} {name}", "", do)

    def plan_labels(self) -> Iterator[Work]:
        """Take over what bears the app's names and no owner's label."""
        groups = {one.name: one.group for one in self.wanted}
        groups |= {volume.name: server.group for server, volume in self.list_volumes()}
        for one in self.strangers:
            own = build_labels(self.application, groups.get(one.name))
            do = partial(one.data.update, labels={**one.labels, **own})
            yield Work(MACHINES, "takes over", str(one), ", and labels it", do)

    def plan_server(self, wanted: WantedServer) -> Work:
        name, location = wanted.type, self.get_place(wanted)
        thing, detail = f"{SERVER} {wanted.name}", f", a {name} in {location}"
        do = partial(self.make_server, wanted, name, location)
        return Work(MACHINES, "makes", thing, detail, do)

    def make_server(self, wanted: WantedServer, name: str, location: str) -> CreateServerResponse:
        firewall = self.find(FIREWALL)
        if not (self.network and firewall and self.key and self.catalog):
            raise AssertionError("a server is made once there is what it needs")
        boot = prepare_boot(self.application, wanted.name)
        try:
            return self.api.cloud.servers.create(
                wanted.name,
                ServerType(name=name),
                Image(id=self.catalog.image),
                ssh_keys=[self.key.data],
                firewalls=[firewall.data],
                networks=[self.network.data],
                user_data=boot.user_data,
                labels={**build_labels(self.application, wanted.group), **boot.labels},
                location=Location(name=location),
            )
        except RequestError as error:
            offer = self.catalog.find_offer(name, location)
            if find_code(error) in SHORTAGES and offer is not None:
                raise NvoiError(self.catalog.describe_shortage(offer)) from error
            raise

    def plan_volume(self, server: WantedServer, wanted: WantedVolume) -> Iterator[Work]:
        found, holder = self.find_data(wanted.name), self.find_server(server.name)
        thing = f"{VOLUME} {wanted.name}"
        if found is None:
            place = self.get_place(server)
            labels: Any = build_labels(self.application, server.group)
            do = partial(
                self.api.cloud.volumes.create,
                wanted.size,
                wanted.name,
                labels=labels,
                location=Location(name=place),
            )
            yield Work(MACHINES, "makes", thing, f", {wanted.size} GB in {place}", do)
            return
        if found.size < wanted.size:
            detail = f" from {found.size} GB to {wanted.size} GB"
            yield Work(TIES, "extends", thing, detail, partial(found.data.resize, wanted.size))
        if found.holder is None and holder is not None:
            attach = partial(found.data.attach, holder.data, automount=False)
            yield Work(TIES, "attaches", thing, f" to {server.name}", attach)

    def plan_ties(self, server: Record) -> Iterator[Work]:
        """A server's place in the network and behind the firewall, and that it runs."""
        network, firewall = self.network, self.find(FIREWALL)
        if network is not None and network.id not in server.addresses:
            connect = partial(server.data.attach_to_network, network.data)
            yield Work(TIES, "connects", str(server), f" to {network.name}", connect)
        if firewall is not None and firewall.id not in server.firewalls:
            resource = FirewallResource("server", server=server.data)
            protect = partial(firewall.data.apply_to_resources, [resource])
            yield Work(TIES, "protects", str(server), f" by {firewall.name}", protect)
        if server.data.status == OFF:
            yield Work(TIES, "starts", str(server), "", server.data.power_on)


def build_rule(port: int) -> FirewallRule:
    return FirewallRule("in", "tcp", list(EVERYBODY), str(port))


def correct_firewall(found: Record, rules: Sequence[FirewallRule], detail: str) -> Work:
    return Work(ROOM, "corrects", str(found), detail, partial(found.data.set_rules, [*rules]))


def plan_removal(records: Sequence[Record]) -> Iterator[Work]:
    """Works that delete."""
    going = {one.id for one in records if one.is_server}
    for one in records:
        if one.is_data and one.holder is not None and one.holder not in going:
            yield Work(ROOM, "detaches", str(one), "", one.data.detach)
        # All else is free once the servers have gone.
        stage = ROOM if one.is_server else MACHINES
        detail = f", a {one.type} in {one.location}" if one.is_server else ""
        detail = " with all its data" if one.is_data else detail
        yield Work(stage, "deletes", str(one), detail, one.data.delete)


def build_fingerprint(public_key: str) -> str:
    """As Hetzner has it: the MD5 of the key (RFC 4716, 4)."""
    digest = hashlib.md5(b64decode(public_key.split()[1]), usedforsecurity=False).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))


def describe_changes(plan: Plan, catalog: Catalog, *, with_volumes: bool) -> list[str]:
    """What is made, changed and removed, a line each, and what a month costs."""
    lines = [
        *map(str, plan.list_works()),
        *list_closing(plan),
        *describe_surplus(plan, with_volumes=with_volumes),
    ]
    costs = catalog.build_tariff().describe_changes(plan, with_volumes=with_volumes)
    return [*plan.list_warnings(), *(lines or [AS_IT_IS_TO_BE]), costs]


def list_closing(plan: Plan) -> Iterator[str]:
    if plan.former_ports:
        firewall = f"{FIREWALL} {build_firewall_name(plan.application.name)}"
        yield describe_closing(firewall, plan.former_ports)


def describe_deletion(situation: Situation, catalog: Catalog, going: Iterable[Record]) -> list[str]:
    """What is deleted and what stays, a line each, and what a month costs."""
    gone, priced = [*going], (*situation.servers, *situation.data)
    stays = [one for one in priced if one not in gone]
    return [
        *map(str, plan_removal(gone)),
        *(
            describe_volume(one.name, goes=False)
            for one in stays
            if one.is_data and situation.is_own(one)
        ),
        catalog.build_tariff().describe(priced, stays),
    ]
