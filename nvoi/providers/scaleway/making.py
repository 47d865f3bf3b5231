"""Makes what an app wants of Scaleway, and takes up what is there of it already.

Servers go through each step side by side, and what takes its time is looked at for all of them
in one request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from nvoi.account import telling_made
from nvoi.errors import NvoiError, RequestError
from nvoi.naming import build_network_name
from nvoi.parallel import work_on_all
from nvoi.providers import rented
from nvoi.providers.cloud import log
from nvoi.providers.cloud_init import prepare_boot
from nvoi.providers.rented import OF_SERVER, WantedServer, WantedVolume, build_labels
from nvoi.providers.scaleway.api import (
    ADDRESS,
    FIREWALL,
    GB,
    NETWORK,
    SERVER,
    VOLUME,
    VPC,
    Json,
    Kind,
    Resource,
    ScalewayAPI,
    find_birth,
)
from nvoi.providers.scaleway.firewall import ensure_firewall
from nvoi.providers.scaleway.inventory import (
    Inventory,
    build_root,
    build_tags,
    find_nic,
    find_public_ip,
    find_root,
    list_attached,
    list_private_ips,
)
from nvoi.providers.scaleway.offers import DISK_IOPS, ROOT_SIZE
from nvoi.providers.scaleway.progress import (
    get_server,
    is_stopped,
    list_unconnected,
    list_unmade,
    list_unready,
    list_volumes,
)
from nvoi.providers.scaleway.refusals import AGAIN, find_type
from nvoi.providers.scaleway.removal import Remover
from nvoi.providers.scaleway.situation import Situation
from nvoi.waiting import NotReadyError

#: The key of the user data that cloud-init reads.
CLOUD_INIT = "cloud-init"
TEXT = {"Content-Type": "text/plain"}


class Maker:
    """One run of making. ``inventory`` is what there is as it goes on."""

    def __init__(self, api: ScalewayAPI, situation: Situation, region: str) -> None:
        self.api, self.situation, self.region = api, situation, region
        self.inventory = situation.inventory
        self.application = self.inventory.application
        #: The ports that only the release before may need, by the groups that let them in.
        self.former: dict[Resource, list[int]] = {}
        self._made: list[str] = []

    def ensure_all(self) -> Inventory:
        """What there is once every server of the config runs with all that it needs.

        Raises:
            NvoiError: something could not be had; it says what was made.
        """
        with telling_made(self._made):
            network = self._ensure_network()
            zones = dict.fromkeys(map(self.inventory.get_place, self.inventory.wanted))
            firewalls = work_on_all([*zones], self._ensure_firewall)
            self._note([*firewalls.values(), network])
            self._do(lambda one: self._ensure_parts(one, firewalls[self.inventory.get_place(one)]))
            self._wait(VOLUME, "disks", lambda: list_unmade(self.inventory))
            self._do(lambda one: self._connect(one, firewalls, network))
            self._wait(SERVER, "disks of servers", lambda: list_unconnected(self.inventory))
            self._do(self._start)
            self._wait(SERVER, "servers", lambda: list_unready(self.inventory, network))
            return self._add_private_ips(network)

    # What servers share

    def _ensure_network(self) -> Resource:
        name, labels = build_network_name(self.application.name), self.inventory.own
        network, vpc = self.inventory.find(NETWORK, name), self.inventory.find(VPC, name)
        if vpc is not None:
            vpc = self._label(vpc, labels)
        if network is not None:
            return self._label(network, labels)
        if vpc is None:
            vpc = self._make(VPC, self.region, {"name": name, "tags": build_tags(None, labels)})
        body = {
            "name": name,
            "tags": build_tags(None, labels),
            "vpc_id": vpc.id,
            "subnets": [rented.SUBNET],
        }
        return self._make(NETWORK, self.region, body)

    def _ensure_firewall(self, zone: str) -> Resource:
        known = {one.id for one in self.inventory.list(FIREWALL)}
        group, drift, former = ensure_firewall(self.api, self.inventory, zone)
        if former:
            self.former[group] = former
        if group.id not in known:
            self._tell(group)
        for text in drift:
            log.info("%s: %s", group, text)
        return group

    # A server and its disks

    def _ensure_parts(self, wanted: WantedServer, firewall: Resource) -> list[Resource]:
        """The server, its disks and its address, each by itself; a new server does not run yet.

        The address is made last: there is none whose server nobody would see.
        """
        labels, zone = build_labels(self.application, wanted.group), firewall.place
        parts = [self._ensure_volume(volume, zone, labels) for volume in wanted.volumes]
        server = self.inventory.find_server(wanted.name)
        server = server or self._make_server(wanted, labels, firewall)
        # Before the server: while that is nobody's, the next run looks for them again.
        marks = {**self.inventory.own, OF_SERVER: server.name}
        parts += [self._label(one, marks) for one in self.inventory.list_free_addresses(server)]
        server = self._label(server, labels)
        parts += self._ensure_root(server)
        if find_public_ip(server) is None:
            parts.append(self._ensure_address(server))
            server = self.api.find(server) or server
        return [*parts, server]

    def _ensure_volume(
        self, wanted: WantedVolume, zone: str, labels: Mapping[str, str]
    ) -> Resource:
        volume = self.inventory.find_data(wanted.name)
        if volume is None:
            body = {
                "name": wanted.name,
                "tags": build_tags(None, labels),
                "from_empty": {"size": wanted.size * GB},
                "perf_iops": DISK_IOPS,
            }
            return self._make(VOLUME, zone, body)
        volume = self._label(volume, labels)
        if volume.data["size"] < wanted.size * GB:
            log.info("%s grows to %d GB", volume, wanted.size)
            volume = self.api.update(volume, {"size": wanted.size * GB})
        return volume

    def _ensure_address(self, server: Resource) -> Resource:
        address = self.inventory.find_address(server.name, server.place)
        if address is not None:
            return self.api.update(address, {"server": server.id})
        labels = {**self.inventory.own, OF_SERVER: server.name}
        body = {
            "type": "routed_ipv4",
            "tags": build_tags(None, labels),
            "server": server.id,
        }
        return self._make(
            ADDRESS, server.place, body, lambda one: labels.items() <= one.labels.items()
        )

    def _make_server(
        self, wanted: WantedServer, labels: Mapping[str, str], firewall: Resource
    ) -> Resource:
        zone, catalog = firewall.place, self.situation.catalog
        body = {
            "name": wanted.name,
            "commercial_type": wanted.type,
            "image": self.situation.images[zone, wanted.type],
            "tags": build_tags(None, labels),
            "security_group": firewall.id,
            "dynamic_ip_required": False,
            "protected": False,
            "volumes": {"0": {"volume_type": "sbs_volume", "size": ROOT_SIZE * GB}},
        }
        try:
            return self._make(SERVER, zone, body)
        except RequestError as error:
            offer = catalog.find_offer(wanted.type, zone)
            if find_type(error) != "out_of_stock" or offer is None:
                raise
            raise NvoiError(catalog.describe_shortage(offer), hint=AGAIN) from error

    def _ensure_root(self, server: Resource) -> list[Resource]:
        """The disk that the server starts from, marked: it outlives the server."""
        root = find_root(server)
        if root is None:
            return []
        labels = {**self.inventory.own, OF_SERVER: server.name}
        found = next((one for one in self.inventory.list_roots() if one.id == root), None)
        if found is not None and labels.items() <= found.labels.items():
            return [found]
        disk = found or build_root(server, root)
        return [self.api.update(disk, {"name": disk.name, "tags": build_tags(found, labels)})]

    def _connect(
        self, wanted: WantedServer, firewalls: Mapping[str, Resource], network: Resource
    ) -> list[Resource]:
        """Have the server its firewall, its place in the network, and its disks."""
        server = get_server(self.inventory, wanted)
        firewall = firewalls[server.place]
        changed = []
        if (server.data.get("security_group") or {}).get("id") != firewall.id:
            body = {"security_group": {"id": firewall.id, "name": firewall.name}}
            changed.append(self.api.update(server, body))
        if find_nic(server, network) is None:
            self.api.act(
                server,
                "private_nics",
                {"private_network_id": network.id},
                f"join {network} by",
                lambda now: now is not None and find_nic(now, network) is not None,
            )
        for volume in list_volumes(self.inventory, wanted):
            if volume.id not in list_attached(server):
                self._attach(server, volume)
        return changed

    def _attach(self, server: Resource, volume: Resource) -> None:
        for one in volume.data.get("references") or ():
            if one.get("product_resource_id") not in {None, server.id}:
                raise NvoiError(
                    f"{volume} is attached to another server than {server.name}: "
                    f"{one['product_resource_id']}",
                    hint="detach it in Scaleway's console",
                )
        self.api.act(
            server,
            "attach-volume",
            {"volume_id": volume.id, "volume_type": "sbs_volume"},
            f"attach {volume} to",
            lambda now: now is not None and volume.id in list_attached(now),
        )

    def _start(self, wanted: WantedServer) -> list[Resource]:
        """Start a server that does not run. A new one learns before who may log in."""
        server = get_server(self.inventory, wanted)
        if not is_stopped(server):
            return []
        path = f"{server.path}/user_data"
        keys = self.api.ask("GET", path, f"read the user data of {server}").get("user_data") or ()
        if CLOUD_INIT not in keys:
            server = self._give_user_data(server, f"{path}/{CLOUD_INIT}")
        self.api.act(
            server,
            "action",
            {"action": "poweron"},
            "start",
            lambda now: now is not None and not is_stopped(now),
        )
        return [server]

    def _give_user_data(self, server: Resource, path: str) -> Resource:
        """Its host key is noted first: what is once there is what it starts with."""
        boot = prepare_boot(self.application, server.name)
        server = self.api.update(server, {"tags": build_tags(server, boot.labels)})
        what = f"give {server} its user data"
        self.api.ask("PATCH", path, what, body=boot.user_data.encode(), headers=TEXT)
        return server

    # What takes its time

    def _wait(self, kind: Kind, what: str, list_pending: Callable[[], list[str]]) -> None:
        """Read everything of a kind anew until nothing is pending.

        Raises:
            NvoiError: it took too long; it says what was seen last.
        """

        def look() -> None:
            if list_pending():
                self._refresh(kind)
            if pending := list_pending():
                raise NotReadyError(", ".join(pending))

        seconds = self.api.pace.deadline
        try:
            self.api.wait(look, f"{what} at Scaleway", seconds)
        except NotReadyError as last:
            message = f"{what} at Scaleway are not ready after {seconds:.0f} s: {last}"
            raise NvoiError(message, hint=AGAIN) from last

    def _refresh(self, kind: Kind) -> None:
        known = {one.id for one in self.inventory.list(kind)}
        zones = list(dict.fromkeys(one.place for one in self.inventory.list(kind)))
        tags = build_tags(None, dict([rented.MANAGED_BY]))
        found = work_on_all(
            zones, lambda zone: self.api.list_resources(kind, zone, {"tags": ",".join(tags)})
        )
        self._note([one for listed in found.values() for one in listed if one.id in known])

    def _add_private_ips(self, network: Resource) -> Inventory:
        nics = [find_nic(server, network) for server in self.inventory.servers]
        if any(nic and nic not in self.inventory.private_ips for nic in nics):
            ips = list_private_ips(self.api, network)
            self.inventory = replace(self.inventory, private_ips=ips)
        return self.inventory

    # What was made

    def _do(self, work: Callable[[WantedServer], list[Resource]]) -> None:
        for resources in work_on_all(self.inventory.wanted, work).values():
            self._note(resources)

    def _note(self, resources: Sequence[Resource]) -> None:
        self.inventory = self.inventory.replace(resources)

    def _make(
        self,
        kind: Kind,
        place: str,
        body: Json,
        is_it: Callable[[Resource], bool] | None = None,
    ) -> Resource:
        def is_same(one: Resource) -> bool:
            is_own = self.inventory.is_own(one) and OF_SERVER not in one.labels
            return is_own and one.name == body["name"]

        resource = self.api.create(kind, place, body, is_it or is_same)
        self._check_alone(resource, is_it or is_same)
        self._tell(resource)
        return resource

    def _check_alone(self, made: Resource, is_it: Callable[[Resource], bool]) -> None:
        """See that no other run has made the same meanwhile: the API lets two have one name.

        Raises:
            NvoiError: one has. What this run made second is given back.
        """
        listed = self.api.list_resources(made.kind, made.place)
        others = [one for one in listed if one.id != made.id and is_it(one)]
        birth = find_birth(made.data)
        if not any(find_birth(one.data) <= birth for one in others):
            return
        remover = Remover(self.api, self.inventory)
        remover.delete_all([made])
        left = f"; left at Scaleway: {', '.join(map(str, remover.left.values()))}"
        raise NvoiError(
            f"another run makes {made} at the same time{left if remover.left else ''}",
            hint="deploy again once it has ended",
        )

    def _tell(self, resource: Resource) -> None:
        self._made.append(str(resource))
        log.info("made %s", resource)

    def _label(self, resource: Resource, labels: Mapping[str, str]) -> Resource:
        """It with ``labels``; what the gem made bears none."""
        if labels.items() <= resource.labels.items():
            return resource
        log.info("takes over %s", resource)
        return self.api.update(resource, {"tags": build_tags(resource, labels)})
