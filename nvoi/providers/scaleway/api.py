"""Scaleway's API, as far as nvoi uses it: what there is of each kind, and how it is asked.

Facts are of Scaleway's API reference: Instances v1, Block Storage v1, VPC v2, IPAM v1 and
Marketplace v2.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from nvoi.account import Pace as CloudPace
from nvoi.account import build_client, get_endpoint
from nvoi.errors import RequestError
from nvoi.http import NO_TEXTS, Answer, list_objects
from nvoi.providers.cloud import log, reading
from nvoi.providers.rented import is_first_disk
from nvoi.providers.scaleway.refusals import explain, is_lost, is_transient, may_pass
from nvoi.secret import Secret

Json = dict[str, Any]

URL, URL_VARIABLE = "https://api.scaleway.com", "SCW_API_URL"
#: Entries of a list that are asked for at once: the most that there may be.
PAGE = 100
#: How many entries a list has in all; Instances tell it in a header of their own.
TOTAL = "total_count"
FORBIDDEN, NOT_FOUND = 403, 404
GB = 10**9


@dataclass(frozen=True)
class Kind:
    """Things that the API has lists of.

    Attributes:
        noun: what errors call one.
        path: of the list; ``{place}`` is a zone, or a region.
        plural: the key of a list's entries.
        singular: the key that one is behind in answers; empty where it is the answer itself.
    """

    noun: str
    path: str
    plural: str
    singular: str = ""

    @property
    def nouns(self) -> str:
        return f"{self.noun}es" if self.noun.endswith("s") else f"{self.noun}s"

    def build_query(self, project: str) -> dict[str, str]:
        """What limits a list to a project; Instances have words of their own for it."""
        return {"project" if self.singular else "project_id": project}


INSTANCE, BLOCK = "/instance/v1/zones/{place}", "/block/v1/zones/{place}"
VPC_V2, IPAM = "/vpc/v2/regions/{place}", "/ipam/v1/regions/{place}"
SERVER = Kind("server", f"{INSTANCE}/servers", "servers", "server")
ADDRESS = Kind("address", f"{INSTANCE}/ips", "ips", "ip")
FIREWALL = Kind(
    "security group", f"{INSTANCE}/security_groups", "security_groups", "security_group"
)
VOLUME = Kind("volume", f"{BLOCK}/volumes", "volumes")
NETWORK = Kind("private network", f"{VPC_V2}/private-networks", "private_networks")
VPC = Kind("VPC", f"{VPC_V2}/vpcs", "vpcs")


@dataclass(frozen=True)
class Resource:
    """One of them, as the API has described it.

    Attributes:
        place: its zone or region.
        tags: as they are; nvoi's are of the form ``key=value``.
    """

    kind: Kind
    id: str
    name: str
    place: str
    tags: tuple[str, ...]
    data: Json = field(repr=False, compare=False)

    @property
    def labels(self) -> dict[str, str]:
        return dict(tag.split("=", 1) for tag in self.tags if "=" in tag)

    @property
    def is_server(self) -> bool:
        return self.kind is SERVER

    @property
    def is_data(self) -> bool:
        return self.kind is VOLUME and not is_first_disk(self.labels)

    @property
    def type(self) -> str:
        return str(self.data["commercial_type"])

    @property
    def size(self) -> int:
        return int(self.data["size"]) // GB

    @property
    def path(self) -> str:
        return f"{self.kind.path.format(place=self.place)}/{self.id}"

    def __str__(self) -> str:
        return f"the {self.kind.noun} {self.name} in {self.place}"


@dataclass(frozen=True)
class Pace(CloudPace):
    """``release``: seconds until something may go that others used."""

    release: float = 120.0


class ScalewayAPI:
    """The API as one key and one project see it. Usable from any thread.

    Args:
        environ: names another address of the API as ``SCW_API_URL``, and proxies.

    Raises:
        UsageError: the address or a proxy cannot be used.
    """

    def __init__(
        self,
        secret_key: Secret,
        project: str,
        environ: Mapping[str, str],
        pace: Pace,
    ) -> None:
        # An id means the same in capital letters, by which nothing would be found.
        self.project, self.pace = project.lower(), pace
        self.url = get_endpoint(environ, URL_VARIABLE, URL).rstrip("/")
        self._base = urlsplit(self.url).path
        self._client = build_client(
            "Scaleway",
            self.url,
            environ,
            {"X-Auth-Token": secret_key.reveal()},
            pace=pace,
            log=log,
            is_temporary=may_pass,
            is_undone=is_transient,
        )

    def ask(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Mapping[str, str] = NO_TEXTS,
        body: object = None,
        headers: Mapping[str, str] = NO_TEXTS,
        patience: float | None = None,
    ) -> Json:
        """What the API answers; empty where that is nothing.

        Args:
            what: what it is asked to do, as it reads after "cannot".
            patience: seconds for which it is asked again, where not those of the pace.

        Raises:
            RequestError: it refused, or did not answer; the message says what it cannot do, and
                why.
        """
        try:
            answer = self._client.request(
                method,
                self._base + path,
                query=query,
                body=body,
                headers=headers,
                seconds=self.pace.answer,
                patience=self.pace.patience if patience is None else patience,
            )
            return read(answer)
        except RequestError as error:
            raise explain(error, what, self.url) from error

    def list_all(self, path: str, key: str, what: str, query: Mapping[str, str]) -> list[Json]:
        """The entries of all pages of a list; those of a mapping with their keys as ``name``."""
        entries: list[Json] = []
        size = "per_page" if path.startswith("/instance/") else "page_size"
        for page in itertools.count(1):
            paging = {"page": str(page), size: str(PAGE)}
            answer = self.ask("GET", path, what, query={**query, **paging})
            found, total = list_objects(answer, key), answer.get(TOTAL)
            if isinstance(named := answer.get(key), dict):
                found = [{**one, "name": name} for name, one in named.items()]
            elif not isinstance(named, list) and total != 0:
                # Nothing is taken for gone that was not looked at.
                message = f"Scaleway cannot {what}: the answer cannot be read: it has no {key}"
                raise RequestError(message)
            entries += found
            # A page may be shorter than what was asked for; not all lists tell how long they are.
            if not found or (len(entries) >= total if total else len(found) < PAGE):
                break
        return entries

    @reading("Scaleway")
    def list_resources(
        self, kind: Kind, place: str, query: Mapping[str, str] = NO_TEXTS
    ) -> list[Resource]:
        """All of a kind in a zone or region, the oldest first."""
        found = self.list_all(
            kind.path.format(place=place),
            kind.plural,
            f"list {kind.nouns} in {place}",
            {**kind.build_query(self.project), **query},
        )
        found.sort(key=find_birth)
        return [build_resource(kind, place, one) for one in found]

    def find(self, resource: Resource) -> Resource | None:
        """It as it is now; None where it is gone."""
        try:
            found = self.ask("GET", resource.path, f"find {resource}")
        except RequestError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        return unwrap(resource.kind, resource.place, found)

    def create(
        self, kind: Kind, place: str, body: Json, is_it: Callable[[Resource], bool]
    ) -> Resource:
        """Make one.

        An answer may get lost after it was made, and the API lets two have the same name: then
        it is looked for by ``is_it``, and never asked for twice.
        """
        what = f"make the {kind.noun} {body.get('name', '')}".rstrip() + f" in {place}"
        whole = {**body, **kind.build_query(self.project)}
        try:
            made = self.ask("POST", kind.path.format(place=place), what, body=whole)
        except RequestError as error:
            if not is_lost(error):
                raise
            found = next(filter(is_it, self.list_resources(kind, place)), None)
            if found is None:
                raise
            return found
        return unwrap(kind, place, made)

    def update(self, resource: Resource, body: Json) -> Resource:
        answer = self.ask("PATCH", resource.path, f"change {resource}", body=body)
        return unwrap(resource.kind, resource.place, answer or resource.data)

    def delete(self, resource: Resource) -> None:
        """Have it deleted; one that is gone is no error."""
        try:
            self.ask("DELETE", resource.path, f"delete {resource}")
        except RequestError as error:
            if error.status != NOT_FOUND:
                raise

    def act(
        self,
        server: Resource,
        path: str,
        body: Json,
        what: str,
        has_begun: Callable[[Resource | None], bool],
    ) -> None:
        """Ask for something of a server that goes on in the background.

        Args:
            has_begun: whether it has, by the server as it is when the answer was lost.
        """
        try:
            self.ask("POST", f"{server.path}/{path}", f"{what} {server}", body=body)
        except RequestError as error:
            if not is_lost(error) or not has_begun(self.find(server)):
                raise

    def wait(self, look: Callable[[], None], what: str, seconds: float) -> None:
        """Look until it raises no ``NotReadyError`` any more.

        Raises:
            NotReadyError: it still does after ``seconds``.
        """
        self.pace.look(look, what, log, seconds)


def find_birth(data: Json) -> str:
    """When it was made; empty where the API does not tell, as of addresses."""
    made = ("creation_date", "created_at")
    return next((str(data[key]) for key in made if data.get(key)), "")


def read(answer: Answer) -> Json:
    """The JSON of an answer, empty where it has no body; how long a list is, always with it."""
    content: Json = answer.read_object() if answer.body.strip() else {}
    total = answer.headers.get("X-Total-Count", "")
    return {**content, TOTAL: int(total)} if total.isdecimal() else content


def unwrap(kind: Kind, place: str, content: Json) -> Resource:
    data = content.get(kind.singular) if kind.singular else content
    return build_resource(kind, place, data if isinstance(data, dict) else content)


def build_resource(kind: Kind, place: str, data: Json) -> Resource:
    name = data.get("name") or data.get("address") or data["id"]
    return Resource(kind, data["id"], name, place, tuple(data.get("tags") or ()), data)
