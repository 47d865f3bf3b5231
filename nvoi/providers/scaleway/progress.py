"""How far the servers of an app at Scaleway are, and their disks. Pure."""

from __future__ import annotations

from nvoi.errors import NvoiError
from nvoi.providers.rented import WantedServer
from nvoi.providers.scaleway.api import GB, Resource
from nvoi.providers.scaleway.inventory import Inventory, list_attached
from nvoi.providers.scaleway.refusals import AGAIN

MISSING, AVAILABLE = "not there yet", "available"


def get_server(inventory: Inventory, wanted: WantedServer) -> Resource:
    """The server, which a step before has made.

    Raises:
        NvoiError: Scaleway has locked it: nothing can be done with it.
    """
    server = inventory.find_server(wanted.name)
    if server is None:
        raise AssertionError(f"there is no server {wanted.name}")
    if lock := find_lock(server):
        raise lock
    return server


def list_volumes(inventory: Inventory, wanted: WantedServer) -> list[Resource]:
    """Those that are to be on a server, and are there."""
    names = {volume.name for volume in wanted.volumes}
    return [one for one in inventory.data if one.name in names]


def list_unmade(inventory: Inventory) -> list[str]:
    """The disks that cannot be attached yet, each with its state.

    Raises:
        NvoiError: one never will.
    """
    sizes = {volume.name: volume.size * GB for _, volume in inventory.list_volumes()}
    pending = []
    for volume in [one for one in inventory.data if one.name in sizes]:
        status = volume.data["status"]
        if status == "error":
            raise NvoiError(f"Scaleway has failed to make {volume}", hint=f"delete it; {AGAIN}")
        if status not in {AVAILABLE, "in_use"} or volume.data["size"] < sizes[volume.name]:
            pending.append(f"{volume.name} is {status}")
    return pending


def list_unconnected(inventory: Inventory) -> list[str]:
    """The servers whose disks are not there yet, each with the state of one."""
    pending = []
    for wanted in inventory.wanted:
        server = get_server(inventory, wanted)
        disks = list_attached(server)
        states = [disks.get(one.id, MISSING) for one in list_volumes(inventory, wanted)]
        waits = [state for state in states if state not in {"", AVAILABLE}]
        if not waits and not server.data.get("allowed_actions", True):
            waits = ["busy"]
        pending += [f"a disk of {server.name} is {state}" for state in waits[:1]]
    return pending


def list_unready(inventory: Inventory, network: Resource) -> list[str]:
    """The servers that do not run yet, or are not in the network, each with its state."""
    pending = []
    for wanted in inventory.wanted:
        server = get_server(inventory, wanted)
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
