"""Hetzner's API: one project, its servers and all that they need.

From Hetzner's public API reference. It refuses more than that says where that helps: a network is
not deleted while servers are in it. Background actions go on by `polls` looks of any kind, and by
time where a test measures that.
"""

from __future__ import annotations

import ipaddress
import re
import time
from base64 import b64decode
from collections import defaultdict
from collections.abc import Callable, Iterator
from hashlib import md5
from itertools import count
from typing import Any

from tests.fakes.clouds.hetzner_catalog import IMAGES, LOCATIONS, build_pricing, build_types
from tests.fakes.clouds.server import (
    Answer,
    Call,
    Json,
    Progress,
    Project,
    Refused,
    route,
)

TOKEN, READING_TOKEN = "hetzner-token-for-tests", "hetzner-token-that-only-reads"
CREATED = "2026-01-30T23:50:00Z"
#: Hetzner's API reference, "Labels".
VALUE = re.compile(r"|[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
USER_DATA_BYTES = 32 * 1024
HOURLY = 3600
SERVERS, VOLUMES, NETWORKS, FIREWALLS, KEYS = (
    "servers",
    "volumes",
    "networks",
    "firewalls",
    "ssh_keys",
)
KINDS = (SERVERS, VOLUMES, NETWORKS, FIREWALLS, KEYS)


class Hetzner(Project):
    """A project.

    Attributes:
        user_data: what servers were given, by their ids.
        types: what is sold; a test takes some of it off the shelves.
        limits: how many of a kind the project may have.
        failing: commands of which the next action fails, with code and message.
    """

    base, kinds = "/v1", KINDS

    def __init__(self, **options: Any) -> None:
        self.actions: dict[int, Json] = {}
        self.user_data: dict[int, str] = {}
        self.types, self.pricing = build_types(), build_pricing()
        self.limits: dict[str, int] = {}
        self.failing: dict[str, tuple[str, str]] = {}
        self.remaining = HOURLY
        self._going: dict[int, tuple[Progress, Callable[[], None]]] = {}
        #: Each kind is counted by itself.
        self._ids: dict[str, Iterator[int]] = defaultdict(lambda: count(1))
        super().__init__(**options)

    # What a test asks for

    def add_others(self, count: int) -> None:
        """Resources that are not nvoi's: so many, spread over all kinds."""
        for index in range(count):
            kind = KINDS[index % len(KINDS)]
            labels = [{}, {"team": "a"}, {"managed-by": "terraform"}][index % 3]
            self.add_other(kind, f"other-{kind}-{index}".replace("_", "-"), labels)

    def add_other(self, kind: str, name: str, labels: Json) -> Json:
        return self._add(kind, name, labels, **SHAPES[kind]())

    def finish_all(self) -> None:
        """All that goes on ends, however long it would take."""
        for _, finish in list(self._going.values()):
            finish()
        self._going.clear()

    # What the API says of itself

    def authorize(self, call: Call) -> None:
        token = call.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in {TOKEN, READING_TOKEN}:
            raise Refused(401, "unauthorized", "unable to authenticate")
        if token == READING_TOKEN and not call.is_reading:
            message = "The token is only allowed to perform GET requests"
            raise Refused(403, "token_readonly", message)
        if call.is_reading:
            self._advance()

    def add_headers(self) -> dict[str, str]:
        self.remaining = max(self.remaining - 1, 0)
        return {
            "RateLimit-Limit": str(HOURLY),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(int(time.time())),
        }

    # Reading

    @route("GET", r"/(servers|volumes|networks|firewalls|ssh_keys)")
    def list_things(self, call: Call, kind: str) -> Json:
        found = [one for one in self.things[kind].values() if matches(one, call)]
        return paginate(kind, found, call)

    @route("GET", r"/(server_type|location|image)s")
    def list_sold(self, call: Call, kind: str) -> Json:
        sold = {"server_type": self.types, "location": LOCATIONS, "image": IMAGES}[kind]
        found = [one for one in sold if matches(one, call)]
        architectures = call.query.get("architecture")
        if architectures:
            found = [one for one in found if one["architecture"] in architectures]
        return paginate(f"{kind}s", found, call)

    @route("GET", r"/pricing")
    def show_pricing(self, call: Call) -> Json:
        return {"pricing": self.pricing}

    @route("GET", r"/actions")
    def list_actions(self, call: Call) -> Json:
        ids = {int(text) for text in call.query.get("id", [])}
        if not ids:
            raise Refused(410, "deprecated_api_endpoint", "Unable to fetch all actions")
        found = [one for number, one in self.actions.items() if number in ids]
        return paginate("actions", found, call)

    # Making

    @route("POST", r"/networks")
    def make_network(self, call: Call) -> Answer:
        body = call.json
        network = self._make(NETWORKS, body, ip_range=body["ip_range"], subnets=[], servers=[])
        for subnet in body.get("subnets", []):
            self._add_subnet(network, subnet)
        return Answer(201, {"network": network})

    @route("POST", r"/networks/(\d+)/actions/add_subnet")
    def add_subnet(self, call: Call, number: str) -> Answer:
        network = self._get(NETWORKS, number)
        self._add_subnet(network, call.json)
        return self._act("add_subnet", NETWORKS, network)

    def _add_subnet(self, network: Json, subnet: Json) -> None:
        new, whole = (ipaddress.ip_network(one["ip_range"]) for one in (subnet, network))
        if not new.subnet_of(whole):  # type: ignore[arg-type]
            raise Refused(422, "invalid_input", "subnet is not in the network's range")
        for one in network["subnets"]:
            if new.overlaps(ipaddress.ip_network(one["ip_range"])):
                raise Refused(409, "conflict_subnet", "subnets overlap")
        if subnet["network_zone"] not in {one["network_zone"] for one in LOCATIONS}:
            raise Refused(422, "invalid_input", "invalid input in field 'network_zone'")
        gateway = str(whole[1])
        network["subnets"].append({**subnet, "gateway": gateway, "vswitch_id": None})

    @route("POST", r"/firewalls")
    def make_firewall(self, call: Call) -> Answer:
        rules = [complete_rule(rule) for rule in call.json.get("rules", [])]
        firewall = self._make(FIREWALLS, call.json, rules=rules, applied_to=[])
        return Answer(201, {"firewall": firewall, "actions": []})

    @route("POST", r"/firewalls/(\d+)/actions/set_rules")
    def set_rules(self, call: Call, number: str) -> Answer:
        firewall = self._get(FIREWALLS, number)
        firewall["rules"] = [complete_rule(rule) for rule in call.json["rules"]]
        return Answer(201, {"actions": [self._start("set_firewall_rules", FIREWALLS, firewall)]})

    @route("POST", r"/firewalls/(\d+)/actions/apply_to_resources")
    def apply_firewall(self, call: Call, number: str) -> Answer:
        firewall = self._get(FIREWALLS, number)
        for resource in call.json["apply_to"]:
            self._protect(self._get(SERVERS, resource["server"]["id"]), firewall)
        return Answer(201, {"actions": [self._start("apply_firewall", FIREWALLS, firewall)]})

    def _protect(self, server: Json, firewall: Json) -> None:
        walls = server["public_net"]["firewalls"]
        if any(one["id"] == firewall["id"] for one in walls):
            raise Refused(422, "firewall_already_applied", "firewall was already applied")
        walls.append({"id": firewall["id"], "status": "applied"})
        firewall["applied_to"].append({"type": "server", "server": {"id": server["id"]}})

    @route("POST", r"/ssh_keys")
    def make_key(self, call: Call) -> Answer:
        key = call.json["public_key"]
        fingerprint = build_fingerprint(key)
        if any(one["fingerprint"] == fingerprint for one in self.things[KEYS].values()):
            raise Refused(409, "uniqueness_error", "SSH key not unique")
        made = self._make(KEYS, call.json, public_key=key, fingerprint=fingerprint)
        return Answer(201, {"ssh_key": made})

    @route("POST", r"/volumes")
    def make_volume(self, call: Call) -> Answer:
        body = call.json
        check_size(body["size"])
        volume = self._make(
            VOLUMES,
            body,
            size=body["size"],
            location=find_named(LOCATIONS, body["location"]),
            server=None,
            status="creating",
            format=body.get("format"),
        )
        volume["linux_device"] = f"/dev/disk/by-id/scsi-0HC_Volume_{volume['id']}"

        def end() -> None:
            volume["status"] = "available"

        def give_up() -> None:
            del self.things[VOLUMES][volume["id"]]

        action = self._start("create_volume", VOLUMES, volume, end, give_up)
        return Answer(201, {"volume": volume, "action": action, "next_actions": []})

    @route("POST", r"/volumes/(\d+)/actions/attach")
    def attach_volume(self, call: Call, number: str) -> Answer:
        volume, server = self._get(VOLUMES, number), self._get(SERVERS, call.json["server"])
        if volume["server"] is not None:
            raise Refused(422, "volume_already_attached", "volume is already attached")
        if volume["location"]["name"] != server["location"]["name"]:
            raise Refused(422, "invalid_input", "server and volume are in different locations")
        self._check_free(server)

        def end() -> None:
            volume["server"] = server["id"]
            server["volumes"].append(volume["id"])

        return self._act("attach_volume", VOLUMES, volume, end)

    @route("POST", r"/volumes/(\d+)/actions/detach")
    def detach_volume(self, call: Call, number: str) -> Answer:
        volume = self._get(VOLUMES, number)
        if volume["server"] is None:
            raise Refused(422, "volume_not_attached", "volume is not attached")
        return self._act("detach_volume", VOLUMES, volume, lambda: self._detach(volume))

    def _detach(self, volume: Json) -> None:
        server = self.things[SERVERS].get(volume["server"])
        if server is not None:
            server["volumes"].remove(volume["id"])
        volume["server"] = None

    @route("POST", r"/volumes/(\d+)/actions/resize")
    def resize_volume(self, call: Call, number: str) -> Answer:
        volume, size = self._get(VOLUMES, number), call.json["size"]
        check_size(size)
        if size <= volume["size"]:
            raise Refused(422, "invalid_input", "new size must be larger")
        return self._act("resize_volume", VOLUMES, volume, lambda: volume.update(size=size))

    @route("POST", r"/servers")
    def make_server(self, call: Call) -> Answer:
        body = call.json
        type_, location = self._check_sold(body)
        networks = [self._get(NETWORKS, number) for number in body.get("networks", [])]
        walls = [self._get(FIREWALLS, one["firewall"]) for one in body.get("firewalls", [])]
        for key in body.get("ssh_keys", []):
            self._get(KEYS, key)
        if not HOSTNAME.fullmatch(body["name"]):
            raise Refused(422, "invalid_input", "invalid input in field 'name'")
        if len(body.get("user_data", "").encode()) > USER_DATA_BYTES:
            raise Refused(422, "invalid_input", "invalid input in field 'user_data'")
        server = self._make(SERVERS, body, **build_server_shape(type_, location))
        number = server["id"]
        server["public_net"]["ipv4"]["ip"] = str(ipaddress.ip_address("198.18.0.0") + number)
        self.user_data[number] = body.get("user_data", "")
        for wall in walls:
            self._protect(server, wall)
        for network in networks:
            self._connect(server, network)
        server["locked"] = True
        action = self._start(
            "create_server",
            SERVERS,
            server,
            lambda: server.update(locked=False, status="off"),
            lambda: self._forget_server(server),
        )
        start = self._start("start_server", SERVERS, server, lambda: self._start_server(server))
        answer = {"server": server, "action": action, "next_actions": [start]}
        return Answer(201, {**answer, "root_password": None})

    def _check_sold(self, body: Json) -> tuple[Json, Json]:
        type_ = find_named(self.types, body["server_type"])
        location = find_named(LOCATIONS, body["location"])
        image = next((one for one in IMAGES if one["id"] == body["image"]), None)
        if image is None or image["architecture"] != type_["architecture"]:
            raise Refused(422, "invalid_input", "image and server type do not fit")
        place = next((one for one in type_["locations"] if one["name"] == location["name"]), None)
        if place is None:
            raise Refused(422, "invalid_input", "unsupported location for server type")
        if not place["available"]:
            raise Refused(412, "resource_unavailable", "server type is not available")
        return type_, location

    def _connect(self, server: Json, network: Json) -> None:
        if any(one["network"] == network["id"] for one in server["private_net"]):
            raise Refused(409, "server_already_attached", "server is already in the network")
        taken = {
            one["ip"] for other in self.things[SERVERS].values() for one in other["private_net"]
        }
        subnet = next(
            (
                one
                for one in network["subnets"]
                if one["network_zone"] == server["location"]["network_zone"]
            ),
            None,
        )
        if subnet is None:
            raise Refused(422, "no_subnet_available", "no subnet in the server's network zone")
        hosts = (str(one) for one in ipaddress.ip_network(subnet["ip_range"]).hosts())
        address = next(one for one in hosts if one not in taken and one != subnet["gateway"])
        server["private_net"].append(
            {"network": network["id"], "ip": address, "alias_ips": [], "mac_address": "86:00:00:00"}
        )
        network["servers"].append(server["id"])

    def _start_server(self, server: Json) -> None:
        if server["id"] in self.things[SERVERS]:
            server.update(status="running")
            self.on_start(server)

    @route("POST", r"/servers/(\d+)/actions/attach_to_network")
    def connect_server(self, call: Call, number: str) -> Answer:
        server, network = self._get(SERVERS, number), self._get(NETWORKS, call.json["network"])
        self._check_free(server)
        self._connect(server, network)
        return self._act("attach_to_network", SERVERS, server)

    @route("POST", r"/servers/(\d+)/actions/poweron")
    def start_server(self, call: Call, number: str) -> Answer:
        server = self._get(SERVERS, number)
        self._check_free(server)
        return self._act("start_server", SERVERS, server, lambda: self._start_server(server))

    # Changing and deleting

    @route("PUT", r"/(servers|volumes|networks|firewalls|ssh_keys)/(\d+)")
    def update(self, call: Call, kind: str, number: str) -> Json:
        thing = self._get(kind, number)
        check_labels(call.json.get("labels", {}))
        thing.update({key: call.json[key] for key in ("labels", "name") if key in call.json})
        return {kind.removesuffix("s"): thing}

    @route("DELETE", r"/servers/(\d+)")
    def delete_server(self, call: Call, number: str) -> Json:
        server = self._get(SERVERS, number)
        check_protection(server)
        self._check_free(server)
        server["locked"] = True

        def give_up() -> None:
            server["locked"] = False

        def end() -> None:
            self._forget_server(server)
            self.on_delete(server)

        return {"action": self._start("delete_server", SERVERS, server, end, give_up)}

    def _forget_server(self, server: Json) -> None:
        """It leaves what it was in; what was attached to it stays."""
        self.things[SERVERS].pop(server["id"], None)
        for volume in self.things[VOLUMES].values():
            if volume["server"] == server["id"]:
                volume["server"] = None
        for network in self.things[NETWORKS].values():
            network["servers"] = [one for one in network["servers"] if one != server["id"]]
        for wall in self.things[FIREWALLS].values():
            wall["applied_to"] = [
                one for one in wall["applied_to"] if one["server"]["id"] != server["id"]
            ]

    @route("DELETE", r"/(volumes|networks|firewalls|ssh_keys)/(\d+)")
    def delete(self, call: Call, kind: str, number: str) -> Answer:
        thing = self._get(kind, number)
        check_protection(thing)
        users = {VOLUMES: "server", NETWORKS: "servers", FIREWALLS: "applied_to"}.get(kind)
        if users and thing[users]:
            raise Refused(422, "resource_in_use", f"{kind.removesuffix('s')} is still in use")
        del self.things[kind][thing["id"]]
        return Answer(204)

    # What all of them need

    def _get(self, kind: str, number: str | int) -> Json:
        try:
            return self.things[kind][int(number)]
        except (KeyError, ValueError):
            raise Refused(404, "not_found", f"{kind} with ID '{number}' not found") from None

    def _make(self, kind: str, body: Json, **shape: Any) -> Json:
        labels = body.get("labels", {})
        check_labels(labels)
        if any(one["name"] == body["name"] for one in self.things[kind].values()):
            raise Refused(409, "uniqueness_error", f"{kind.removesuffix('s')} name is already used")
        if len(self.things[kind]) >= self.limits.get(kind, 1_000_000):
            raise Refused(403, "resource_limit_exceeded", f"{kind} limit exceeded")
        return self._add(kind, body["name"], labels, **shape)

    def _add(self, kind: str, name: str, labels: Json, **shape: Any) -> Json:
        number = next(self._ids[kind])
        head = {"id": number, "name": name, "labels": dict(labels), "created": CREATED}
        protection = {} if kind in {FIREWALLS, KEYS} else {"protection": {"delete": False}}
        self.things[kind][number] = {**head, **protection, **shape}
        return self.things[kind][number]

    def _check_free(self, server: Json) -> None:
        if server["locked"]:
            raise Refused(423, "locked", "server is locked by another action")

    def _act(
        self, command: str, kind: str, thing: Json, end: Callable[[], None] = lambda: None
    ) -> Answer:
        return Answer(201, {"action": self._start(command, kind, thing, end)})

    def _start(
        self,
        command: str,
        kind: str,
        thing: Json,
        end: Callable[[], None] = lambda: None,
        give_up: Callable[[], None] = lambda: None,
    ) -> Json:
        number = next(self._ids["actions"])
        action: Json = {
            "id": number,
            "command": command,
            "status": "running",
            "progress": 0,
            "started": CREATED,
            "finished": None,
            "resources": [{"id": thing["id"], "type": kind.removesuffix("s")}],
            "error": None,
        }
        self.actions[number] = action

        def finish() -> None:
            failure = self.failing.pop(command, None)
            action.update(status="success", progress=100, finished=CREATED)
            if failure is None:
                end()
                return
            code, message = failure
            action.update(status="error", error={"code": code, "message": message})
            give_up()

        self._going[number] = self.start_progress(), finish
        return dict(action)

    def _advance(self) -> None:
        """All that goes on comes nearer to its end; what was begun first ends first."""
        for number, (progress, finish) in list(self._going.items()):
            if progress.look():
                del self._going[number]
                finish()
            else:
                self.actions[number]["progress"] = 50


def build_server_shape(type_: Json, location: Json) -> Json:
    return {
        "status": "initializing",
        "locked": False,
        "server_type": type_,
        "location": location,
        "protection": {"delete": False},
        "volumes": [],
        "private_net": [],
        "public_net": {
            "ipv4": {"id": 1, "ip": "198.18.0.0", "blocked": False, "dns_ptr": "a.example"},
            "ipv6": {"id": 2, "ip": "2001:db8::/64", "blocked": False, "dns_ptr": []},
            "floating_ips": [],
            "firewalls": [],
        },
    }


#: Resources of others, as they are made behind the API's back.
SHAPES: dict[str, Callable[[], Json]] = {
    SERVERS: lambda: {**build_server_shape(build_types()[0], LOCATIONS[0]), "status": "running"},
    VOLUMES: lambda: {
        "size": 10,
        "location": LOCATIONS[0],
        "server": None,
        "status": "available",
        "format": "ext4",
        "linux_device": "/dev/disk/by-id/scsi-0HC_Volume_other",
    },
    NETWORKS: lambda: {
        "ip_range": "10.0.0.0/8",
        "subnets": [],
        "servers": [],
    },
    FIREWALLS: lambda: {"rules": [], "applied_to": []},
    KEYS: lambda: {"public_key": "ssh-ed25519 AAAA", "fingerprint": "none"},
}


def matches(thing: Json, call: Call) -> bool:
    name, selector = call.find("name"), call.find("label_selector")
    fingerprint = call.find("fingerprint")
    wanted = dict(part.split("=", 1) for part in selector.split(",")) if selector else {}
    labels = thing.get("labels", {})
    return (
        (name is None or thing["name"] == name)
        and (fingerprint is None or thing.get("fingerprint") == fingerprint)
        and all(labels.get(key) == value for key, value in wanted.items())
    )


def paginate(kind: str, found: list[Json], call: Call) -> Json:
    page, size = call.get_number("page", 1), min(call.get_number("per_page", 25), 50)
    begin = (page - 1) * size
    last = max(-(-len(found) // size), 1)
    pagination = {
        "page": page,
        "per_page": size,
        "previous_page": page - 1 if page > 1 else None,
        "next_page": page + 1 if page < last else None,
        "last_page": last,
        "total_entries": len(found),
    }
    return {kind: found[begin : begin + size], "meta": {"pagination": pagination}}


def find_named(sold: list[Json], name: str) -> Json:
    for one in sold:
        if name in {one["name"], one["id"]}:
            return one
    raise Refused(422, "invalid_input", f"there is no {name}")


def complete_rule(rule: Json) -> Json:
    if rule["protocol"] in {"tcp", "udp"} and not rule.get("port"):
        raise Refused(422, "invalid_input", "a port is needed")
    empty: Json = {"source_ips": [], "destination_ips": [], "port": None, "description": None}
    return {**empty, **rule}


def check_size(size: int) -> None:
    if not 10 <= size <= 10240:
        raise Refused(422, "invalid_input", "invalid input in field 'size'")


def check_labels(labels: Json) -> None:
    for value in labels.values():
        if not VALUE.fullmatch(value):
            raise Refused(422, "invalid_input", f"'{value}' is no value of a label")


def check_protection(thing: Json) -> None:
    if thing.get("protection", {}).get("delete"):
        raise Refused(403, "protected", "resource is protected against deletion")


def build_fingerprint(public_key: str) -> str:
    try:
        digest = md5(b64decode(public_key.split()[1], validate=True)).hexdigest()
    except (ValueError, IndexError):
        raise Refused(422, "invalid_input", "invalid input in field 'public_key'") from None
    return ":".join(digest[begin : begin + 2] for begin in range(0, len(digest), 2))
