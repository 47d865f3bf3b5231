"""Who may reach what, as a policy's enforcer reads it: the longest match of an address counts."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from nvoi.kubernetes.pods import NODES


def is_let_in(address: str) -> bool:
    """As k3s' own enforcer does, which keeps all of a rule's addresses in one set (ipset(8))."""
    found = ipaddress.ip_address(address)
    entries: list[tuple[Any, bool]] = []
    for peer in NODES:
        block: Any = peer["ipBlock"]
        entries.append((ipaddress.ip_network(block["cidr"]), True))
        entries += [(ipaddress.ip_network(one), False) for one in block.get("except", ())]
    matching = [entry for entry in entries if found in entry[0]]
    return max(matching, key=lambda entry: entry[0].prefixlen)[1]


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("203.0.113.10", True),
        ("10.0.0.11", True),
        # A node's tunnel and its bridge, on the first node and the last that there can be.
        ("10.42.0.0", True),
        ("10.42.0.1", True),
        ("10.42.255.0", True),
        ("10.42.0.2", False),
        ("10.42.17.254", False),
        ("10.42.255.255", False),
    ],
)
def test_nodes_are_let_in_and_pods_are_not(address: str, wanted: bool) -> None:
    assert is_let_in(address) is wanted
