"""Hetzner's API: how it is asked, what an account has of an app, and actions that are waited for.

hcloud builds what is sent and reads what comes; its own way of sending has no time-out, repeats a
POST that may have been heard, and does not ask again where something is locked.

Facts are of Hetzner's API reference: "Errors", "Rate Limiting", "Label Selector" and "Actions".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import hcloud
from hcloud.actions import BoundAction
from hcloud.firewalls import CreateFirewallResponse, FirewallRule
from hcloud.servers import CreateServerResponse, PublicNetwork
from hcloud.volumes import CreateVolumeResponse

from nvoi import parallel
from nvoi.account import Pace, build_client, get_endpoint
from nvoi.errors import RequestError
from nvoi.http import clean_line, list_objects
from nvoi.providers.cloud import log, reading
from nvoi.providers.hetzner.refusals import (
    PASSING,
    SILENCE_HINT,
    UNDONE,
    ActionError,
    find_code,
    is_gone,
)
from nvoi.secret import Secret
from nvoi.waiting import NotReadyError

#: In the order in which they can be deleted.
SERVER, VOLUME, FIREWALL, NETWORK, KEY = "server", "volume", "firewall", "network", "SSH key"
INITIALIZING = "initializing"

#: Of a rule: its direction, protocol and port, and whom it lets through.
Rule = tuple[str, str, str | None, frozenset[str]]


@dataclass(frozen=True)
class Record:
    """``data`` is the object of hcloud, which asks the API where a part of another is looked at."""

    kind: str
    id: int
    name: str
    labels: Mapping[str, str] = field(compare=False)
    data: Any = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def is_server(self) -> bool:
        return self.kind == SERVER

    @property
    def is_data(self) -> bool:
        return self.kind == VOLUME

    @property
    def type(self) -> str:
        """The server type."""
        return str(self.data.server_type.name)

    @property
    def location(self) -> str:
        return str(self.data.location.name)

    place = location

    @property
    def size(self) -> int:
        """GB of a volume."""
        return int(self.data.size)

    @property
    def holder(self) -> int | None:
        """The id of the server that a volume is attached to."""
        server = self.data.server
        return int(server.id) if server else None

    @property
    def addresses(self) -> dict[int, str]:
        """The private addresses of a server by the ids of networks."""
        return {one.network.id: one.ip for one in self.data.private_net or []}

    @property
    def firewalls(self) -> set[int]:
        """The ids of those that a server is behind."""
        return {one.firewall.id for one in self.data.public_net.firewalls or []}

    @property
    def subnets(self) -> dict[str, str]:
        """The network zones of a network's subnets by their ranges."""
        return {one.ip_range: one.network_zone for one in self.data.subnets or []}

    @property
    def rules(self) -> set[Rule]:
        return {read_rule(one) for one in self.data.rules or []}


def build_record(kind: str, data: Any) -> Record:
    return Record(kind, data.id, data.name, data.labels or {}, data)


def list_busy(records: Iterable[Record]) -> Iterable[str]:
    """What Hetzner still works on, as far as records tell."""
    for one in records:
        if one.is_server and (one.data.locked or one.data.status == INITIALIZING):
            yield f"{one} is {one.data.status}"
        if one.is_data and one.data.status != one.data.STATUS_AVAILABLE:
            yield f"{one} is being made"


def find_address(public: PublicNetwork) -> str | None:
    """The IPv4 address; of a server without one the first of its IPv6 network."""
    if public.ipv4 is not None:
        return str(public.ipv4.ip)
    return str(ipaddress.ip_network(public.ipv6.ip)[1]) if public.ipv6 is not None else None


def read_rule(rule: FirewallRule) -> Rule:
    addresses: Collection[str] = [*rule.source_ips, *rule.destination_ips]
    return rule.direction, rule.protocol, rule.port, frozenset(addresses)


T = TypeVar("T")

#: The variable that names another address of the API, as Hetzner's own programs have it.
ENDPOINT_VARIABLE = "HCLOUD_ENDPOINT"
ENDPOINT = "https://api.hetzner.cloud/v1"
#: Actions that are asked for at once: an answer that is not told how long it may be has so many.
PAGE = 25
#: The id of nothing.
NOBODY = 0
RUNNING, FAILED = "running", "error"


