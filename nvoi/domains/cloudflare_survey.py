"""What an account at Cloudflare has of an app, against what its config says. It is only read.

A tunnel is the app's by its name, a DNS record by its comment. The Ruby gem has written none: a
record that it made leads to one of the app's tunnels, and has a name that this tunnel serves.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from nvoi.domains.cloudflare_api import Account
from nvoi.domains.cloudflare_records import DNSRecord, Tunnel, Zone
from nvoi.domains.domain import Site, list_hostnames
from nvoi.errors import Fault
from nvoi.http import list_objects
from nvoi.naming import build_prefix, build_tunnel_name, shorten

ACCOUNT_ID = "application.domain_provider.cloudflare.account_id"
#: Characters that Cloudflare takes in a comment on every plan.
LONGEST_COMMENT = 100
COMMENT = re.compile(r"managed-by=nvoi app=(\S+)")
#: The records that cannot be beside a CNAME of the same name.
RIVALS = frozenset({"A", "AAAA", "CNAME", "NS"})
#: What answers visitors whose name no rule has. It has to be the last.
LAST_RULE = {"service": "http_status:404"}
#: The parts of a rule that say whom it leads where.
KEYS = ("hostname", "path", "service")


@dataclass(eq=False)
class AccountSurvey:
    """What was found: the app's tunnels by their names, others beside them, and its records.

    ``sites`` are those of the config, ``settings`` those of the tunnels that were looked at, by
    their ids, and ``records`` those of the app by their names.
    """

    account: Account
    app: str
    sites: Sequence[Site]
    tunnels: dict[str, Tunnel] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    records: dict[str, DNSRecord] = field(default_factory=dict)
    _zones: dict[str, Zone | None] = field(default_factory=dict)

    @property
    def comment(self) -> str:
        """By which an app's records are told from all others."""
        return f"managed-by=nvoi app={shorten(self.app)}"[:LONGEST_COMMENT]

    def find_zone(self, name: str) -> Zone | None:
        """The longest zone that ends ``name``."""
        labels = name.removeprefix("*.").split(".")
        for start in range(len(labels) - 1):
            candidate = ".".join(labels[start:])
            if candidate not in self._zones:
                self._zones[candidate] = self.account.find_zone(candidate)
            if zone := self._zones[candidate]:
                return zone
        return None

    def find_tunnel(self, site: Site) -> Tunnel | None:
        return self.tunnels.get(build_tunnel_name(self.app, site.service))

    def list_named_tunnels(self) -> list[Tunnel]:
        return [tunnel for site in self.sites if (tunnel := self.find_tunnel(site))]

    def find_faults(self) -> list[Fault]:
        """Look for what there is; what of it stands in the way of the config."""
        zones = [fault for site in self.sites for fault in self._judge_zone(site)]
        if zones or not self.sites:
            return zones
        self.look()
        faults = [fault for site in self.sites for fault in self._judge_names(site)]
        return faults + [fault for site in self.sites for fault in self._look_back(site)]

    def look(self) -> None:
        found = self.account.list_tunnels(f"{build_prefix(self.app)}-")
        self.tunnels = {tunnel.name: tunnel for tunnel in found}
        for tunnel in self.list_named_tunnels():
            self.settings[tunnel.id] = self.account.get_settings(tunnel)
        zones = {zone.id for site in self.sites if (zone := self.find_zone(site.domain))}
        for zone_id in sorted(zones):
            self._sort(self.account.list_records(zone_id, comment=self.comment))

    def look_at(self, tunnel: Tunnel, wanted: Collection[str] = ()) -> list[DNSRecord]:
        """Find the app's records of what a tunnel serves beside ``wanted``; others' to it."""
        if tunnel.id not in self.settings:
            self.settings[tunnel.id] = self.account.get_settings(tunnel)
        names = [one for one in list_names(self.settings[tunnel.id]) if one not in wanted]
        foreign = [
            record for name in names for record in self._look_at_name(name, self.find_zone(name))
        ]
        return [record for record in foreign if record.content == tunnel.target]

    def is_own(self, record: DNSRecord) -> bool:
        if record.type != "CNAME":
            return False
        if record.comment:
            return record.comment == self.comment
        return any(
            record.content == tunnel.target
            and record.name in list_names(self.settings.get(tunnel.id, {}))
            for tunnel in self.tunnels.values()
        )

    def build_record(self, site: Site, name: str) -> DNSRecord | None:
        """The app's record of a site's name as it is to be, once there is the site's tunnel."""
        tunnel, zone, found = self.find_tunnel(site), self.find_zone(site.domain), self.records
        if tunnel is None or zone is None:
            return None
        return DNSRecord(
            id=found[name].id if name in found else "",
            zone_id=found[name].zone_id if name in found else zone.id,
            name=name,
            type="CNAME",
            content=tunnel.target,
            is_proxied=True,
            comment=self.comment,
        )

    def list_wanted_records(self) -> list[DNSRecord]:
        """The records that lead the sites' names to their tunnels, which are there by now."""
        wanted = (self.build_record(site, name) for site in self.sites for name in site.hostnames)
        return [*filter(None, wanted)]

    def leads(self, site: Site, name: str) -> bool:
        """Whether the app's record of a site's name is as it is to be."""
        return name in self.records and self.records[name] == self.build_record(site, name)

    def list_changing(self) -> list[Zone]:
        zones = {
            zone.id: zone
            for site in self.sites
            if not all(self.leads(site, name) for name in site.hostnames)
            if (zone := self.find_zone(site.domain))
        }
        return [*zones.values()]

    def find_own_record(self, wanted: DNSRecord) -> DNSRecord | None:
        found = self.account.list_records(wanted.zone_id, name=wanted.name)
        return next((record for record in found if self.is_own(record)), None)

    def list_old_records(self) -> list[DNSRecord]:
        wanted = list_hostnames(self.sites)
        return [record for name, record in self.records.items() if name not in wanted]

    def list_old_tunnels(self, ids: Collection[str] = ()) -> list[Tunnel]:
        """Its tunnels that the config does not have: those of ``ids``, and those of its records.

        A name alone does not say it: ``nvoi-shop-blue-web`` may be of ``shop`` or ``shop-blue``.
        """
        named = self.list_named_tunnels()
        targets = {record.content for record in self.records.values()}
        others = [tunnel for tunnel in self.tunnels.values() if tunnel not in named]
        return [one for one in others if one.id in ids or one.target in targets]

    def _judge_zone(self, site: Site) -> Iterator[Fault]:
        zone = self.find_zone(site.domain)
        if zone is None:
            seen = ", ".join(one.name for one in self.account.list_zones()) or "none"
            yield blame(
                site,
                f"no zone at Cloudflare ends {site.domain}; the token sees {seen}: add it there, "
                "or let the token see it",
            )
            return
        if zone.account_id != self.account.id:
            owner = f"{zone.account_id} ({zone.account_name})"
            yield Fault(0, 0, ACCOUNT_ID, f"the zone {zone.name} is in the account {owner}")
        if zone.is_paused:
            yield blame(site, f"Cloudflare is paused for {zone.name}: enable it there")
        elif zone.status != "active":
            servers = " and ".join(zone.name_servers) or "those that Cloudflare names"
            state = f"the zone {zone.name} is {zone.status}"
            yield blame(site, f"{state}: its name servers must be {servers}")
        for name in site.hostnames:
            labels = name.removesuffix(zone.name).rstrip(".").split(".")
            if len(labels) > 1:
                flat = "-".join(label for label in labels if label != "*")
                yield blame(
                    site,
                    f"{name} is more than one level below {zone.name}, and Cloudflare's universal "
                    f"certificate does not cover that: write `domain: {zone.name}`, and a "
                    f"`subdomain` of one level, such as {flat}",
                )

    def _judge_names(self, site: Site) -> Iterator[Fault]:
        """What another has in the place of the site's records."""
        for name in site.hostnames:
            if name in self.records:
                continue
            for record in self._look_at_name(name, self.find_zone(site.domain)):
                yield blame(
                    site,
                    f"{name} has a DNS record that is {name_owner(record)}: {record.type} "
                    f"{record.content}; remove it at Cloudflare, or choose another subdomain",
                )

    def _look_back(self, site: Site) -> Iterator[Fault]:
        """Find what the site's tunnel has served; whether it is another app's."""
        tunnel = self.find_tunnel(site)
        wanted = [*list_hostnames(self.sites), *self.records]
        for record in self.look_at(tunnel, wanted) if tunnel else ():
            if COMMENT.fullmatch(record.comment):
                message = f"{tunnel} is {name_owner(record)}, by its record {record.name}"
                yield Fault(0, 0, site.place, f"{message}: rename one of the two")

    def _look_at_name(self, name: str, zone: Zone | None) -> list[DNSRecord]:
        """Find the app's record of a name in its zone; others' that cannot be beside it."""
        if zone is None:
            return []
        found = self.account.list_records(zone.id, name=name)
        return self._sort(record for record in found if record.type in RIVALS)

    def _sort(self, records: Iterable[DNSRecord]) -> list[DNSRecord]:
        """Keep the records that are the app's; the others."""
        found = [*records]
        self.records |= {record.name: record for record in found if self.is_own(record)}
        return [record for record in found if not self.is_own(record)]


