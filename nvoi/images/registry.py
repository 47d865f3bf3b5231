"""A client of the cluster's registry.

Source: OCI Distribution Specification 1.1, "Endpoints"; the registry is the one of the
Distribution project, versions 2 and 3.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import Retry, Timeout

from nvoi.errors import NvoiError
from nvoi.images.engines import strip_digest

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
#: Bytes of an answer that are taken: registries limit manifests to 4 MiB.
LONGEST = 4 << 20
#: Seconds until a connection is there, which opens a channel on the far host, and between
#: two pieces of an answer.
TIMEOUT = Timeout(connect=5.0, read=30.0)
IMPATIENT = Timeout(3.0)
RETRIES = Retry(
    2, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504), raise_on_status=False, redirect=0
)
#: How many of the latest images a new one is compared with.
SEARCHED = 20

OK, ACCEPTED, NOT_FOUND, NOT_ALLOWED = 200, 202, 404, 405


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


class Registry:
    """The registry as it is reached from this machine.

    Its methods raise an ``NvoiError`` where it does not answer, or not as a registry.

    Args:
        address: ``127.0.0.1:PORT``.
        name: how errors call it.
        patience: whether what fails on its way is tried again; else it also fails sooner.
    """

    def __init__(
        self, address: str, *, name: str = "the cluster's registry", patience: bool = True
    ) -> None:
        self.address = address
        self.name = name
        self._timeout = TIMEOUT if patience else IMPATIENT
        self._pool = urllib3.PoolManager(retries=RETRIES if patience else False, maxsize=1)

    def is_up(self) -> bool:
        try:
            return self._ask("GET", "", retries=False, timeout=IMPATIENT).status == OK
        except NvoiError:
            return False

    def list_tags(self, repository: str) -> tuple[str, ...]:
        """The tags of a repository, none where there is no such repository."""
        tags: list[str] = []
        path = f"{repository}/tags/list?n={PAGE}"
        for _ in range(PAGES):
            answer = self._ask("GET", path)
            if answer.status == NOT_FOUND:
                break
            page = self._read(answer, f"list the tags of {repository}").get("tags") or []
            if not isinstance(page, list) or not all(isinstance(tag, str) for tag in page):
                raise self._build_error(f"list the tags of {repository}", "no list of tags")
            tags += page
            if len(page) < PAGE or not answer.headers.get("Link"):
                break
            path = f"{repository}/tags/list?n={PAGE}&last={page[-1]}"
        return tuple(tags)

    def find_digest(self, repository: str, tag: str) -> str | None:
        """The digest of a tag's manifest."""
        manifest = self.find_manifest(repository, tag)
        return manifest.digest if manifest else None

    def find_manifest(self, repository: str, tag: str) -> Manifest | None:
        """What a tag stands for."""
        what = f"tell of {repository}:{tag}"
        answer = self._ask("GET", f"{repository}/manifests/{tag}", accept=", ".join(MANIFESTS))
        if answer.status == NOT_FOUND:
            return None
        content = self._read(answer, what)
        digest = answer.headers.get("Docker-Content-Digest")
        if not digest:
            raise self._build_error(what, "its answer has no digest")
        config = content.get("config")
        found = config.get("digest") if isinstance(config, dict) else None
        listed = content.get("manifests")
        parts = [part.get("digest") for part in listed] if isinstance(listed, list) else []
        return Manifest(
            digest,
            found if isinstance(found, str) else None,
            tuple(part for part in parts if isinstance(part, str)),
        )

    def delete(self, repository: str, digest: str) -> None:
        """Remove a manifest and every tag that stands for it; one that is gone is no error.

        What only it had stays on the disk until the registry's garbage is collected.
        """
        answer = self._ask("DELETE", f"{repository}/manifests/{digest}")
        if answer.status not in {ACCEPTED, OK, NOT_FOUND}:
            reason = _describe_refusal(answer)
            raise self._build_error(f"delete {repository}@{digest}", reason)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        accept: str = "*/*",
        retries: bool | None = None,
        timeout: Timeout | None = None,
    ) -> urllib3.BaseHTTPResponse:
        url = f"http://{self.address}/v2/{path}"
        try:
            return self._pool.request(
                method,
                url,
                # Kept open, a connection would outlive the forward that it went through.
                headers={"Accept": accept, "Connection": "close"},
                redirect=False,
                retries=retries,
                timeout=timeout or self._timeout,
            )
        except HTTPError as error:
            raise NvoiError(
                f"{self.name} does not answer at {self.address}: {_describe_cause(error)}",
                hint="see the state of its pod: k3s kubectl -n kube-system get pods",
            ) from error

    def _read(self, answer: urllib3.BaseHTTPResponse, what: str) -> dict[str, object]:
        if answer.status != OK:
            raise self._build_error(what, _describe_refusal(answer))
        try:
            content = json.loads(answer.data[:LONGEST])
        except ValueError as error:
            raise self._build_error(what, "its answer is no JSON") from error
        if not isinstance(content, dict):
            raise self._build_error(what, "its answer is no JSON object")
        return content

    def _build_error(self, what: str, reason: str) -> NvoiError:
        return NvoiError(
            f"{self.name} cannot {what}: {reason}",
            hint="see its log: k3s kubectl -n kube-system logs deploy/nvoi-registry",
        )


def _describe_refusal(answer: urllib3.BaseHTTPResponse) -> str:
    """Why the registry did not do it, from its answer (specification, "Error Codes")."""
    if answer.status == NOT_ALLOWED:
        return "HTTP 405, it does not let images be deleted"
    try:
        first = json.loads(answer.data)["errors"][0]
        return f"HTTP {answer.status}, {first['code']}: {first['message']}"
    except (ValueError, LookupError, TypeError):
        return f"HTTP {answer.status}"


def _describe_cause(error: BaseException) -> str:
    """The innermost reason of a failed request, in a line."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _describe_cause(reason)
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(error).rpartition(": ")[2] or type(error).__name__


def find_same(registry: Registry, repository: str, image_id: str) -> tuple[str, str] | None:
    """The latest stamp, and the digest, under which the registry has this very image, if it has.

    Args:
        registry: the cluster's.
        repository: the app's.
        image_id: as the engine told it after the build.

    Raises:
        NvoiError: the registry does not answer.
    """
    for stamp in sorted(registry.list_tags(repository), reverse=True)[:SEARCHED]:
        manifest = registry.find_manifest(repository, stamp)
        if manifest is not None and manifest.is_of(image_id):
            return stamp, manifest.digest
    return None
