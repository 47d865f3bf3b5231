"""The servers of a Kamal file, as groups: those that the same roles run on are alike."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Names
from dataclasses import dataclass, field
from functools import cached_property

from nvoi.config.nodes import Entry, Mapping, Node, Scalar
from nvoi.config.schema import ServerGroup
from nvoi.onboarding.answers import MAIN, list_hosts
from nvoi.onboarding.commands import find_port
from nvoi.onboarding.proposals.proposal import Variables, build_service_name
from nvoi.onboarding.proposals.tree import Note, Stanza, list_entries, list_items, list_texts

SSH = {
    "keys": "nvoi makes a key pair of its own, or is given one: `ssh_keys`",
    **dict.fromkeys(("proxy", "proxy_command"), "a jump host is the ProxyJump of ~/.ssh/config"),
}


@dataclass
class Servers:
    """Hosts as they were read.

    ``places`` are the hosts of each role and accessory, by its name, in the order of the file;
    ``single`` are those that have a volume, which is on one host's disk.
    """

    places: dict[str, list[str]] = field(default_factory=dict)
    single: set[str] = field(default_factory=set)

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Hosts by the name of their group: those alike that the same roles run on.

        Asked once all are read.
        """
        alone = {self.places[name][0] for name in self.single if self.places[name]}
        users: dict[str, tuple[str, ...]] = {}
        for name, hosts in self.places.items():
            users |= {host: (*users.get(host, ()), name) for host in hosts}
        signed: dict[tuple[str, ...], list[str]] = {}
        for host, names in users.items():
            signed.setdefault((*names, host) if host in alone else names, []).append(host)
        named: dict[str, list[str]] = {}
        for index, (names, hosts) in enumerate(signed.items()):
            name = MAIN if index == 0 else build_service_name(names[0]) or "more"
            while name in named:
                name = f"{name}-{index + 1}"
            named[name] = hosts
        return named

    def place(self, name: str) -> tuple[str, ...]:
        """The groups of a role or an accessory; one with a volume has the first."""
        wanted = self.places[name][:1] if name in self.single else self.places[name]
        return tuple(group for group, hosts in self.groups.items() if set(hosts) & set(wanted))

    def find_addresses(self, variables: Variables, reached: Names[str, str]) -> Iterator[Note]:
        """The variables that have the server of an accessory; ``reached`` has each one's name."""
        told = {
            (name, one.place): one.text for each in variables.values() for name, one in each.items()
        }
        names: dict[str, list[str]] = {}
        for one, name in reached.items():
            for host in self.places.get(one, ()):
                names.setdefault(host, []).append(name)
        for (name, place), text in told.items():
            for host in dict.fromkeys(list_hosts(name, text)):
                if host in names:
                    others = " and ".join(names[host])
                    reason = f"the app reaches what runs on {host} as {others}, not by address"
                    yield Note(place, name, reason)

    def read_hosts(self, stanza: Stanza, name: str, *, is_single: bool) -> None:
        """The hosts of a role or an accessory, which may name roles in their place."""
        wanted: list[str] = []
        for key in ("hosts", "host"):
            for item in list_items(stanza.take(key)):
                # A host may have tags, as a mapping of one key.
                tagged = [name for name, _ in list_entries(item)]
                wanted += tagged or [one.text for one in list_texts(item)]
        for key in ("roles", "role"):
            for role in dict.fromkeys(one.text for one in stanza.texts(key)):
                wanted += self.places.get(role, [])
        self.places[name] = list(dict.fromkeys(wanted))
        if is_single and wanted:
            self.single.add(name)
            if len(self.places[name]) > 1:
                stanza.add_note(None, f"runs on {wanted[0]} alone, as its volume is on one disk")

    def build_groups(self, ssh: Stanza) -> tuple[ServerGroup, ...]:
        user, port = ssh.text("user") or None, find_port(ssh.text("port"))
        ssh.tell_all(SSH)
        groups = self.groups
        return tuple(
            ServerGroup(
                name,
                master=index == 0 and len(groups) > 1,
                count=len(hosts),
                hosts=tuple(hosts),
                user=user,
                port=port,
            )
            for index, (name, hosts) in enumerate(groups.items())
        )


def wrap_hosts(node: Node | None) -> Mapping | None:
    """``[HOST, …]`` as ``{hosts: [HOST, …]}``."""
    if node is None:
        return None
    key = Scalar("hosts", plain=True, place=node.place)
    return Mapping(node.place, {"hosts": Entry(key, node)})
