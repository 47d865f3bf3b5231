"""Scaleway's APIs of Instances, Block Storage, VPC, IPAM, Marketplace, IAM, Account: one project.

From Scaleway's public API reference, and the answers that its own clients' tests have recorded.
What goes on in the background comes nearer to its end with each look.
"""

from __future__ import annotations

import ipaddress
import itertools
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from tests.fakes.clouds.scaleway_catalog import (
    IMAGE_NAME,
    IMAGES,
    LABEL,
    VOLUME_TYPES,
    ZONES,
    build_images,
    build_types,
)
from tests.fakes.clouds.server import (
    FIRST_ADDRESS,
    Answer,
    Call,
    Json,
    Progress,
    Project,
    Refused,
    route,
)

KEY = "5cc0ffee-0000-4000-8000-5ca1e3a75ec7"
PROJECT, ORGANIZATION = (
    "105bdce1-64c0-48ab-899d-868455867ecf",
    "205bdce1-64c0-48ab-899d-868455867ecf",
)
SERVERS, ADDRESSES, FIREWALLS = "servers", "ips", "security_groups"
VOLUMES, NETWORKS, VPCS, PRIVATE_IPS = "volumes", "private_networks", "vpcs", "ipam_ips"
KINDS = (SERVERS, ADDRESSES, FIREWALLS, VOLUMES, NETWORKS, VPCS)
SINGULAR = {SERVERS: "server", ADDRESSES: "ip", FIREWALLS: "security_group"}
#: What permission sets let one do, by the paths of APIs.
RIGHTS = (
    ("/private_nics", "PrivateNetworksFullAccess", "private_network"),
    ("/private-networks", "PrivateNetworksFullAccess", "private_network"),
    ("/vpcs", "VPCFullAccess", "vpc"),
    ("/ipam/", "IPAMReadOnly", "ip"),
    ("/block/", "BlockStorageFullAccess", "volume"),
    ("/instance/", "InstancesFullAccess", "compute"),
    ("/account/", "ProjectReadOnly", "account_project"),
    ("/iam/", "OrganizationReadOnly", "quota"),
)
ALL_RIGHTS = frozenset(one for _, one, _ in RIGHTS)
#: Mail is blocked by rules that nobody can edit.
MAIL = tuple((port, addresses) for addresses in ("0.0.0.0/0", "::/0") for port in (25, 465, 587))
GB, MANY = 10**9, 1000
ZONE, REGION, ID = r"([a-z]{2}-[a-z]{3}-\d)", r"([a-z]{2}-[a-z]{3})", r"([0-9a-f-]{36})"
INSTANCE, BLOCK = f"/instance/v1/zones/{ZONE}", f"/block/v1/zones/{ZONE}"
VPC, IPAM = f"/vpc/v2/regions/{REGION}", f"/ipam/v1/regions/{REGION}"


