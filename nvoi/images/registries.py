"""Registries: a client of the cluster's own, and how this machine's engine is let into all of them.

Sources: OCI Distribution Specification 1.1, "Endpoints", and the Distribution project's registry,
versions 2 and 3; docker(1), "Configuration files"; containers-auth.json(5).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import urllib3

from nvoi.config.registry_logins import build_auths, normalize
from nvoi.config.schema import Login
from nvoi.errors import NvoiError, RequestError
from nvoi.http import ANSWER_SECONDS, NO_TEXTS, Answer, Client, list_objects
from nvoi.images.engines import Engine, Podman, strip_digest
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
CONFIG = "config.json"
NO_LOGINS: Mapping[str, Login] = MappingProxyType({})
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


@contextmanager
def log_in(
    engine: Engine,
    registry: Registry | None,
    environ: Mapping[str, str],
    logins: Mapping[str, Login] = NO_LOGINS,
) -> Iterator[Mapping[str, str]]:
    """The environment in which commands of ``engine`` are let in by the cluster's ``registry``.

    ``logins`` are the config's, by the names of other registries, and come before the user's own.
    The passwords are in a private folder, which ends with the command: in no argument and no
    process list, and nothing of the user's own logins changes.
    """
    auths: dict[str, Any] = dict(build_auths(logins))
    if registry is not None and registry.credentials is not None:
        auths[registry.address] = {"auth": registry.credentials.basic.reveal()}
    if not auths:
        yield environ
        return
    with tempfile.TemporaryDirectory(prefix="nvoi-login-") as name:
        write = write_podman if isinstance(engine, Podman) else write_docker
        yield {**environ, **write(Path(name), auths, environ)}


def write_podman(
    folder: Path, auths: Mapping[str, Any], environ: Mapping[str, str]
) -> dict[str, str]:
    """Podman looks nowhere else then: the file has the user's own logins too."""
    # The first of them that has a login counts.
    configs = [read_config(path) for path in reversed(list_podman_files(environ))]
    own: dict[str, dict[str, Any]] = {
        part: {key: one for config in configs for key, one in (config.get(part) or {}).items()}
        for part in ("auths", "credHelpers")
    }
    others = {part: drop_same(found, auths) for part, found in own.items()}
    write_config(folder, {**others, "auths": {**others["auths"], **auths}})
    return {"REGISTRY_AUTH_FILE": str(folder / CONFIG)}


def list_podman_files(environ: Mapping[str, str]) -> list[Path]:
    """Where podman has logins, in the order in which it looks."""
    if named := environ.get("REGISTRY_AUTH_FILE"):
        return [Path(named)]
    home = Path(environ.get("HOME", "/"))
    runtime = environ.get("XDG_RUNTIME_DIR")
    own = Path(runtime) / "containers" if runtime else Path("/run/containers") / str(os.getuid())
    settings = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers"
    docker = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    return [own / "auth.json", settings / "auth.json", docker / CONFIG]


def write_docker(
    folder: Path, auths: Mapping[str, Any], environ: Mapping[str, str]
) -> dict[str, str]:
    """Docker has all that the user's own folder has: contexts, plugins, other logins."""
    own = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "/")) / ".docker")
    for entry in own.iterdir() if own.is_dir() else ():
        if entry.name != CONFIG:
            (folder / entry.name).symlink_to(entry)
    config = read_config(own / CONFIG)
    # What the user keeps passwords in is not asked for these: an empty helper is the file.
    helpers = dict.fromkeys(auths, "")
    for part, new in (("auths", auths), ("credHelpers", helpers)):
        config[part] = {**drop_same(config.get(part) or {}, auths), **new}
    write_config(folder, config)
    # Builders that are made meanwhile stay.
    builders = environ.get("BUILDX_CONFIG") or str(own / "buildx")
    return {"BUILDX_CONFIG": builders, "DOCKER_CONFIG": str(folder)}


def drop_same(found: Mapping[str, Any], auths: Mapping[str, Any]) -> dict[str, Any]:
    """``found`` without what is of the registries of ``auths``, under whichever of their names."""
    own = {*map(normalize, auths)}
    return {key: value for key, value in found.items() if normalize(key) not in own}


def write_config(folder: Path, content: Mapping[str, Any]) -> None:
    path = folder / CONFIG
    path.touch(0o600)
    path.write_text(json.dumps(content), encoding="utf-8")


def read_config(path: Path) -> dict[str, Any]:
    """An engine's config; nothing where there is none, or where it could not read it either."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
