"""Gives back what was rented at Scaleway, in the order that its API needs, past what it refuses.

Interfaces leave the network before their servers go; a server leaves its disks behind, that which
it started from as well; addresses, security group, network and VPC go when nothing uses them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from nvoi.errors import NvoiError, RequestError
from nvoi.parallel import work_on_all
from nvoi.providers.cloud import log
from nvoi.providers.rented import OF_SERVER
from nvoi.providers.scaleway.api import (
    ADDRESS,
    FIREWALL,
    NETWORK,
    NOT_FOUND,
    SERVER,
    VOLUME,
    VPC,
    Kind,
    Resource,
    ScalewayAPI,
)
from nvoi.providers.scaleway.inventory import (
    Inventory,
    build_root,
    build_tags,
    find_root,
    list_attached,
)
from nvoi.providers.scaleway.progress import find_lock, is_stopped
from nvoi.providers.scaleway.refusals import find_type, is_lost
from nvoi.waiting import NotReadyError

#: The order in which kinds go; all of one kind go side by side. While the disk that a server has
#: started from is there, a deploy looks for its address too.
KINDS = (SERVER, ADDRESS, VOLUME, FIREWALL, NETWORK, VPC)
#: Those of which each has one server: others' may go where some servers stay.
OF_ONE = (ADDRESS, VOLUME)
#: How often something is asked to go where the answer gets lost.
TRIES = 3
#: What the API says of something that still has users; of security groups in words alone.
IN_USE, IN_USE_TEXT = {"precondition_failed", "conflict", "transient_state"}, "in use"


class Remover:
    """One run of giving back.

    Attributes:
        left: what did not go, by its id.
        reasons: why not, by its id, where the API has said it.
    """

    def __init__(self, api: ScalewayAPI, inventory: Inventory) -> None:
        self._api, self._inventory = api, inventory
        self.left: dict[str, Resource] = {}
        self.reasons: dict[str, NvoiError] = {}
        self._tries: Counter[str] = Counter()

    def delete_all(self, resources: Iterable[Resource]) -> None:
        """Delete all that can be.

        Raises:
            RequestError: the API does not answer: there is nothing to go on with.
        """
        these = [*resources]
        these += self._mark_roots([one for one in these if one.kind is SERVER])
        by_id = {one.id: one for one in these}
        self._detach(by_id)
        for kind in KINDS:
            self._delete_kind(kind, [one for one in by_id.values() if one.kind is kind])

    def _mark_roots(self, servers: Sequence[Resource]) -> list[Resource]:
        """The disks that servers start from, marked: a run that is cut off leaves none unknown."""
        known = {one.id for one in self._inventory.list_roots()}
        roots = []
        for server in servers:
            root = find_root(server)
            if root is None or root in known:
                continue
            disk = build_root(server, root)
            tags = build_tags(None, {**self._inventory.own, OF_SERVER: server.name})
            try:
                self._api.update(disk, {"name": disk.name, "tags": tags})
            except RequestError as error:
                self.reasons[root] = error
            roots.append(disk)
        return roots

    def _detach(self, going: Mapping[str, Resource]) -> None:
        """Have servers that stay let go of disks that go."""
        stays = {one.id: one for one in self._inventory.servers if one.id not in going}
        for disk in going.values():
            for one in disk.data.get("references") or ():
                server = stays.get(one.get("product_resource_id"))
                if disk.kind is not VOLUME or server is None:
                    continue
                try:
                    self._api.act(
                        server,
                        "detach-volume",
                        {"volume_id": disk.id},
                        f"detach {disk} from",
                        partial(has_let_go, disk),
                    )
                except RequestError as error:
                    self.reasons[disk.id] = error

    def _delete_kind(self, kind: Kind, resources: Sequence[Resource]) -> None:
        going = {one.id: one for one in resources}
        # Where its users stay, it stays too.
        stay = [one for one in self.left.values() if one.kind is SERVER]
        for held in going.keys() & {disk for one in stay for disk in list_attached(one)}:
            self.left[held] = going.pop(held)
            self.reasons.setdefault(held, NvoiError("its server stays"))
        if not going:
            return
        pace = self._api.pace
        release = pace.release if kind in OF_ONE or not self.left else 0.0
        seconds = pace.deadline if kind is SERVER else release
        try:
            self._api.wait(
                lambda: self._look(kind, going), f"{kind.nouns} at Scaleway to go", seconds
            )
        except (NotReadyError, NvoiError) as last:
            if isinstance(last, RequestError) and last.is_silence:
                raise
            self.left.update(going)
            for one in going:
                self.reasons.setdefault(one, NvoiError(str(last)))

    def _look(self, kind: Kind, going: dict[str, Resource]) -> None:
        """See what is gone, and ask the rest to go."""
        places = list(dict.fromkeys(one.place for one in going.values()))
        found = work_on_all(places, lambda place: self._api.list_resources(kind, place))
        now = {one.id: one for listed in found.values() for one in listed}
        for key in [key for key in going if key not in now]:
            log.info("deleted %s", going.pop(key))
            self.reasons.pop(key, None)
        for one, may_go in work_on_all([now[key] for key in going], self._try).items():
            if not may_go:
                self.left[one.id] = going.pop(one.id)
        if going:
            raise NotReadyError(", ".join(f"{one} is still there" for one in going.values()))

    def _try(self, resource: Resource) -> bool:
        """Ask it to go; whether it may, or has to be asked again."""
        if resource.kind is SERVER and (lock := find_lock(resource)):
            self.reasons[resource.id] = lock
            return False
        try:
            if resource.kind is SERVER:
                self._delete_server(resource)
            elif resource.data.get("status") not in {"in_use", "deleting", "updating"}:
                self._api.delete(resource)
        except RequestError as error:
            self.reasons[resource.id] = error
            self._tries[resource.id] += is_lost(error)
            may_pass = is_lost(error) and self._tries[resource.id] < TRIES
            return may_pass or is_in_use(error)
        return True

    def _delete_server(self, server: Resource) -> None:
        """Terminate one that runs, delete one that does not, and wait until it is either."""
        may_terminate = "terminate" in server.data.get("allowed_actions", ())
        if not (may_terminate or is_stopped(server)):
            return
        for nic in server.data.get("private_nics") or ():
            try:
                path = f"{server.path}/private_nics/{nic['id']}"
                self._api.ask("DELETE", path, f"have {server} leave its network")
            except RequestError as error:
                if error.status != NOT_FOUND:
                    raise
        if may_terminate:
            body = {"action": "terminate"}
            self._api.act(server, "action", body, "delete", lambda now: not has_terminate(now))
        else:
            self._api.delete(server)


def has_let_go(disk: Resource, server: Resource | None) -> bool:
    return server is None or disk.id not in list_attached(server)


def has_terminate(server: Resource | None) -> bool:
    return server is not None and "terminate" in server.data.get("allowed_actions", ())


def is_in_use(error: RequestError) -> bool:
    """Whether something may go once others have gone."""
    return find_type(error) in IN_USE or IN_USE_TEXT in error.message