def blame(site: Site, message: str) -> Fault:
    return Fault(0, 0, f"{site.place}.domain", message)


def name_owner(record: DNSRecord) -> str:
    match = COMMENT.fullmatch(record.comment)
    return f"of nvoi's app {match[1]}" if match else "not nvoi's"


def build_rules(site: Site, others: Iterable[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """What a tunnel does with visitors: those of each name are led to the service.

    Args:
        others: rules of other names, which it keeps.
    """
    service = f"http://{site.workload}.default.svc.cluster.local:{site.port}"
    rules = [{"hostname": name, "service": service} for name in site.hostnames]
    return [*rules, *others, LAST_RULE]


def has_rules(settings: dict[str, Any], rules: Iterable[dict[str, str]]) -> bool:
    """Whether visitors are led so; what else a rule says of the way there is its owner's."""
    found = [
        {key: rule.get(key) or "" for key in KEYS} for rule in list_objects(settings, "ingress")
    ]
    return found == [{key: rule.get(key) or "" for key in KEYS} for rule in rules]


def list_names(settings: dict[str, Any]) -> list[str]:
    rules = list_objects(settings, "ingress")
    return [*dict.fromkeys(rule["hostname"].lower() for rule in rules if rule.get("hostname"))]


def list_other_rules(settings: dict[str, Any], site: Site) -> list[dict[str, Any]]:
    rules = list_objects(settings, "ingress")
    names = {*site.hostnames, ""}
    return [rule for rule in rules if (rule.get("hostname") or "").lower() not in names]


def describe_site(survey: AccountSurvey, site: Site) -> Iterator[str]:
    tunnel, name = survey.find_tunnel(site), build_tunnel_name(survey.app, site.service)
    if tunnel is None:
        yield f"makes the tunnel {name}"
    elif not has_rules(survey.settings[tunnel.id], build_rules(site)):
        yield f"changes the rules of {tunnel}"
    for hostname in site.hostnames:
        if hostname not in survey.records:
            yield f"makes the DNS record {hostname}, which leads to it"
        elif not survey.leads(site, hostname):
            yield f"changes the DNS record {hostname} to lead to it"


def describe_removal(records: Iterable[DNSRecord], tunnels: Iterable[Tunnel]) -> list[str]:
    return [f"removes {one}" for one in (*records, *tunnels)]
