"""A client of the cluster's registry.

Source: OCI Distribution Specification 1.1, "Endpoints"; the registry is the one of the
Distribution project, versions 2 and 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import urllib3

from nvoi.errors import NvoiError, RequestError
from nvoi.http import ANSWER_SECONDS, NO_TEXTS, Answer, Client, list_objects
from nvoi.images.engines import strip_digest
from nvoi.kubernetes.registry import Credentials

#: What a manifest may be; a registry answers with another kind, or not at all, without it.
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
#: Tags that are asked for at once, and answers that are followed for more.
PAGE = 1000
PAGES = 100
#: Seconds for which a registry that fails is asked again.
PATIENCE = 2.0
#: Seconds in which one answers that is well.
PROMPT_SECONDS = 3.0
#: How many of the latest images a new one is compared with.
SEARCHED = 20

OK, ACCEPTED, NOT_FOUND, NOT_ALLOWED, FAULT = 200, 202, 404, 405, 500
POD_HINT = "see the state of its pod: k3s kubectl -n kube-system get pods"


@dataclass(frozen=True)
class Manifest:
    """What a tag stands for.

    Attributes:
        digest: what the registry knows it by, ``sha256:…``.
        config: the digest of the image's config; None for an index of several platforms.
        parts: the digests of the manifests that an index is of.
    """

    digest: str
    config: str | None
    parts: tuple[str, ...] = ()

    def is_of(self, image_id: str) -> bool:
        """Whether it is the image that an engine has under this id.

        That is the digest of its config, or of its manifest where Docker keeps its images in
        containerd's store.
        """
        return image_id in {strip_digest(one) for one in (self.digest, self.config) if one}


def build_headers(credentials: Credentials | None) -> dict[str, str]:
    # Kept open, a connection would outlive the forward that it went through.
    headers = {"Connection": "close"}
    if credentials is not None:
        headers["Authorization"] = f"Basic {credentials.basic.reveal()}"
    return headers


class Registry:
    """The registry as it is reached from this machine.

    Its methods raise an ``NvoiError`` where it does not answer, or not as a registry.
    ``patience`` says whether what fails on its way is tried again; else it also fails sooner.
    """

    def __init__(
        self,
        address: str,
        *,
        name: str = "the cluster's registry",
        patience: bool = True,
        credentials: Credentials | None = None,
    ) -> None:
        self.address = address
        self.name = name
        self.credentials = credentials
        self._patience = PATIENCE if patience else 0.0
        self._seconds = ANSWER_SECONDS if patience else PROMPT_SECONDS
        self._client = Client(
            lambda: urllib3.connection_from_url(f"http://{address}"),
            headers=build_headers(credentials),
            pause=0.2,
            is_temporary=lambda error: error.status == FAULT,
        )

    def is_up(self) -> bool:
        try:
            answer = self._client.request("GET", "/v2/", seconds=PROMPT_SECONDS, patience=0.0)
        except RequestError:
            return False
        return answer.status == OK

    def list_tags(self, repository: str) -> tuple[str, ...]:
        """The tags of a repository, none where there is no such repository."""
        what = f"list the tags of {repository}"
        tags: list[str] = []
        query = {"n": str(PAGE)}
        for _ in range(PAGES):
            answer = self._ask("GET", f"{repository}/tags/list", what, query=query)
            if answer is None:
                break
            page = self._read(answer, what).get("tags") or []
            if not isinstance(page, list) or not all(isinstance(tag, str) for tag in page):
                raise self._build_error(what, "no list of tags")
            tags += page
            if len(page) < PAGE or not answer.headers.get("Link"):
                break
            query["last"] = page[-1]
        return tuple(tags)

    def find_digest(self, repository: str, tag: str) -> str | None:
        manifest = self.find_manifest(repository, tag)
        return manifest.digest if manifest else None

    def find_manifest(self, repository: str, tag: str) -> Manifest | None:
        what = f"tell of {repository}:{tag}"
        kinds = {"Accept": ", ".join(MANIFESTS)}
        answer = self._ask("GET", f"{repository}/manifests/{tag}", what, headers=kinds)
        if answer is None:
            return None
        content = self._read(answer, what)
        digest = answer.headers.get("Docker-Content-Digest")
        if not digest:
            raise self._build_error(what, "its answer has no digest")
        config = content.get("config")
        found = config.get("digest") if isinstance(config, dict) else None
        parts = [part.get("digest") for part in list_objects(content, "manifests")]
        return Manifest(
            digest,
            found if isinstance(found, str) else None,
            tuple(part for part in parts if isinstance(part, str)),
        )

    def delete(self, repository: str, digest: str) -> None:
        """Remove a manifest and every tag that stands for it; one that is gone is no error.

        What only it had stays on the disk until the registry's garbage is collected.
        """
        self._ask("DELETE", f"{repository}/manifests/{digest}", f"delete {repository}@{digest}")

    def _ask(
        self,
        method: str,
        path: str,
        what: str,
        *,
        headers: Mapping[str, str] = NO_TEXTS,
        query: Mapping[str, str] = NO_TEXTS,
    ) -> Answer | None:
        """The answer; None where the registry has nothing of that name."""
        try:
            answer = self._client.request(
                method,
                f"/v2/{path}",
                headers=headers,
                query=query,
                seconds=self._seconds,
                patience=self._patience,
            )
        except RequestError as error:
            if error.status == NOT_FOUND:
                return None
            if error.is_silence:
                text = f"{self.name} does not answer at {self.address}: {error.message}"
                raise NvoiError(text, hint=POD_HINT) from error
            reason = error.message
            if error.status == NOT_ALLOWED:
                reason = "HTTP 405, it does not let images be deleted"
            raise self._build_error(what, reason) from error
        if answer.status not in {OK, ACCEPTED}:
            raise self._build_error(what, f"HTTP {answer.status}")
        return answer

    def _read(self, answer: Answer, what: str) -> dict[str, object]:
        try:
            return answer.read_object()
        except RequestError as error:
            raise self._build_error(what, error.message) from error

    def _build_error(self, what: str, reason: str) -> NvoiError:
        return NvoiError(
            f"{self.name} cannot {what}: {reason}",
            hint="see its log: k3s kubectl -n kube-system logs deploy/nvoi-registry",
        )


def find_same(registry: Registry, repository: str, image_id: str) -> tuple[str, str] | None:
    """The latest stamp, and the digest, under which the registry has this very image, if it has."""
    for stamp in sorted(registry.list_tags(repository), reverse=True)[:SEARCHED]:
        manifest = registry.find_manifest(repository, stamp)
        if manifest is not None and manifest.is_of(image_id):
            return stamp, manifest.digest
    return None
