"""What an account at Cloudflare has, as nvoi needs it of what the API answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nvoi.http import find_value, get_text

#: Where a tunnel is, as DNS has it.
TUNNEL_DOMAIN = "cfargotunnel.com"


@dataclass(frozen=True)
class Zone:
    id: str
    name: str
    account_id: str
    account_name: str
    status: str
    is_paused: bool
    name_servers: tuple[str, ...]


@dataclass(frozen=True)
class DNSRecord:
    """A DNS record, of the zone ``zone_id``; without an id it has yet to be made."""

    id: str
    zone_id: str
    name: str
    type: str
    content: str
    is_proxied: bool
    comment: str

    def __str__(self) -> str:
        return f"the DNS record {self.name}"

    @property
    def path(self) -> str:
        """Where the API has it, or makes it."""
        return "/".join(["/zones", self.zone_id, "dns_records", *filter(None, [self.id])])


@dataclass(frozen=True)
class Tunnel:
    id: str
    name: str

    def __str__(self) -> str:
        return f"the tunnel {self.name}"

    @property
    def target(self) -> str:
        """What a DNS record that leads to it holds."""
        return f"{self.id}.{TUNNEL_DOMAIN}"


def read_tunnel(item: object) -> Tunnel:
    return Tunnel(get_text(item, "id"), get_text(item, "name"))


def read_zone(item: Mapping[str, Any]) -> Zone:
    return Zone(
        id=get_text(item, "id"),
        name=get_text(item, "name"),
        account_id=str(find_value(item, "account", "id") or ""),
        account_name=str(find_value(item, "account", "name") or ""),
        status=item.get("status") or "",
        is_paused=bool(item.get("paused")),
        name_servers=tuple(item.get("name_servers") or ()),
    )


def read_record(item: object, zone_id: str) -> DNSRecord:
    return DNSRecord(
        id=get_text(item, "id"),
        zone_id=zone_id,
        name=get_text(item, "name"),
        type=get_text(item, "type"),
        content=str(find_value(item, "content") or ""),
        is_proxied=bool(find_value(item, "proxied")),
        comment=str(find_value(item, "comment") or ""),
    )


def build_body(record: DNSRecord) -> dict[str, Any]:
    """A record as the API takes it; a ``ttl`` of 1 is one that Cloudflare chooses."""
    return {
        "type": record.type,
        "name": record.name,
        "content": record.content,
        "proxied": record.is_proxied,
        "ttl": 1,
        "comment": record.comment,
    }
