"""Scaleway's API, as far as nvoi uses it: what there is, all pages of it, and errors in plain words.

Facts are of Scaleway's API reference: Instances v1, Block Storage v1, VPC v2, IPAM v1 and
Marketplace v2; errors as its own clients read them (scaleway-sdk-go, ``scw/errors.go``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from nvoi.errors import RequestError
from nvoi.http import ANSWER_SECONDS, NO_TEXTS, PATIENCE, Answer, Client, build_connect
from nvoi.secret import Secret

Json = dict[str, Any]

URL, URL_VARIABLE = "https://api.scaleway.com", "SCW_API_URL"
#: Seconds between the first two looks at what goes on in the background.
PAUSE = 0.5
#: Entries of a list that are asked for at once: the most that there may be.
PAGE = 100
NOT_FOUND, SERVER_FAULT = 404, 500
#: What an API key needs, all of them for the project.
RIGHTS = (
    "InstancesFullAccess",
    "BlockStorageFullAccess",
    "VPCFullAccess",
    "PrivateNetworksFullAccess",
    "IPAMReadOnly",
)
KEY_PATH = "application.compute_provider.scaleway.secret_key"
AGAIN = "what was made stays: run nvoi again, and it goes on from there"
HINTS = {
    "denied_authentication": f"make an API key in the console under IAM, as {KEY_PATH}",
    "permissions_denied": f"its policy needs, for the project: {', '.join(RIGHTS)}",
    "quotas_exceeded": "free some, or ask for more in the console under Organization > Quotas; "
    + AGAIN,
    "out_of_stock": f"name another server type or zone; {AGAIN}",
}


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
    def path(self) -> str:
        return f"{self.kind.path.format(place=self.place)}/{self.id}"

    def __str__(self) -> str:
        return f"the {self.kind.noun} {self.name} in {self.place}"


class ScalewayAPI:
    """The API as one key and one project see it. Usable from any thread.

    Args:
        environ: names another address of the API as ``SCW_API_URL``, and proxies.
        seconds: how long an answer may take.
        patience: seconds for which one who does not answer is asked again.
        pause: seconds between the first two looks at what goes on in the background.

    Raises:
        UsageError: the address or a proxy cannot be used.
    """

    def __init__(
        self,
        secret_key: Secret,
        project: str,
        environ: Mapping[str, str],
        *,
        seconds: float = ANSWER_SECONDS,
        patience: float = PATIENCE,
        pause: float = PAUSE,
    ) -> None:
        self.pause = pause
        self.project = project
        self.url = (environ.get(URL_VARIABLE) or URL).rstrip("/")
        self._base = urlsplit(self.url).path
        self._seconds, self._patience = seconds, patience
        self._client = Client(
            build_connect(self.url, environ),
            headers={"X-Auth-Token": secret_key.reveal()},
            is_temporary=is_transient,
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
    ) -> Json:
        """What the API answers; empty where that is nothing.

        Args:
            what: what it is asked to do, as it reads after "cannot".

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
                seconds=self._seconds,
                patience=self._patience,
            )
            return read(answer)
        except RequestError as error:
            raise self._explain(error, what) from error

    def list_all(self, path: str, key: str, what: str, query: Mapping[str, str]) -> list[Json]:
        """The entries of all pages of a list; of one that is a mapping each with its key as
        ``name``.
        """
        entries: list[Json] = []
        size = "per_page" if path.startswith("/instance/") else "page_size"
        page = 0
        while True:
            page += 1
            paging = {"page": str(page), size: str(PAGE)}
            found = self.ask("GET", path, what, query={**query, **paging}).get(key) or []
            if isinstance(found, dict):
                found = [{**one, "name": name} for name, one in found.items()]
            entries += found
            if len(found) < PAGE:
                return entries

    def list_resources(
        self, kind: Kind, place: str, query: Mapping[str, str] = NO_TEXTS
    ) -> list[Resource]:
        """All of a kind in a zone or region, the oldest first."""
        found = self.list_all(
            kind.path.format(place=place),
            kind.plural,
            f"list {kind.noun}s in {place}",
            {**kind.build_query(self.project), **query},
        )
        made = ("creation_date", "created_at")
        found.sort(key=lambda one: next((str(one[key]) for key in made if one.get(key)), ""))
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

    def _explain(self, error: RequestError, what: str) -> RequestError:
        """``error`` in words that say what was to be done, why it cannot be, and what to do."""
        if error.is_silence:
            message = f"Scaleway's API ({self.url}) does not answer, and cannot {what}"
            reason, hint = error.message, f"see https://status.scaleway.com; {AGAIN}"
        else:
            document = error.document if isinstance(error.document, dict) else {}
            message = f"Scaleway cannot {what}"
            reason = describe_refusal(document) or error.message
            hint = HINTS.get(document.get("type", ""), AGAIN)
        return RequestError(
            f"{message}: {reason}",
            hint=hint,
            status=error.status,
            is_silence=error.is_silence,
            document=error.document,
        )


def read(answer: Answer) -> Json:
    """The JSON of an answer, empty where it has no body."""
    content = answer.read() if answer.body.strip() else {}
    return content if isinstance(content, dict) else {}


def unwrap(kind: Kind, place: str, content: Json) -> Resource:
    data = content.get(kind.singular) if kind.singular else content
    return build_resource(kind, place, data if isinstance(data, dict) else content)


def build_resource(kind: Kind, place: str, data: Json) -> Resource:
    name = data.get("name") or data.get("address") or data["id"]
    return Resource(kind, data["id"], name, place, tuple(data.get("tags") or ()), data)


def find_type(error: RequestError) -> str:
    """The API's word for what kind of refusal it is."""
    document = error.document
    found = document.get("type") if isinstance(document, dict) else None
    return found if isinstance(found, str) else ""


def is_transient(error: RequestError) -> bool:
    """Whether it has done nothing, as something else goes on with the resource."""
    return find_type(error) == "transient_state"


def is_lost(error: RequestError) -> bool:
    """Whether what was asked may have been done all the same."""
    return error.is_silence or (error.status or 0) >= SERVER_FAULT


def describe_refusal(document: Mapping[str, Any]) -> str:
    """Why the API refuses, by the fields that each type of refusal has; empty for other types."""
    found = document.get("details")
    details: Sequence[Mapping[str, Any]] = found if isinstance(found, list) else ()
    match document.get("type"):
        case "denied_authentication":
            reasons = {"not_found": "it does not exist", "expired": "it has expired"}
            reason = reasons.get(str(document.get("reason")), "it is none")
            return f"the secret key is refused, as {reason}"
        case "permissions_denied":
            lacking = [f"{one.get('action')} {one.get('resource')}" for one in details]
            return f"the API key may not {' and '.join(lacking) or 'do that'}"
        case "quotas_exceeded":
            full = [
                f"{one.get('resource')} ({one.get('current')} of {one.get('quota')})"
                for one in details
            ]
            return f"the quota is reached: {', '.join(full)}"
        case "out_of_stock":
            return f"{document.get('resource')} is out of stock"
        case "invalid_arguments":
            wrong = [f"{one.get('argument_name')}: {one.get('help_message')}" for one in details]
            return "; ".join(wrong)
        case "precondition_failed":
            return str(document.get("help_message") or document.get("precondition") or "")
    return ""