class Scaleway(Project):
    """A project.

    Attributes:
        rules: of security groups, by their ids.
        first_address: the public one of the first server.
        user_data: what servers were given, by their ids and its keys.
        types: what is sold in every zone; `shortages` are zones and types that are out of stock.
        limits: how many of a kind the project may have.
        quotas: how many servers of a type the organization may have in a zone, where not MANY,
            or in the region, where said.
        rights: the permission sets of the API key.
        largest_page: entries that an answer has at most, whatever is asked for.
    """

    kinds = KINDS

    def __init__(self, **options: Any) -> None:
        self.rules: dict[str, list[Json]] = {}
        self.user_data: dict[str, dict[str, str]] = {}
        self.types, self.shortages = build_types(), set[tuple[str, str]]()
        self.limits: dict[str, int] = {}
        self.quotas: dict[tuple[str, str], int] = {}
        self.rights = set(ALL_RIGHTS)
        self.largest_page = 100
        self._going: list[tuple[Progress, Callable[[], None]]] = []
        self._count, self._addresses = 0, itertools.count()
        self.first_address = FIRST_ADDRESS
        super().__init__(**options)
        self.things[PRIVATE_IPS] = {}

    # What a test asks for

    def find_address(self, server: Json) -> str:
        """The public address of a server."""
        addresses = self.things[ADDRESSES].values()
        return next(str(one["address"]) for one in addresses if one["server"] == server["id"])

    def find_private_ip(self, nic: Json) -> str:
        """The IPv4 address of an interface in its network."""
        first, *_ = (self.things[PRIVATE_IPS][number] for number in nic["ipam_ip_ids"])
        return str(first["address"].partition("/")[0])

    def add(self, kind: str, place: str, name: str, tags: Iterable[str]) -> Json:
        """Something that others have made."""
        made = self._add(kind, place, {"name": name, "tags": tags}, **SHAPES[kind])
        if kind == FIREWALLS:
            self.rules[made["id"]] = []
        return made

    def add_others(self, count: int) -> None:
        """Resources that are not nvoi's: so many, spread over all kinds."""
        for index in range(count):
            kind = KINDS[index % len(KINDS)]
            tags = [[], ["team=a"], ["managed-by=terraform", "plain"]][index % 3]
            place = "fr-par" if kind in {NETWORKS, VPCS} else "fr-par-1"
            self.add(kind, place, f"other-{index}", tags)

    # What the API says of itself

    def authorize(self, call: Call) -> None:
        if call.headers.get("X-Auth-Token") != KEY:
            reason = {"method": "api_key", "reason": "not_found"}
            raise Refused(401, "denied_authentication", "authentication is denied", **reason)
        for path, right, resource in RIGHTS:
            if path in call.path:
                if right not in self.rights:
                    action = "read" if call.is_reading else "write"
                    details = [{"action": action, "resource": resource}]
                    raise Refused(
                        403, "permissions_denied", "insufficient permissions", details=details
                    )
                break
        if call.is_reading:
            self._advance()

    def build_refusal(self, refused: Refused) -> Answer:
        body = {"type": refused.code, "message": refused.message, **refused.details}
        return Answer(refused.status, body, refused.headers)

    # Quotas

    @route("GET", rf"/account/v3/projects/{ID}")
    def show_project(self, call: Call, number: str) -> Json:
        if number != PROJECT:
            raise not_found("project", number)
        return {"id": number, "name": "shop", "organization_id": ORGANIZATION, "description": ""}

    @route("GET", r"/iam/v1alpha1/quota/(\w+)")
    def show_quota(self, call: Call, name: str) -> Json:
        if call.find("organization_id") != ORGANIZATION:
            raise not_found("organization", str(call.find("organization_id")))
        types = {name_quota(type_): type_ for type_ in self.types}
        if name not in types:
            raise not_found("quotum", name)
        limits = [
            {"zone": zone, "limit": self.quotas.get((types[name], zone), MANY)} for zone in ZONES
        ]
        if (limit := self.quotas.get((types[name], "fr-par"))) is not None:
            limits.append({"region": "fr-par", "limit": limit})
        return {"name": name, "unit": "", "locality_type": "zone", "limits": limits}

    def _check_type_quota(self, type_: str, zone: str) -> None:
        count = sum(one["commercial_type"] == type_ for one in self._list(SERVERS, zone))
        quota = self.quotas.get((type_, zone), MANY)
        if count >= quota:
            details = [{"resource": name_quota(type_), "quota": quota, "current": count}]
            raise Refused(403, "quotas_exceeded", "quota exceeded", details=details)

    # What is sold

    @route("GET", rf"{INSTANCE}/products/servers(/availability)?")
    def list_types(self, call: Call, zone: str, stock: str | None) -> Answer:
        check_zone(zone)
        found: dict[str, Json] = {}
        for name, one in self.types.items():
            state = "shortage" if (zone, name) in self.shortages else "available"
            found[name] = {"availability": state} if stock else one
        begin, end = self.read_page(call, "per_page")
        page = dict(list(found.items())[begin:end])
        return Answer(200, {"servers": page}, {"X-Total-Count": str(len(found))})

    @route("GET", rf"{BLOCK}/volume-types")
    def list_volume_types(self, call: Call, zone: str) -> Json:
        check_zone(zone)
        return self.paginate("volume_types", [{**one, "zone": zone} for one in VOLUME_TYPES], call)

    @route("GET", r"/marketplace/v2/local-images")
    def list_images(self, call: Call) -> Json:
        found = build_images(call.find("zone") or "", self.types)
        if call.find("image_label") != LABEL:
            raise Refused(404, "not_found", "resource is not found", resource="image")
        architecture, type_ = call.find("arch"), call.find("type")
        images = [
            one
            for one in found
            if architecture in {None, one["arch"]} and type_ in {None, one["type"]}
        ]
        return self.paginate("local_images", images, call)

    # Instances: lists, and all that are alike

    @route("GET", rf"{INSTANCE}/(servers|ips|security_groups)")
    def list_instances(self, call: Call, zone: str, kind: str) -> Answer:
        check_zone(zone)
        begin, end = self.read_page(call, "per_page")
        found = [one for one in self._list(kind, zone) if matches_instance(one, call)]
        found.reverse()
        body = {kind: [self._show(kind, one) for one in found[begin:end]]}
        return Answer(200, body, {"X-Total-Count": str(len(found))})

    @route("GET", rf"{INSTANCE}/(servers|ips|security_groups)/{ID}")
    def show_instance(self, call: Call, zone: str, kind: str, number: str) -> Json:
        return {SINGULAR[kind]: self._show(kind, self._get(kind, zone, number))}

    @route("POST", rf"{INSTANCE}/ips")
    def make_address(self, call: Call, zone: str) -> Answer:
        body = take(call, "project", "type", tags=[], server=None)
        if body["type"] != "routed_ipv4":
            raise invalid("type", "only routed IPs exist")
        address = str(self.first_address + next(self._addresses))
        made = self._make(ADDRESSES, zone, body, address=address, server=None, state="detached")
        if body["server"]:
            self._place(made, self._get(SERVERS, zone, body["server"]))
        return Answer(201, {"ip": self._show(ADDRESSES, made)})

    @route("PATCH", rf"{INSTANCE}/ips/{ID}")
    def change_address(self, call: Call, zone: str, number: str) -> Json:
        address, body = self._get(ADDRESSES, zone, number), take(call, tags=None, server=None)
        if body["tags"] is not None:
            address["tags"] = body["tags"]
        if body["server"]:
            self._place(address, self._get(SERVERS, zone, body["server"]))
        return {"ip": self._show(ADDRESSES, address)}

    def _place(self, address: Json, server: Json) -> None:
        if address["server"]:
            raise invalid("server", "the IP is attached to a server")
        address.update(server=server["id"], state="attached")

    @route("DELETE", rf"{INSTANCE}/ips/{ID}")
    def delete_address(self, call: Call, zone: str, number: str) -> Answer:
        del self.things[ADDRESSES][self._get(ADDRESSES, zone, number)["id"]]
        return Answer(204)

    # Security groups

    @route("POST", rf"{INSTANCE}/security_groups")
    def make_group(self, call: Call, zone: str) -> Answer:
        policy = {"inbound_default_policy": "accept", "outbound_default_policy": "accept"}
        body = take(call, "name", "project", tags=[], stateful=True, **policy)
        made = self._make(
            FIREWALLS,
            zone,
            body,
            **{key: body[key] for key in (*policy, "stateful")},
        )
        self.rules[made["id"]] = []
        return Answer(201, {"security_group": self._show(FIREWALLS, made)})

    @route("PATCH", rf"{INSTANCE}/security_groups/{ID}")
    def change_group(self, call: Call, zone: str, number: str) -> Json:
        group = self._get(FIREWALLS, zone, number)
        keys = ("name", "tags", "stateful", "inbound_default_policy", "outbound_default_policy")
        group.update({k: v for k, v in take(call, **dict.fromkeys(keys)).items() if v is not None})
        return {"security_group": self._show(FIREWALLS, group)}

    @route("DELETE", rf"{INSTANCE}/security_groups/{ID}")
    def delete_group(self, call: Call, zone: str, number: str) -> Answer:
        group = self._get(FIREWALLS, zone, number)
        if self._show(FIREWALLS, group)["servers"]:
            raise Refused(400, "invalid_request_error", "group is in use. you cannot delete it.")
        del self.things[FIREWALLS][number]
        return Answer(204)

    @route("GET", rf"{INSTANCE}/security_groups/{ID}/rules")
    def list_rules(self, call: Call, zone: str, number: str) -> Answer:
        self._get(FIREWALLS, zone, number)
        begin, end = self.read_page(call, "per_page")
        rules = [*build_mail_rules(), *self.rules[number]]
        return Answer(200, {"rules": rules[begin:end]}, {"X-Total-Count": str(len(rules))})

    @route("PUT", rf"{INSTANCE}/security_groups/{ID}/rules")
    def set_rules(self, call: Call, zone: str, number: str) -> Json:
        self._get(FIREWALLS, zone, number)
        rules = []
        for one in take(call, "rules")["rules"]:
            rule = {"id": str(uuid.uuid4()), "dest_port_from": None, "dest_port_to": None, **one}
            if rule["dest_port_to"] == rule["dest_port_from"]:
                rule["dest_port_to"] = None
            rule["ip_range"] = rule["ip_range"].removesuffix("/32")
            rules.append(rule)
        self.rules[number] = rules
        return {"rules": [*build_mail_rules(), *rules]}

    # Servers

    @route("POST", rf"{INSTANCE}/servers")
    def make_server(self, call: Call, zone: str) -> Answer:
        body = take(
            call,
            *("name", "project", "commercial_type", "image", "volumes"),
            security_group=None,
            public_ips=[],
            tags=[],
            dynamic_ip_required=True,
            protected=False,
        )
        type_ = self.types.get(body["commercial_type"])
        if type_ is None:
            raise invalid("commercial_type", "unknown server type")
        if body["image"] != IMAGES[type_["arch"]]:
            raise invalid("image", "not compatible with the server type")
        if (zone, body["commercial_type"]) in self.shortages:
            resource = f"instance_{body['commercial_type']}"
            raise Refused(403, "out_of_stock", "resource is out of stock", resource=resource)
        addresses = [self._get(ADDRESSES, zone, one) for one in body["public_ips"]]
        group = self._get(FIREWALLS, zone, body["security_group"])
        disk = body["volumes"]["0"]
        if disk["volume_type"] != "sbs_volume" or disk["size"] < 10 * GB:
            raise invalid("volumes.0", "a volume of at least 10 GB of block storage is needed")
        root = {"name": f"{IMAGE_NAME}_sbs_volume_0", "project_id": body["project"], "tags": []}
        self._check_quota(SERVERS)
        self._check_type_quota(body["commercial_type"], zone)
        volume = self._make(VOLUMES, zone, root, **build_volume_shape(disk["size"]))
        server = self._make(SERVERS, zone, body, **build_server_shape(body))
        server["security_group"] = {"id": group["id"], "name": group["name"]}
        self._attach(server, volume)
        self.user_data[server["id"]] = {}
        for address in addresses:
            self._place(address, server)
        return Answer(201, {"server": self._show(SERVERS, server)})

    @route("PATCH", rf"{INSTANCE}/servers/{ID}")
    def change_server(self, call: Call, zone: str, number: str) -> Json:
        server = self._get(SERVERS, zone, number)
        body = take(call, tags=None, security_group=None)
        if body["tags"] is not None:
            server["tags"] = body["tags"]
        if body["security_group"] is not None:
            group = self._get(FIREWALLS, zone, body["security_group"]["id"])
            server["security_group"] = {"id": group["id"], "name": group["name"]}
        return {"server": self._show(SERVERS, server)}

    @route("DELETE", rf"{INSTANCE}/servers/{ID}")
    def delete_server(self, call: Call, zone: str, number: str) -> Answer:
        server = self._get(SERVERS, zone, number)
        if server["state"] != "stopped":
            raise Refused(400, "invalid_request_error", "instance should be stopped")
        self._drop_server(server)
        return Answer(204)

    @route("GET", rf"{INSTANCE}/servers/{ID}/user_data")
    def list_user_data(self, call: Call, zone: str, number: str) -> Json:
        return {"user_data": list(self.user_data[self._get(SERVERS, zone, number)["id"]])}

    @route("PATCH", rf"{INSTANCE}/servers/{ID}/user_data/([a-z-]+)")
    def set_user_data(self, call: Call, zone: str, number: str, key: str) -> Answer:
        if call.headers.get("Content-Type") != "text/plain":
            raise invalid("user_data", "only text/plain is taken")
        self.user_data[self._get(SERVERS, zone, number)["id"]][key] = call.text
        return Answer(204)

    @route("POST", rf"{INSTANCE}/servers/{ID}/action")
    def act(self, call: Call, zone: str, number: str) -> Answer:
        server, action = self._get(SERVERS, zone, number), take(call, "action")["action"]
        allowed = self._show(SERVERS, server)["allowed_actions"]
        if action not in allowed:
            raise Refused(400, "invalid_request_error", f"{action} is not allowed now")
        if action == "poweron":
            self._move(server, ("starting", "allocating node"), ("running", "booted"))
        elif action == "terminate":
            if server["protected"]:
                help_message = "the server is protected"
                raise Refused(412, "precondition_failed", help_message, help_message=help_message)
            self._move(server, ("stopping", "terminating"), None)
        return Answer(202, {"task": {"id": str(uuid.UUID(int=0)), "status": "pending"}})

    def _move(self, server: Json, between: tuple[str, str], then: tuple[str, str] | None) -> None:
        server["state"], server["state_detail"] = between

        def end() -> None:
            if then is None:
                self._drop_server(server)
                return
            server["state"], server["state_detail"] = then
            if server.pop("_is_new", False):
                self.on_start(server)

        self._begin(end)

    def _drop_server(self, server: Json) -> None:
        """It leaves its disks and addresses behind."""
        for key in list(server["volumes"]):
            volume = self.things[VOLUMES][server["volumes"][key]["id"]]
            self._begin(partial(volume.update, references=[], status="available"))
        for address in self._list(ADDRESSES, server["zone"]):
            if address["server"] == server["id"]:
                address.update(server=None, state="detached")
        for nic in server["private_nics"]:
            self._drop_private_ips(nic["id"])
        self.things[SERVERS].pop(server["id"], None)
        self.on_delete(server)

    # Interfaces and disks of servers

    @route("POST", rf"{INSTANCE}/servers/{ID}/private_nics")
    def make_nic(self, call: Call, zone: str, number: str) -> Answer:
        server, body = self._get(SERVERS, zone, number), take(call, "private_network_id")
        network = self._get(NETWORKS, zone.rpartition("-")[0], body["private_network_id"])
        if any(one["private_network_id"] == network["id"] for one in server["private_nics"]):
            raise invalid("private_network_id", "already attached to this server")
        self._check_settled(server)
        nic = {
            "id": str(uuid.uuid4()),
            "private_network_id": network["id"],
            "state": "syncing",
            "ipam_ip_ids": self._book_ips(network),
        }
        for number_ in nic["ipam_ip_ids"]:
            resource = {"type": "instance_private_nic", "id": nic["id"], "name": server["name"]}
            self.things[PRIVATE_IPS][number_]["resource"] = resource
        server["private_nics"].append(nic)
        self._begin(lambda: nic.update(state="available"))
        return Answer(201, {"private_nic": nic})

    @route("DELETE", rf"{INSTANCE}/servers/{ID}/private_nics/{ID}")
    def delete_nic(self, call: Call, zone: str, number: str, nic: str) -> Answer:
        server = self._get(SERVERS, zone, number)
        if not any(one["id"] == nic for one in server["private_nics"]):
            raise not_found("instance_private_nic", nic)
        server["private_nics"] = [one for one in server["private_nics"] if one["id"] != nic]
        self._drop_private_ips(nic)
        return Answer(204)

    @route("POST", rf"{INSTANCE}/servers/{ID}/attach-volume")
    def attach_volume(self, call: Call, zone: str, number: str) -> Json:
        server, body = self._get(SERVERS, zone, number), take(call, "volume_id", "volume_type")
        volume = self._get(VOLUMES, zone, body["volume_id"])
        self._check_settled(server)
        if volume["status"] != "available":
            raise transient("volume", volume["id"], volume["status"])
        self._attach(server, volume)
        place = server["volumes"][str(len(server["volumes"]) - 1)]
        place["state"] = "attaching"
        self._begin(lambda: place.update(state="available"))
        return {"server": self._show(SERVERS, server)}

    @route("POST", rf"{INSTANCE}/servers/{ID}/detach-volume")
    def detach_volume(self, call: Call, zone: str, number: str) -> Json:
        server, body = self._get(SERVERS, zone, number), take(call, "volume_id")
        self._check_settled(server)
        kept = [one for one in server["volumes"].values() if one["id"] != body["volume_id"]]
        if len(kept) == len(server["volumes"]):
            raise not_found("instance_volume", body["volume_id"])
        server["volumes"] = {str(place): one for place, one in enumerate(kept)}
        volume = self._get(VOLUMES, zone, body["volume_id"])
        self._begin(lambda: volume.update(references=[], status="available"))
        return {"server": self._show(SERVERS, server)}

    def _attach(self, server: Json, volume: Json) -> None:
        server["volumes"][str(len(server["volumes"]))] = {
            "id": volume["id"],
            "volume_type": "sbs_volume",
            "state": "available",
        }
        reference = {
            "product_resource_type": "instance_server",
            "product_resource_id": server["id"],
        }
        volume.update(references=[reference], status="in_use")

    def _check_settled(self, server: Json) -> None:
        """A server that starts, stops, or is given a disk is left alone."""
        if server["state"] in {"starting", "stopping"}:
            raise transient("instance_server", server["id"], server["state"])

    # Block storage

    @route("GET", rf"{BLOCK}/volumes")
    def list_volumes(self, call: Call, zone: str) -> Json:
        check_zone(zone)
        found = [one for one in self._list(VOLUMES, zone) if matches(one, call)]
        return self.paginate(VOLUMES, found, call)

    @route("GET", rf"{BLOCK}/volumes/{ID}")
    def show_volume(self, call: Call, zone: str, number: str) -> Json:
        return self._get(VOLUMES, zone, number)

    @route("POST", rf"{BLOCK}/volumes")
    def make_volume(self, call: Call, zone: str) -> Json:
        body = take(call, "name", "project_id", "from_empty", "perf_iops", tags=[])
        size = body["from_empty"]["size"]
        if not GB <= size <= 10_000 * GB or size % GB:
            raise invalid("size", "must be from 1 GB to 10 TB")
        if body["perf_iops"] not in {5000, 15000}:
            raise invalid("perf_iops", "not available")
        volume = self._make(VOLUMES, zone, body, **build_volume_shape(size))
        volume["status"] = "creating"
        self._begin(lambda: volume.update(status="available"))
        return volume

    @route("PATCH", rf"{BLOCK}/volumes/{ID}")
    def change_volume(self, call: Call, zone: str, number: str) -> Json:
        volume, body = self._get(VOLUMES, zone, number), take(call, name=None, tags=None, size=None)
        volume.update({k: body[k] for k in ("name", "tags") if body[k] is not None})
        size, before = body["size"], "in_use" if volume["references"] else "available"
        if size is not None:
            if size < volume["size"]:
                raise invalid("size", "a volume cannot shrink")
            volume["status"] = "updating"
            self._begin(lambda: volume.update(status=before, size=size))
        return dict(volume)

    @route("DELETE", rf"{BLOCK}/volumes/{ID}")
    def delete_volume(self, call: Call, zone: str, number: str) -> Answer:
        volume = self._get(VOLUMES, zone, number)
        if volume["references"]:
            raise in_use("the volume is attached")
        volume["status"] = "deleting"
        self._begin(lambda: self.things[VOLUMES].pop(number, None))
        return Answer(204)

    # Networks

    @route("GET", rf"{VPC}/(vpcs|private-networks)")
    def list_networks(self, call: Call, region: str, word: str) -> Json:
        kind = word.replace("-", "_")
        return self.paginate(
            kind, [one for one in self._list(kind, region) if matches(one, call)], call
        )

    @route("POST", rf"{VPC}/vpcs")
    def make_vpc(self, call: Call, region: str) -> Json:
        body = take(call, "name", "project_id", tags=[])
        return self._make(VPCS, region, body)

    @route("POST", rf"{VPC}/private-networks")
    def make_network(self, call: Call, region: str) -> Json:
        body = take(call, "name", "project_id", "vpc_id", "subnets", tags=[])
        vpc = self._get(VPCS, region, body["vpc_id"])
        subnets = [ipaddress.ip_network(one) for one in body["subnets"]]
        for network in self._list(NETWORKS, region):
            there = [ipaddress.ip_network(one["subnet"]) for one in network["subnets"]]
            if network["vpc_id"] == vpc["id"] and any(
                one.overlaps(new) for one in there for new in subnets
            ):
                raise invalid("subnets", "overlaps with a subnet of the VPC")
        shapes = [{"id": str(uuid.uuid4()), "subnet": str(one)} for one in subnets]
        return self._make(NETWORKS, region, body, vpc_id=vpc["id"], subnets=shapes)

    @route("PATCH", rf"{VPC}/(vpcs|private-networks)/{ID}")
    def change_network(self, call: Call, region: str, word: str, number: str) -> Json:
        thing = self._get(word.replace("-", "_"), region, number)
        thing.update(take(call, "tags"))
        return thing

    @route("DELETE", rf"{VPC}/private-networks/{ID}")
    def delete_network(self, call: Call, region: str, number: str) -> Answer:
        self._get(NETWORKS, region, number)
        nics = [nic for one in self.things[SERVERS].values() for nic in one["private_nics"]]
        if any(nic["private_network_id"] == number for nic in nics):
            raise in_use("Private Network must be empty to be deleted")
        del self.things[NETWORKS][number]
        return Answer(204)

    @route("DELETE", rf"{VPC}/vpcs/{ID}")
    def delete_vpc(self, call: Call, region: str, number: str) -> Answer:
        self._get(VPCS, region, number)
        if any(one["vpc_id"] == number for one in self._list(NETWORKS, region)):
            raise in_use("VPC must be empty to be deleted")
        del self.things[VPCS][number]
        return Answer(204)

    @route("GET", rf"{IPAM}/ips")
    def list_private_ips(self, call: Call, region: str) -> Json:
        network = call.find("private_network_id")
        found = [
            one
            for one in self._list(PRIVATE_IPS, region)
            if one["_network"] == network
            and (call.find("is_ipv6") or "false") == str(one["is_ipv6"]).lower()
        ]
        shown = [{key: value for key, value in one.items() if key != "name"} for one in found]
        return self.paginate("ips", shown, call)

    def _book_ips(self, network: Json) -> list[str]:
        ips = self.things[PRIVATE_IPS]
        subnet = ipaddress.ip_network(network["subnets"][0]["subnet"])
        taken = {one["address"] for one in ips.values() if one["_network"] == network["id"]}
        # The first is the gateway's.
        addresses = (f"{one}/{subnet.prefixlen}" for one in list(subnet.hosts())[1:])
        booked = []
        for address, is_ipv6 in (
            (next(one for one in addresses if one not in taken), False),
            (f"fd5f:519c::{len(ips):x}/64", True),
        ):
            shape = {"address": address, "is_ipv6": is_ipv6, "_network": network["id"]}
            body = {"name": "", "tags": []}
            booked.append(self._add(PRIVATE_IPS, network["region"], body, **shape)["id"])
        return booked

    def _drop_private_ips(self, nic: str) -> None:
        ips = self.things[PRIVATE_IPS]
        for number in [key for key, one in ips.items() if one["resource"]["id"] == nic]:
            del ips[number]

    # What all of them need

    def _list(self, kind: str, place: str) -> list[Json]:
        key = "region" if kind in {NETWORKS, VPCS, PRIVATE_IPS} else "zone"
        return [one for one in self.things[kind].values() if one[key] == place]

    def _get(self, kind: str, place: str, number: object) -> Json:
        for one in self._list(kind, place):
            if one["id"] == number:
                return one
        raise not_found(kind.removesuffix("s"), str(number))

    def _show(self, kind: str, thing: Json) -> Json:
        """It with what follows from other things."""
        if kind == ADDRESSES:
            servers = self.things[SERVERS]
            server = servers.get(thing["server"] or "")
            summary = {"id": server["id"], "name": server["name"]} if server else None
            hidden = {"name", "creation_date"}
            shown = {key: one for key, one in thing.items() if key not in hidden}
            return {**shown, "server": summary}
        if kind == FIREWALLS:
            users = [
                {"id": one["id"], "name": one["name"]}
                for one in self.things[SERVERS].values()
                if one["security_group"]["id"] == thing["id"]
            ]
            return {**thing, "servers": users}
        addresses = [
            {"id": one["id"], "address": one["address"], "family": "inet", "tags": one["tags"]}
            for one in self.things[ADDRESSES].values()
            if one["server"] == thing["id"]
        ]
        is_busy = any(one["state"] == "attaching" for one in thing["volumes"].values())
        allowed = [] if is_busy else ALLOWED.get(thing["state"], [])
        shown = {key: one for key, one in thing.items() if not key.startswith("_")}
        return {**shown, "public_ips": addresses, "allowed_actions": allowed}

    def read_page(self, call: Call, key: str, default: int = 50) -> tuple[int, int]:
        page, size = call.get_number("page", 1), call.get_number(key, default)
        if not 1 <= size <= 100:
            raise invalid(key, "must be at most 100")
        size = min(size, self.largest_page)
        return (page - 1) * size, page * size

    def paginate(self, key: str, found: Iterable[Json], call: Call) -> Json:
        things = list(found)
        begin, end = self.read_page(call, "page_size", 20)
        page = [
            {k: v for k, v in one.items() if not k.startswith("_")} for one in things[begin:end]
        ]
        return {key: page, "total_count": len(things)}

    def _make(self, kind: str, place: str, body: Json, **shape: Any) -> Json:
        check_zone(place)
        if (body.get("project") or body.get("project_id")) != PROJECT:
            details = [{"action": "write", "resource": kind}]
            raise Refused(403, "permissions_denied", "insufficient permissions", details=details)
        self._check_quota(kind)
        return self._add(kind, place, body, **shape)

    def _check_quota(self, kind: str) -> None:
        count = len(self.things[kind])
        if count >= self.limits.get(kind, 1_000_000):
            details = [{"resource": kind, "quota": count, "current": count}]
            raise Refused(403, "quotas_exceeded", "quota exceeded", details=details)

    def _add(self, kind: str, place: str, body: Json, **shape: Any) -> Json:
        self._count += 1
        number = str(uuid.UUID(int=(self._count << 64) + 0x4000800000000000))
        is_instance = kind in SINGULAR
        made = f"2026-07-30T12:53:37.{self._count:06}+00:00"
        head = {
            "id": number,
            "name": body.get("name") or "",
            "tags": list(body["tags"]),
            "project" if is_instance else "project_id": PROJECT,
            "creation_date" if is_instance else "created_at": made,
            "zone" if place[-1].isdigit() else "region": place,
        }
        self.things[kind][number] = {**head, **copy(shape)}
        return self.things[kind][number]

    def _begin(self, end: Callable[[], object]) -> None:
        self._going.append((self.start_progress(), lambda: (end(), None)[1]))

    def _advance(self) -> None:
        """All that goes on comes nearer to its end; what was begun first ends first."""
        for one in list(self._going):
            if one[0].look():
                self._going.remove(one)
                one[1]()


