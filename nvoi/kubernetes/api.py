"""The Kubernetes API: objects applied, read, listed, watched and deleted, and what pods print.

Facts are of the Kubernetes documentation, "Kubernetes API Concepts" and "Server-Side Apply", and
of the Kubernetes API conventions.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nvoi import parallel
from nvoi.errors import RequestError
from nvoi.http import NO_TEXTS, PATIENCE, Client, list_objects
from nvoi.kubernetes.names import BY_NAME, APIResource
from nvoi.kubernetes.ownership import Json, Manifest, Reference, read_reference
from nvoi.kubernetes.refusals import find_conflicts
from nvoi.lines import LineCutter
from nvoi.log.levels import get_logger

log = get_logger("nvoi.kubernetes")

FIELD_MANAGER = "nvoi"
#: Objects that one answer has; more are asked for by its ``continue``.
PAGE = 500
#: Seconds after which the API ends a watch by itself, and that it may be late with that.
WATCH_SECONDS = 240
GRACE_SECONDS = 30.0
#: Seconds from one beginning of a watch to the next, where the API ends each at once.
PACE = 0.5
NOT_FOUND, CONFLICT, GONE, TOO_MANY = 404, 409, 410, 429
#: Another name for objects without what they hold.
NAMES_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
#: What pods print is no JSON.
ANYTHING = {"Accept": "application/json, */*"}
LISTED, DELETED, BOOKMARK, ERROR = "LISTED", "DELETED", "BOOKMARK", "ERROR"


@dataclass(frozen=True)
class Listing:
    """Objects as they were together, and the version at which a watch goes on from there."""

    items: tuple[Json, ...]
    version: str


@dataclass(frozen=True)
class Change:
    """What a watch has seen: all objects there are (``LISTED``), or one that is new or gone."""

    type: str
    items: tuple[Json, ...]


class Api:
    """The API of one cluster. Usable from any thread; its methods may be called twice.

    All raise :class:`RequestError`: the API refuses, or does not answer; and
    :class:`ConnectionFailedError`: the way there cannot be opened.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def trouble(self) -> RequestError | None:
        return self._client.trouble

    def apply(self, manifest: Manifest, owner: str = FIELD_MANAGER) -> Json:
        """Have the cluster hold a manifest; what ``owner`` no longer names goes.

        Fields that somebody else has set otherwise are taken back, and are told.
        """
        try:
            return self._apply(manifest, owner, force=False)
        except RequestError as error:
            if error.status != CONFLICT:
                raise
            taken = find_conflicts(error)
        others = [f"{field} ({who})" for field, who in taken if not who.startswith(FIELD_MANAGER)]
        if others:
            reference = read_reference(manifest)
            log.warning("%s: taking back what others have set: %s", reference, ", ".join(others))
        return self._apply(manifest, owner, force=True)

    def _apply(self, manifest: Manifest, owner: str, *, force: bool) -> Json:
        item = self._ask(
            "PATCH",
            build_path(read_reference(manifest)),
            query={"fieldManager": owner, "force": str(force).lower()},
            body=manifest,
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        return complete(item)

    def patch(self, reference: Reference, change: Json) -> Json:
        """Merge ``change`` into an object; what is None there goes (RFC 7396)."""
        item = self._ask(
            "PATCH",
            build_path(reference),
            query={"fieldManager": FIELD_MANAGER},
            body=change,
            headers={"Content-Type": "application/merge-patch+json"},
        )
        return complete(item)

    def find(self, reference: Reference, *, names_only: bool = False) -> Json | None:
        """An object, whole or by its metadata alone; None where there is none."""
        headers = {"Accept": NAMES_ONLY} if names_only else NO_TEXTS
        try:
            item = self._ask("GET", build_path(reference), headers=headers)
        except RequestError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        return complete(item, BY_NAME[reference.kind])

    def list_all(
        self,
        name: str,
        namespace: str | None,
        *,
        selector: str | None = None,
        fields: str | None = None,
        names_only: bool = False,
        patience: float = PATIENCE,
    ) -> Listing:
        """All objects of a kind, page by page.

        ``name`` is the kind, as in ``kind`` of an object or as in the API's paths; no ``namespace``
        is every one. ``fields`` are such as ``spec.nodeName=main-1``; with ``names_only`` it is
        their metadata alone. One who does not answer is asked again for ``patience`` seconds.
        """
        resource = BY_NAME[name]
        path, headers = resource.build_path(namespace), NO_TEXTS
        if names_only:
            headers = {"Accept": NAMES_ONLY.replace("Metadata;", "MetadataList;")}
        query = build_selectors(selector, fields) | {"limit": str(PAGE)}
        items: list[Json] = []
        while True:
            try:
                page = self._ask("GET", path, query=query, headers=headers, patience=patience)
            except RequestError as error:
                if error.status != GONE or "continue" not in query:
                    raise
                # What the next page would have been of is forgotten: from the beginning.
                items.clear()
                del query["continue"]
                continue
            items += [complete(item, resource) for item in list_objects(page, "items")]
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return Listing(tuple(items), str(metadata.get("resourceVersion", "")))
            query["continue"] = metadata["continue"]

    def watch(
        self,
        name: str,
        namespace: str | None,
        *,
        selector: str | None = None,
        since: Listing | None = None,
    ) -> Iterator[Change]:
        """All objects of a kind, and each change from then on, without end; see :meth:`list_all`.

        Where they were listed before, as ``since`` says, it begins with the changes. A watch that
        ends or is lost goes on where it was; where the API has forgotten that (410 Gone), or ends
        it by another error, all are listed again.
        """
        resource = BY_NAME[name]
        path, selectors = resource.build_path(namespace), build_selectors(selector, None)
        while True:
            began = time.monotonic()
            if since is None:
                since = self.list_all(name, namespace, selector=selector, patience=math.inf)
                yield Change(LISTED, since.items)
            yield from self._follow(resource, path, selectors, since.version)
            since = None
            parallel.sleep(max(0.0, began + PACE - time.monotonic()))

    def _follow(
        self, resource: APIResource, path: str, selectors: Mapping[str, str], version: str
    ) -> Iterator[Change]:
        """The changes since ``version``, until that is too old."""
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": WATCH_SECONDS}
        while True:
            began = time.monotonic()
            try:
                for event in self._stream_events(path, {**query, **selectors}, version):
                    item = event["object"]
                    if event["type"] == ERROR:
                        log.debug("The cluster lists %s again: %s", resource.plural, item)
                        return
                    version = item["metadata"]["resourceVersion"]
                    if event["type"] != BOOKMARK:
                        yield Change(event["type"], (complete(item, resource),))
            except RequestError as error:
                if error.status == GONE:
                    return
                if not error.is_silence:
                    raise
            parallel.sleep(max(0.0, began + PACE - time.monotonic()))

    def _stream_events(
        self, path: str, query: Mapping[str, object], version: str
    ) -> Iterator[dict[str, Any]]:
        texts = {key: str(value) for key, value in query.items()} | {"resourceVersion": version}
        seconds = WATCH_SECONDS + GRACE_SECONDS
        with self._client.stream(path, query=texts, seconds=seconds, patience=math.inf) as pieces:
            for line in cut_lines(pieces):
                yield read_json(line)

    def delete(self, reference: Reference, propagation: str, *, uid: str | None = None) -> bool:
        """Delete an object; whether it is gone already, as where there was none.

        What was made for it is gone before it is where ``propagation`` is ``Foreground``, after it
        with ``Background``, never with ``Orphan``. One of its name with another ``uid`` stays.
        """
        body: dict[str, object] = {"propagationPolicy": propagation}
        body |= {"preconditions": {"uid": uid}} if uid else {}
        try:
            answer = self._ask("DELETE", build_path(reference), body=body)
        except RequestError as error:
            if error.status == NOT_FOUND or (uid and error.status == CONFLICT):
                return True
            raise
        return bool(answer.get("kind") == "Status")

    def evict(self, pod: Reference) -> bool:
        """Ask for a pod's end; False while a PodDisruptionBudget forbids it."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
        }
        try:
            self._ask("POST", build_path(pod, "eviction"), body=body, patience=0)
        except RequestError as error:
            if error.status == TOO_MANY:
                return False
            if error.status != NOT_FOUND:
                raise
        return True

    def read_lines(
        self, pod: Reference, container: str, *, lines: int, previous: bool = False
    ) -> tuple[str, ...]:
        """The last lines of a container, or of the one that ran before it was started again."""
        query = {"container": container, "tailLines": str(lines)}
        query |= {"previous": "true"} if previous else {}
        path = build_path(pod, "log")
        answer = self._client.request("GET", path, query=query, headers=ANYTHING, patience=0)
        return tuple(answer.body.decode("utf-8", errors="replace").splitlines())

    def follow_lines(self, pod: Reference, container: str) -> Iterator[str]:
        cutter = LineCutter()
        query = {"container": container, "follow": "true"}
        path = build_path(pod, "log")
        with self._client.stream(
            path, query=query, headers=ANYTHING, seconds=math.inf, patience=0
        ) as pieces:
            for piece in pieces:
                yield from cutter.feed(piece)
        yield from cutter.finish()

    def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        return self._client.request(method, path, **more).read_object()


def build_path(reference: Reference, *parts: str) -> str:
    resource = BY_NAME[reference.kind]
    return resource.build_path(reference.namespace, reference.name, *parts)


def build_selectors(selector: str | None, fields: str | None) -> dict[str, str]:
    found = {"labelSelector": selector, "fieldSelector": fields}
    return {key: text for key, text in found.items() if text}


def complete(item: dict[str, Any], resource: APIResource | None = None) -> Json:
    """An object with its kind, which lists leave out, and without who has set which field."""
    kind = {"apiVersion": resource.version, "kind": resource.kind} if resource else {}
    item.get("metadata", {}).pop("managedFields", None)
    return {**kind, **item, **kind}


def cut_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines; one that was cut off is none."""
    begun = b""
    for piece in pieces:
        *lines, begun = (begun + piece).split(b"\n")
        yield from filter(None, lines)


def read_json(line: bytes) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError as error:
        message = f"the answer cannot be read: {type(error).__name__}"
        raise RequestError(message) from None
    return event
