"""What is ordered of Scaleway: servers with all they are made of, and how far each is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nvoi.errors import NvoiError
from nvoi.providers.rented import WantedServer
from nvoi.providers.scaleway.api import GB, Resource
from nvoi.providers.scaleway.inventory import Inventory, list_attached
from nvoi.providers.scaleway.refusals import AGAIN

MISSING, AVAILABLE = "not there yet", "available"


@dataclass(frozen=True)
class Order:
    """A wanted server with what it is made of.

    Attributes:
        image: its id; None where the server is there.
        shortage: what to say where there are none left of its type.
    """

    wanted: WantedServer
    zone: str
    type: str
    image: str | None = None
    shortage: str = ""

    def get_server(self, inventory: Inventory) -> Resource:
        """The server, which a step before has made.

        Raises:
            NvoiError: Scaleway has locked it: nothing can be done with it.
        """
        server = inventory.find_server(self.wanted.name)
        if server is None:
            raise AssertionError(f"there is no server {self.wanted.name}")
        if lock := find_lock(server):
            raise lock
        return server

    def list_volumes(self, inventory: Inventory) -> list[Resource]:
        names = {volume.name for volume in self.wanted.volumes}
        return [one for one in inventory.data if one.name in names]


def list_unmade(inventory: Inventory, orders: Sequence[Order]) -> list[str]:
    """The disks that cannot be attached yet, each with its state.

    Raises:
        NvoiError: one never will.
    """
    sizes = {one.name: one.size * GB for order in orders for one in order.wanted.volumes}
    pending = []
    for volume in [one for order in orders for one in order.list_volumes(inventory)]:
        status = volume.data["status"]
        if status == "error":
            raise NvoiError(f"Scaleway has failed to make {volume}", hint=f"delete it; {AGAIN}")
        if status not in {AVAILABLE, "in_use"} or volume.data["size"] < sizes[volume.name]:
            pending.append(f"{volume.name} is {status}")
    return pending


def list_unconnected(inventory: Inventory, orders: Sequence[Order]) -> list[str]:
    """The servers whose disks are not there yet, each with the state of one."""
    pending = []
    for order in orders:
        server = order.get_server(inventory)
        disks = list_attached(server)
        states = [disks.get(one.id, MISSING) for one in order.list_volumes(inventory)]
        waits = [state for state in states if state not in {"", AVAILABLE}]
        if not waits and not server.data.get("allowed_actions", True):
            waits = ["busy"]
        pending += [f"a disk of {server.name} is {state}" for state in waits[:1]]
    return pending


def list_unready(inventory: Inventory, orders: Sequence[Order], network: Resource) -> list[str]:
    """The servers that do not run yet, or are not in the network, each with its state."""
    pending = []
    for order in orders:
        server = order.get_server(inventory)
        state, detail = server.data["state"], server.data.get("state_detail")
        nic = find_nic_state(server, network)
        if state != "running":
            pending.append(f"{server.name} is {state}{f' ({detail})' if detail else ''}")
        elif nic not in {"", AVAILABLE}:
            pending.append(f"the private interface of {server.name} is {nic}")
    return pending


def find_nic_state(server: Resource, network: Resource) -> str:
    for nic in server.data.get("private_nics") or ():
        if nic.get("private_network_id") == network.id:
            return str(nic.get("state") or "")
    return MISSING


def find_lock(server: Resource) -> NvoiError | None:
    """Why nothing can be done with a server that Scaleway has locked."""
    if server.data["state"] != "locked":
        return None
    hint = "their support says why, and unlocks it"
    return NvoiError(f"Scaleway has locked {server}", hint=hint)


def is_stopped(server: Resource) -> bool:
    return server.data["state"] in {"stopped", "stopped in place"}