#: What may be asked of a server in each of its states.
ALLOWED = {
    "stopped": ["poweron", "backup"],
    "running": ["poweroff", "terminate", "reboot", "stop_in_place", "backup"],
    "starting": ["stop_in_place", "backup"],
    "stopping": ["stop_in_place", "backup"],
}


def build_server_shape(body: Json) -> Json:
    return {
        "commercial_type": body["commercial_type"],
        "state": "stopped",
        "state_detail": "",
        "protected": body.get("protected", False),
        "volumes": {},
        "private_nics": [],
        "security_group": {"id": "", "name": ""},
        "_is_new": True,
    }


def build_volume_shape(size: int) -> Json:
    return {
        "size": size,
        "type": "sbs_5k",
        "status": "available",
        "references": [],
    }


#: Resources of others, as they are made behind the API's back.
SHAPES: dict[str, Json] = {
    SERVERS: {
        **build_server_shape({"commercial_type": "DEV1-S"}),
        "state": "running",
        "_is_new": False,
    },
    ADDRESSES: {"address": "203.0.113.1", "server": None, "state": "detached"},
    FIREWALLS: {
        "stateful": True,
        "inbound_default_policy": "accept",
        "outbound_default_policy": "accept",
    },
    VOLUMES: build_volume_shape(10 * GB),
    NETWORKS: {"vpc_id": str(uuid.UUID(int=1)), "subnets": []},
    VPCS: {},
}


