"""Who may reach an app's servers from outside: a security group in each of their zones.

It says nothing of the private network, where everything is let through. Mail to port 25, 465 and
587 is blocked by rules of Scaleway's own, which nobody can edit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nvoi.naming import build_firewall_name
from nvoi.providers.rented import list_former_ports, list_open_ports
from nvoi.providers.scaleway.api import FIREWALL, Json, Resource, ScalewayAPI
from nvoi.providers.scaleway.inventory import Inventory, build_tags

ANYWHERE = "0.0.0.0/0"
POLICY: Json = {
    "stateful": True,
    "inbound_default_policy": "drop",
    "outbound_default_policy": "accept",
}
#: Of a rule: its direction, action, protocol, addresses, first and last port.
Rule = tuple[str, str, str, str, int | None, int | None]


def build_rules(ports: Iterable[int]) -> list[Rule]:
    return [("inbound", "accept", "TCP", ANYWHERE, port, None) for port in ports]


def read_rule(found: Mapping[str, Any]) -> Rule:
    first, last = found.get("dest_port_from"), found.get("dest_port_to")
    return (
        found["direction"],
        found["action"],
        str(found["protocol"]).upper(),
        found["ip_range"],
        first,
        None if last == first else last,
    )


def list_rules(api: ScalewayAPI, group: Resource) -> list[Rule]:
    """Its rules, without those that nobody can edit."""
    found = api.list_all(f"{group.path}/rules", "rules", f"list the rules of {group}", {})
    return [read_rule(one) for one in found if one.get("editable", True)]


def find_drift(group: Resource, rules: Sequence[Rule], ports: Iterable[int]) -> list[str]:
    """What of a group is not as it is to be, as it reads behind its name."""
    wanted = build_rules(ports)
    drift = [f"opens {describe(one)}" for one in wanted if one not in rules]
    drift += [f"no longer {describe_use(one)}" for one in rules if one not in wanted]
    drift += [
        f"{key} is {str(value).lower()} again"
        for key, value in POLICY.items()
        if group.data.get(key) != value
    ]
    return drift


def find_open(rules: Sequence[Rule], ports: Iterable[int]) -> list[int]:
    """Those of ``ports`` that everybody may reach."""
    return [port for port in ports if build_rules([port])[0] in rules]


def ensure_firewall(
    api: ScalewayAPI, inventory: Inventory, zone: str
) -> tuple[Resource, list[str], list[int]]:
    """The security group of a zone, what was not as it is to be, and what stays open.

    That are ports which only the release before may need.
    """
    application, labels = inventory.application, inventory.own
    name = build_firewall_name(application.name)
    named = (one for one in inventory.list(FIREWALL) if (one.name, one.place) == (name, zone))
    found = group = next(named, None)
    if group is None:
        body = {"name": name, "tags": build_tags(None, labels), **POLICY}
        group = api.create(FIREWALL, zone, body, lambda one: one.name == name)
    tags, rules = build_tags(group, labels), list_rules(api, group)
    left = find_open(rules, list_former_ports(application))
    ports = [*list_open_ports(application), *left]
    drift = find_drift(group, rules, ports)
    if any(group.data.get(key) != value for key, value in POLICY.items()) or set(tags) != set(
        group.tags
    ):
        group = api.update(group, {**POLICY, "tags": tags})
    if drift:
        set_rules(api, group, build_rules(ports))
    return group, [] if found is None else drift, left


def set_rules(api: ScalewayAPI, group: Resource, rules: Sequence[Rule]) -> None:
    """Have a group hold these rules alone; those of Scaleway's own stay."""
    keys = ("direction", "action", "protocol", "ip_range", "dest_port_from", "dest_port_to")
    body = [
        {**dict(zip(keys, rule, strict=True)), "position": position, "editable": True}
        for position, rule in enumerate(rules, 1)
    ]
    api.ask("PUT", f"{group.path}/rules", f"set the rules of {group}", body={"rules": body})


def describe(rule: Rule) -> str:
    _, _, protocol, addresses, first, last = rule
    ports = "" if first is None else f" port {first}" if last is None else f" ports {first}-{last}"
    return f"{protocol}{ports} for {'all' if addresses == ANYWHERE else addresses}"


def describe_use(rule: Rule) -> str:
    direction, action, *_ = rule
    return f"{action}s {direction} {describe(rule)}"
