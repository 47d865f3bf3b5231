"""The ways to the release before, which stay until the new one is there: ports, rules and names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nvoi.kubernetes.isolation import INGRESS
from nvoi.kubernetes.manifests import PUBLIC_NAME
from nvoi.kubernetes.names import INSTANCE
from nvoi.kubernetes.ownership import Json, Manifest, read_reference
from nvoi.kubernetes.workloads import PUBLIC_PORT


def keep_ways(live: Iterable[Json], wanted: Iterable[Manifest]) -> list[Manifest]:
    """``wanted``, which leaves open what visitors come by now.

    These are the ports of Services to which they are led, the place of the ingress among those
    whom a policy lets in, and the names that an Ingress serves, unless another is to serve them.

    Args:
        live: what there is.
        wanted: what is to be there once the release is reached.
    """
    there, wanted = {read_reference(item): item for item in live}, list(wanted)
    names = {rule.get("host") for item in wanted for rule in list_rules(item)}
    return [
        keep_open(item, found, names) if (found := there.get(read_reference(item))) else item
        for item in wanted
    ]


def keep_open(item: Manifest, live: Json, names: set[str | None]) -> Manifest:
    """An object with what visitors come by in the live one; ``names`` are led elsewhere by then."""
    spec: Any = item.get("spec")
    if item["kind"] == "Service":
        changed = spec | {"ports": [*spec["ports"], *list_ports(spec, live["spec"])]}
    elif item["kind"] == "NetworkPolicy":
        found = live["spec"].get("ingress") or ()
        changed = spec | {"ingress": keep_ingress(spec["ingress"], found)}
    elif item["kind"] == "Ingress":
        kept = [rule for rule in list_rules(live) if rule.get("host") not in names]
        changed = spec | {"rules": [*list_rules(item), *kept]}
    else:
        return item
    return item | {"spec": changed}


def list_ports(wanted: Any, live: Any) -> list[Manifest]:
    """The port that visitors are led to, where it is there and no longer wanted."""
    is_there = any(port.get("name") == PUBLIC_NAME for port in live["ports"])
    if not is_there or any(port["port"] == PUBLIC_PORT for port in wanted["ports"]):
        return []
    return [wanted["ports"][0] | {"name": PUBLIC_NAME, "port": PUBLIC_PORT}]


def keep_ingress(wanted: Any, live: Any) -> Any:
    """A policy's wanted rules, which let the ingress in where the live ones do.

    A rule without peers lets everybody in.
    """
    is_let_in = any(INGRESS in (rule.get("from") or (INGRESS,)) for rule in live)
    return [
        rule | {"from": [*rule["from"], dict(INGRESS)]}
        if is_let_in and rule and INGRESS not in rule["from"]
        else rule
        for rule in wanted
    ]


def list_rules(item: Json | Manifest) -> list[Any]:
    spec: Any = item.get("spec")
    return list(spec.get("rules") or ()) if item["kind"] == "Ingress" else []


def hold_targets(live: Iterable[Json], wanted: Iterable[Manifest]) -> list[Manifest]:
    """``wanted``, with Services that lead to the number of a port which no pod of theirs names.

    What is wanted is to be applied once there are pods that do.

    Args:
        live: what there is; of it the Deployments count.
        wanted: what is to be there.
    """
    numbers = {
        item["spec"]["template"]["metadata"]["labels"].get(INSTANCE): port["containerPort"]
        for item in live
        if item["kind"] == "Deployment"
        for container in item["spec"]["template"]["spec"]["containers"]
        for port in container.get("ports") or ()
        if "name" not in port
    }
    return [hold_target(item, numbers) if item["kind"] == "Service" else item for item in wanted]


def hold_target(service: Manifest, numbers: dict[str | None, int]) -> Manifest:
    spec: Any = service["spec"]
    number = numbers.get(spec["selector"].get(INSTANCE))
    if number is None:
        return service
    ports = [
        port | {"targetPort": number} if isinstance(port["targetPort"], str) else port
        for port in spec["ports"]
    ]
    return service | {"spec": spec | {"ports": ports}}