def build_mail_rules() -> list[Json]:
    return [
        {
            "id": str(uuid.UUID(int=(0x11111111 << 96) + position)),
            "direction": "outbound",
            "action": "drop",
            "protocol": "TCP",
            "ip_range": addresses,
            "dest_port_from": port,
            "dest_port_to": None,
            "position": position,
            "editable": False,
        }
        for position, (port, addresses) in enumerate(MAIL, 1)
    ]


def take(call: Call, *required: str, **others: Any) -> Json:
    """The body; what is not known, or lacks, is refused."""
    body = call.json
    for key in required:
        if key not in body:
            raise invalid(key, "required")
    for key in set(body) - {*required, *others}:
        raise invalid(key, "unknown")
    return {**others, **body}


def copy(shape: Json) -> Json:
    """Lists and mappings of its own."""
    return {
        key: type(value)(value) if isinstance(value, dict | list) else value
        for key, value in shape.items()
    }


def name_quota(type_: str) -> str:
    return f"cp_servers_type_{type_.replace('-', '_')}"


def check_zone(place: str) -> None:
    if place not in ZONES and place not in {one.rpartition("-")[0] for one in ZONES}:
        raise Refused(404, "not_found", "unknown zone")


def matches_instance(thing: Json, call: Call) -> bool:
    tags = call.find("tags")
    return call.find("project") in {None, thing["project"]} and (
        tags is None or set(tags.split(",")) <= set(thing["tags"])
    )


def matches(thing: Json, call: Call) -> bool:
    tags = call.query.get("tags")
    return call.find("project_id") in {None, thing["project_id"]} and (
        tags is None or bool(set(tags) & set(thing["tags"]))
    )


def invalid(argument: str, message: str) -> Refused:
    details = [{"argument_name": argument, "reason": "constraint", "help_message": message}]
    return Refused(400, "invalid_arguments", "invalid argument(s)", details=details)


def not_found(resource: str, number: str) -> Refused:
    text = "resource is not found"
    return Refused(404, "not_found", text, resource=resource, resource_id=number)


def transient(resource: str, number: str, state: str) -> Refused:
    text = "resource is in a transient state"
    details = {"resource": resource, "resource_id": number, "current_state": state}
    return Refused(409, "transient_state", text, **details)


def in_use(message: str) -> Refused:
    text = "precondition is not respected"
    details = {"precondition": "resource_still_in_use", "help_message": message}
    return Refused(412, "precondition_failed", text, **details)
