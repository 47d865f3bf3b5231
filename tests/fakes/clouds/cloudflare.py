"""Cloudflare's API: zones, DNS records, tunnels and tokens.

Written from its public API reference and documentation: the error codes, what may not be beside a
CNAME, what a tunnel's configuration has to end with, and that a tunnel which is connected cannot be
deleted.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.clouds.server import Answer, Call, Cloud, Json, Refused, route

ACCOUNT = "0123456789abcdef0123456789abcdef"
OTHER_ACCOUNT = "fedcba9876543210fedcba9876543210"
TOKEN = "cfut-token-of-the-tests"
RIGHTS = frozenset({"zone:read", "dns:read", "dns:edit", "tunnel:read", "tunnel:edit"})
#: The types that a CNAME cannot be beside, and that cannot be beside one.
ADDRESSES = frozenset({"A", "AAAA", "CNAME"})
ID = re.compile(r"[0-9a-f]{32}")
LONGEST_COMMENT = 100
TAKEN = (
    "You already have a tunnel with this name. Delete the existing tunnel, or choose a different "
    "name for your new tunnel"
)
CATCH_ALL = (
    "Bad Configuration: The last ingress rule must match all URLs (i.e. it should not have a "
    "hostname or path filter)"
)


@dataclass
class Access:
    """What a token may do, in which accounts."""

    rights: Collection[str] = RIGHTS
    accounts: Collection[str] = (ACCOUNT,)
    status: str = "active"
    #: Whether it is the account's own rather than a user's.
    is_accounts: bool = False


@dataclass
class Tunnel:
    name: str
    account: str = ACCOUNT
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    settings: Json | None = None
    #: Looks until settings that were put are there, and those.
    lag: int = 0
    coming: Json | None = None
    version: int = 0
    connections: int = 0
    #: Whether cloudflared runs: connections that are cleaned up come back.
    is_served: bool = False
    is_deleted: bool = False

    @property
    def target(self) -> str:
        return f"{self.id}.cfargotunnel.com"

    @property
    def rules(self) -> dict[str, str]:
        """Where each host name is led to."""
        rules = (self.settings or {}).get("ingress", [])
        return {rule.get("hostname", ""): rule["service"] for rule in rules}

    def build(self) -> Json:
        return {
            "id": self.id,
            "account_tag": self.account,
            "config_src": "cloudflare",
            "deleted_at": "2026-01-26T18:22:34.317854Z" if self.is_deleted else None,
            "name": self.name,
            "status": "healthy" if self.connections else "inactive",
        }


class Cloudflare(Cloud):
    """An API with one account, one token and the zone `example.com`.

    `lag` is how many looks it takes until a new configuration is there, `quota` how many records a
    zone may have.
    """

    base = "/client/v4"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.tokens = {TOKEN: Access()}
        self.zones: list[Json] = []
        self.records: dict[str, list[Json]] = {}
        self.tunnels: list[Tunnel] = []
        self.lag = 0
        self.quota = 1000
        self.add_zone("example.com")

    # What a test begins with, and asks for

    def add_zone(self, name: str, *, account: str = ACCOUNT, **more: Any) -> str:
        """Add a zone; its id."""
        zone_id = secrets.token_hex(16)
        zone = {
            "id": zone_id,
            "name": name,
            "status": "active",
            "paused": False,
            "type": "full",
            "name_servers": ["ada.ns.cloudflare.com", "bob.ns.cloudflare.com"],
            "account": {"id": account, "name": f"Account {account[:4]}"},
        }
        self.zones.append(zone | more)
        self.records[zone_id] = []
        return zone_id

    def add_record(self, name: str, type: str, content: str, **more: Any) -> Json:  # noqa: A002 - the API's word
        """Add a record to the longest zone that ends its name."""
        zone = max(
            (zone for zone in self.zones if f".{name}".endswith(f".{zone['name']}")),
            key=lambda zone: len(zone["name"]),
        )
        body = {"name": name, "type": type, "content": content, "proxied": False} | more
        record = self._build_record(body, {})
        self.records[zone["id"]].append(record)
        return record

    def add_tunnel(self, name: str, *names: str, service: str = "http://old:80") -> Tunnel:
        """Add a tunnel that leads `names` to `service`."""
        rules = [{"hostname": one, "service": service, "originRequest": {}} for one in names]
        settings = {"ingress": [*rules, {"service": "http_status:404"}]} if names else None
        tunnel = Tunnel(name, settings=settings)
        self.tunnels.append(tunnel)
        return tunnel

    @property
    def live_tunnels(self) -> dict[str, Tunnel]:
        return {one.name: one for one in self.tunnels if not one.is_deleted}

    @property
    def all_records(self) -> dict[str, Json]:
        """By their names and types."""
        found = [record for records in self.records.values() for record in records]
        return {f"{record['name']} {record['type']}": record for record in found}

    # In its own words

    def build_refusal(self, refused: Refused) -> Answer:
        code = int(refused.code) if refused.code.isdecimal() else 10013
        error = {"code": code, "message": refused.message, **refused.details}
        body = {"success": False, "errors": [error], "messages": [], "result": None}
        return Answer(refused.status, body, refused.headers)

    def authorize(self, call: Call) -> None:
        kind, _, token = call.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or not re.fullmatch(r"[\w-]+", token):
            chain = [{"code": 6111, "message": "Invalid format for Authorization header"}]
            raise Refused(400, "6003", "Invalid request headers", error_chain=chain)
        access = self.tokens.get(token)
        is_good = access is not None and access.status == "active"
        if not is_good and not call.path.endswith("/tokens/verify"):
            raise Refused(403, "9109", "Invalid access token")

    def _demand(self, call: Call, right: str, account: str) -> None:
        access = self.tokens[call.headers["Authorization"].partition(" ")[2]]
        if right not in access.rights or account not in access.accounts:
            raise Refused(403, "10000", "Authentication error")

    # Tokens

    @route("GET", "/user/tokens/verify")
    def verify_users(self, call: Call) -> Json:
        return self._verify(call, lambda access: not access.is_accounts)

    @route("GET", "/accounts/([^/]+)/tokens/verify")
    def verify_accounts(self, call: Call, account: str) -> Json:
        return self._verify(call, lambda one: one.is_accounts and account in one.accounts)

    def _verify(self, call: Call, is_known: Callable[[Access], bool]) -> Json:
        access = self.tokens.get(call.headers["Authorization"].partition(" ")[2])
        if access is None or not is_known(access):
            raise Refused(401, "1000", "Invalid API Token")
        return build({"id": "ed17574386854bf78a67040be0a770b0", "status": access.status})

    # Zones

    @route("GET", "/zones")
    def list_zones(self, call: Call) -> Json:
        access = self.tokens[call.headers["Authorization"].partition(" ")[2]]
        if "zone:read" not in access.rights:
            raise Refused(403, "9109", "Unauthorized to access requested resource")
        found = [
            zone
            for zone in self.zones
            if zone["account"]["id"] in access.accounts
            if call.find("name") in (None, zone["name"])
            if call.find("account.id") in (None, zone["account"]["id"])
        ]
        return paginate(call, found, size=20, largest=50, smallest=5)

    # DNS records

    @route("GET", "/zones/([^/]+)/dns_records")
    def list_records(self, call: Call, zone_id: str) -> Json:
        self._demand(call, "dns:read", self._get_zone(zone_id)["account"]["id"])
        filters = {
            key: (call.find(f"{key}.exact") or "").lower()
            for key in ("name", "comment", "content")
            if call.find(f"{key}.exact") is not None
        }
        found = [
            record
            for record in self.records[zone_id]
            if all((record[key] or "").lower() == text for key, text in filters.items())
        ]
        return paginate(call, found, size=100, largest=5_000_000)

    @route("POST", "/zones/([^/]+)/dns_records")
    def create_record(self, call: Call, zone_id: str) -> Json:
        zone = self._get_zone(zone_id)
        self._demand(call, "dns:edit", zone["account"]["id"])
        record = self._build_record(call.json, {})
        self._check_record(zone, record)
        if len(self.records[zone_id]) >= self.quota:
            raise Refused(400, "81045", "Record quota exceeded.")
        self.records[zone_id].append(record)
        return build(record)

    @route("PATCH", "/zones/([^/]+)/dns_records/([^/]+)")
    def change_record(self, call: Call, zone_id: str, record_id: str) -> Json:
        zone = self._get_zone(zone_id)
        self._demand(call, "dns:edit", zone["account"]["id"])
        record = self._get_record(zone_id, record_id)
        changed = self._build_record(call.json, record)
        self._check_record(zone, changed)
        record.update(changed)
        return build(record)

    @route("DELETE", "/zones/([^/]+)/dns_records/([^/]+)")
    def delete_record(self, call: Call, zone_id: str, record_id: str) -> Json:
        self._demand(call, "dns:edit", self._get_zone(zone_id)["account"]["id"])
        self.records[zone_id].remove(self._get_record(zone_id, record_id))
        return build({"id": record_id})

    def _get_zone(self, zone_id: str) -> Json:
        for zone in self.zones:
            if zone["id"] == zone_id:
                return zone
        message = f"Could not route to /zones/{zone_id}, perhaps your object identifier is invalid?"
        raise Refused(404 if ID.fullmatch(zone_id) else 400, "7003", message)

    def _get_record(self, zone_id: str, record_id: str) -> Json:
        for record in self.records[zone_id]:
            if record["id"] == record_id:
                return record
        raise Refused(404, "81044", "Record does not exist.")

    def _build_record(self, body: Json, before: Json) -> Json:
        record = {
            "id": secrets.token_hex(16),
            "name": "",
            "type": "A",
            "content": "",
            "proxiable": True,
            "proxied": False,
            "ttl": 1,
            "settings": {},
            "meta": {},
            "comment": None,
            "tags": [],
            "created_on": "2026-01-01T05:20:00.12345Z",
            "modified_on": "2026-01-01T05:20:00.12345Z",
        }
        return (
            record | before | body | {"comment": body.get("comment", before.get("comment")) or None}
        )

    def _check_record(self, zone: Json, record: Json) -> None:
        if len(record["comment"] or "") > LONGEST_COMMENT:
            raise Refused(400, "9205", "Comment exceeds the maximum length of 100 characters.")
        if not f".{record['name']}".endswith(f".{zone['name']}"):
            raise Refused(400, "1004", "DNS Validation Error")
        others = [one for one in self.records[zone["id"]] if one["id"] != record["id"]]
        types = {one["type"]: one for one in others if one["name"] == record["name"]}
        same = types.get(record["type"])
        if same and (same["content"] == record["content"]):
            raise Refused(400, "81058", "An identical record already exists.")
        if record["type"] == "CNAME" and types.keys() & ADDRESSES:
            text = "An A, AAAA, or CNAME record with that host already exists."
            raise Refused(400, "81053", text)
        if record["type"] in ADDRESSES and "CNAME" in types:
            raise Refused(400, "81054", "A CNAME record with that host already exists.")
        if record["type"] in ADDRESSES and "NS" in types:
            raise Refused(400, "81056", "NS records with that host already exist.")

    # Tunnels

    @route("GET", "/accounts/([^/]+)/cfd_tunnel")
    def list_tunnels(self, call: Call, account: str) -> Json:
        self._enter(call, "tunnel:read", account)
        deleted = {"true": True, "false": False}.get(call.find("is_deleted") or "")
        found = [
            one.build()
            for one in self.tunnels
            if one.account == account and deleted in (None, one.is_deleted)
            if call.find("name") in (None, one.name)
            if one.name.startswith(call.find("include_prefix") or "")
        ]
        return paginate(call, found, size=20, largest=1000)

    @route("POST", "/accounts/([^/]+)/cfd_tunnel")
    def create_tunnel(self, call: Call, account: str) -> Json:
        self._enter(call, "tunnel:edit", account)
        name = call.json["name"]
        if name in self.live_tunnels:
            raise Refused(409, "1013", TAKEN)
        tunnel = Tunnel(name, account)
        self.tunnels.append(tunnel)
        return build(tunnel.build() | {"token": self._build_token(tunnel)})

    @route("PATCH", "/accounts/([^/]+)/cfd_tunnel/([^/]+)")
    def change_tunnel(self, call: Call, account: str, tunnel_id: str) -> Json:
        self._enter(call, "tunnel:edit", account)
        tunnel = self._get_tunnel(tunnel_id)
        tunnel.name = call.json.get("name", tunnel.name)
        return build(tunnel.build())

    @route("GET", "/accounts/([^/]+)/cfd_tunnel/([^/]+)/configurations")
    def get_settings(self, call: Call, account: str, tunnel_id: str) -> Json:
        self._enter(call, "tunnel:read", account)
        tunnel = self._get_tunnel(tunnel_id)
        if tunnel.lag:
            tunnel.lag -= 1
        elif tunnel.coming is not None:
            tunnel.settings, tunnel.coming = tunnel.coming, None
            tunnel.version += 1
        return build(self._describe_settings(tunnel))

    @route("PUT", "/accounts/([^/]+)/cfd_tunnel/([^/]+)/configurations")
    def put_settings(self, call: Call, account: str, tunnel_id: str) -> Json:
        self._enter(call, "tunnel:edit", account)
        tunnel = self._get_tunnel(tunnel_id)
        rules = call.json["config"]["ingress"]
        if not rules or {"hostname", "path"} & {key for key, text in rules[-1].items() if text}:
            raise Refused(400, "1056", CATCH_ALL)
        tunnel.lag, tunnel.coming = self.lag, call.json["config"]
        if not self.lag:
            tunnel.settings, tunnel.coming = tunnel.coming, None
            tunnel.version += 1
        return build(self._describe_settings(tunnel))

    @route("GET", "/accounts/([^/]+)/cfd_tunnel/([^/]+)/token")
    def get_token(self, call: Call, account: str, tunnel_id: str) -> Json:
        self._enter(call, "tunnel:edit", account)
        return build(self._build_token(self._get_tunnel(tunnel_id)))

    @route("GET", "/accounts/([^/]+)/cfd_tunnel/([^/]+)/connections")
    def list_connections(self, call: Call, account: str, tunnel_id: str) -> Json:
        self._enter(call, "tunnel:read", account)
        tunnel = self._get_tunnel(tunnel_id)
        return build([{"id": str(uuid.uuid4())}] * bool(tunnel.connections))

    @route("DELETE", "/accounts/([^/]+)/cfd_tunnel/([^/]+)/connections")
    def delete_connections(self, call: Call, account: str, tunnel_id: str) -> Json:
        self._enter(call, "tunnel:edit", account)
        tunnel = self._get_tunnel(tunnel_id)
        if not tunnel.is_served:
            tunnel.connections = 0
        return build({})

    @route("DELETE", "/accounts/([^/]+)/cfd_tunnel/([^/]+)")
    def delete_tunnel(self, call: Call, account: str, tunnel_id: str) -> Json:
        self._enter(call, "tunnel:edit", account)
        tunnel = self._get_tunnel(tunnel_id)
        if tunnel.connections:
            text = "Cannot delete tunnel because it has active connections"
            raise Refused(400, "1022", text)
        tunnel.is_deleted = True
        return build(tunnel.build())

    def _enter(self, call: Call, right: str, account: str) -> None:
        if not ID.fullmatch(account):
            path = f"/accounts/{account}/cfd_tunnel"
            text = f"Could not route to {path}, perhaps your object identifier is invalid?"
            raise Refused(404, "7003", text)
        self._demand(call, right, account)

    def _get_tunnel(self, tunnel_id: str) -> Tunnel:
        for tunnel in self.tunnels:
            if tunnel.id == tunnel_id and not tunnel.is_deleted:
                return tunnel
        raise Refused(404, "1003", "Tunnel not found")

    def _describe_settings(self, tunnel: Tunnel) -> Json:
        return {
            "tunnel_id": tunnel.id,
            "version": tunnel.version,
            "config": tunnel.settings,
            "source": "cloudflare",
            "created_at": "2026-01-25T18:22:34.317854Z",
        }

    def _build_token(self, tunnel: Tunnel) -> str:
        content = {"a": tunnel.account, "t": tunnel.id, "s": f"secret-of-{tunnel.name}"}
        return base64.b64encode(json.dumps(content).encode()).decode()


def build(result: Any) -> Json:
    return {"success": True, "errors": [], "messages": [], "result": result}


def paginate(
    call: Call, items: Iterable[Json], *, size: int, largest: int, smallest: int = 1
) -> Json:
    found, page = [*items], call.get_number("page", 1)
    size = call.get_number("per_page", size)
    if not smallest <= size <= largest:
        raise Refused(400, "1007", f"per_page must be from {smallest} to {largest}")
    some = found[(page - 1) * size : page * size]
    info = {
        "page": page,
        "per_page": size,
        "count": len(some),
        "total_count": len(found),
        "total_pages": -(-len(found) // size),
    }
    return build(some) | {"result_info": info}