class API:
    """The API of one project, which its token stands for.

    Its methods raise a ``RequestError`` where it refuses, or does not answer within ``pace``.

    Raises:
        UsageError: the address or the proxy in ``environ`` cannot be used.
    """

    def __init__(self, token: Secret, environ: Mapping[str, str], pace: Pace) -> None:
        endpoint = get_endpoint(environ, ENDPOINT_VARIABLE, ENDPOINT)
        self.pace = pace
        self._base = urlsplit(endpoint).path.rstrip("/")
        self._client = build_client(
            "Hetzner",
            endpoint,
            environ,
            {"Authorization": f"Bearer {token.reveal()}"},
            pace=pace,
            log=log,
            is_temporary=lambda error: find_code(error) in PASSING,
            is_undone=lambda error: find_code(error) in UNDONE,
        )
        self.cloud = hcloud.Client(token=token.reveal(), api_endpoint=endpoint)
        # All of hcloud's clients send through this one, which has no public way to another.
        self.cloud._client.request = self.request  # type: ignore[method-assign]  # noqa: SLF001

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: object = None,
        **_: object,
    ) -> dict[str, Any]:
        """The JSON of an answer; hcloud calls it so."""
        query = f"?{urlencode(params, doseq=True)}" if params else ""
        answer = self._client.request(
            method,
            f"{self._base}{url}{query}",
            body=json,
            seconds=self.pace.answer,
            patience=self.pace.patience,
        )
        return answer.read_object() if answer.body else {}

    @reading("Hetzner")
    def look(
        self,
        labels: Mapping[str, str],
        names: Mapping[str, Collection[str]],
        *,
        with_keys: bool = False,
    ) -> tuple[Record, ...]:
        """What there is with these labels, and of ``names``, by kind, what has other labels."""
        clients: dict[str, Any] = {
            SERVER: self.cloud.servers,
            VOLUME: self.cloud.volumes,
            FIREWALL: self.cloud.firewalls,
            NETWORK: self.cloud.networks,
        }
        if with_keys:
            clients[KEY] = self.cloud.ssh_keys
        found = parallel.work_on_all(
            list(clients), lambda kind: list_things(clients[kind], labels, names.get(kind, ()))
        )
        return tuple(build_record(kind, one) for kind in clients for one in found[kind])

    def check_rights(self) -> None:
        """See that the token may change things, by deleting what is not there."""
        try:
            self.request("DELETE", f"/ssh_keys/{NOBODY}")
        except RequestError as error:
            if not is_gone(error):
                raise

    def find_key(self, fingerprint: str) -> Record | None:
        """The SSH key, whoever's it is: an account takes each only once."""
        found = self.cloud.ssh_keys.get_by_fingerprint(fingerprint)
        return None if found is None else build_record(KEY, found)

    def wait_for_actions(self, actions: Sequence[BoundAction]) -> dict[int, ActionError]:
        """Wait until all that goes on in the background has ended; returns by id what has failed.

        Raises:
            NvoiError: it has not ended by the deadline. It says how far it was.
        """
        left = {action.id: action.command or "" for action in actions}
        failed: dict[int, ActionError] = {}
        if not left:
            return failed

        def look() -> None:
            for action in self._list_actions(list(left)):
                left[action["id"]] = f"{action['command']} ({action['progress']} %)"
                if action["status"] == FAILED:
                    failed[action["id"]] = ActionError(describe_failure(action))
                if action["status"] != RUNNING:
                    del left[action["id"]]
            if left:
                raise NotReadyError(", ".join(left.values()))

        self.wait(look, f"Hetzner to end {len(left)} action{'s' * (len(left) > 1)}")
        return failed

    def wait(self, look: Callable[[], T], what: str) -> T:
        return self.pace.wait(look, what, log, hint=SILENCE_HINT)

    def _list_actions(self, ids: Sequence[int]) -> Iterable[dict[str, Any]]:
        for begin in range(0, len(ids), PAGE):
            params = {"id": ids[begin : begin + PAGE]}
            yield from list_objects(self.request("GET", "/actions", params=params), "actions")


def list_things(client: Any, labels: Mapping[str, str], names: Collection[str]) -> list[Any]:
    """Those of a kind; where one of ``names`` lacks the labels, all of the account are read."""
    own = client.get_all(label_selector=",".join(f"{key}={value}" for key, value in labels.items()))
    lacking = {*names} - {one.name for one in own}
    rest = client.get_all() if lacking else []
    return [*own, *(one for one in rest if one.name in lacking)]


def describe_failure(action: Mapping[str, Any]) -> str:
    error = action.get("error") or {}
    reason = clean_line(error.get("message") or "no reason is given")
    return f"{action['command']} failed: {reason}"


def list_actions(answer: object) -> Sequence[BoundAction]:
    """What goes on in the background after hcloud has returned this, of whatever form it is."""
    if isinstance(answer, BoundAction):
        return [answer]
    if isinstance(answer, CreateServerResponse | CreateVolumeResponse):
        return [answer.action, *(answer.next_actions or [])]
    if isinstance(answer, CreateFirewallResponse):
        return answer.actions or []
    return answer if isinstance(answer, list) else []
