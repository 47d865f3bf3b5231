"""The programs that build images: which one this machine has, and the words of its commands.

Images are named by their tag ``P:<stamp>`` throughout; what an engine makes of it in its own
store is its own affair. Sources: docker-image-build(1), docker-buildx-build(1), podman-build(1),
and the pages beside them.
"""

from __future__ import annotations

import re
import shutil
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from nvoi.errors import UsageError
from nvoi.log.levels import get_logger
from nvoi.process import (
    Process,
    Words,
    ask,
    kill_tree,
    list_descendants,
    signal_each,
    signal_group,
    wait_for_end,
)

log = get_logger("nvoi.images")

# YYYYMMDDHHMMSS: the only tags of an app's repository that nvoi makes, and so removes.
STAMP = re.compile(r"\d{14}")

#: Seconds an engine has to say that it is there. Docker Desktop that wakes up takes a few.
ANSWER_SECONDS = 10.0
#: Seconds a command has to clean up after what it ran was ended, before it is ended itself.
CLEAN_SECONDS = 5.0
#: Seconds between SIGTERM and SIGKILL.
GRACE_SECONDS = 3.0

REMEDY = "install Docker (docs.docker.com/engine/install) or Podman (podman.io)"


@dataclass(frozen=True)
class BuiltImage:
    """An image that was built.

    Attributes:
        tag: ``P:<stamp>``.
        id: what the engine knows its content by, 64 hex without ``sha256:`` before them.
        user: whom it names to run as, ``1000:1000``; a name where its numbers are not known, and
            empty for root.
    """

    tag: str
    id: str
    user: str = ""

    @property
    def repository(self) -> str:
        return self.tag.rpartition(":")[0]

    @property
    def stamp(self) -> str:
        return self.tag.rpartition(":")[2]


def strip_digest(digest: str) -> str:
    """The hex of a digest; an id that has no algorithm before it is left as it is."""
    return digest.strip().removeprefix("sha256:")


def find_newest(stamps: Iterable[str]) -> str | None:
    return max((stamp for stamp in stamps if STAMP.fullmatch(stamp)), default=None)


@dataclass(frozen=True)
class Engine(ABC):
    """A program that builds images. Its methods are pure: each gives the words of one command."""

    program: str

    #: How the log calls it.
    name: ClassVar[str]
    #: What it needs in its environment besides the caller's.
    environment: ClassVar[Mapping[str, str]] = MappingProxyType({})
    #: Whether :meth:`build` makes any use of ``cache``.
    can_use_cache: ClassVar[bool] = True

    @abstractmethod
    def build(
        self, folder: Path, dockerfile: Path, tag: str, platform: str, cache: str | None
    ) -> Words:
        """Build ``tag`` from the context ``folder``, for a platform such as ``linux/amd64``.

        Layers of ``cache``, an image in a registry, may be taken instead of built.
        """

    @abstractmethod
    def push(self, tag: str, reference: str) -> tuple[Words, ...]:
        """Push ``tag`` to ``reference``, in a registry without TLS on this machine's loopback."""

    def fetch_cache(self, cache: str) -> Words | None:  # noqa: ARG002 - for those that have to
        """Bring ``cache`` here before a build, where a build does not do that by itself."""
        return None

    def forget(self, reference: str) -> Words | None:  # noqa: ARG002 - for those that have to
        """Take back the name that :meth:`push` gave the image here, where it gave one."""
        return None

    def inspect(self, tag: str) -> Words:
        """Print the id of an image that is here, and its user."""
        words = ("image", "inspect", "--format", "{{.Id}} {{.Config.User}}")
        return (self.program, *words, self.qualify(tag))

    def create(self, tag: str, platform: str) -> Words:  # noqa: ARG002 - for those that have to
        """Make a container, which is not started, and print its id; without a command none is."""
        return (self.program, "create", self.qualify(tag), "-")

    def read(self, container: str, path: str) -> Words:
        """Print a file of a container, within an archive."""
        return (self.program, "cp", f"{container}:{path}", "-")

    def remove_container(self, container: str) -> Words:
        return (self.program, "rm", container)

    def list_tags(self, repository: str) -> Words:
        """Print the stamps of a repository that are here, a line each."""
        return (self.program, "image", "ls", "--format", "{{.Tag}}", self.qualify(repository))

    def remove(self, tag: str) -> Words:
        return (self.program, "image", "rm", self.qualify(tag))

    def qualify(self, name: str) -> str:
        """An image's name in the engine's own store."""
        return name


@dataclass(frozen=True)
class Docker(Engine):
    """Docker with the builder that is part of its engine, where buildx is not installed."""

    program: str = "docker"

    name = "docker build"
    #: Docker 23 and later take buildx for granted unless told otherwise.
    environment = MappingProxyType({"DOCKER_BUILDKIT": "0"})

    def build(
        self, folder: Path, dockerfile: Path, tag: str, platform: str, cache: str | None
    ) -> Words:
        words = ("build", "--platform", platform, "--file", str(dockerfile), "--tag", tag)
        source = ("--cache-from", cache) if cache else ()
        return (self.program, *words, *source, str(folder))

    def create(self, tag: str, platform: str) -> Words:
        # It looks for an image of this machine's platform otherwise.
        return (self.program, "create", "--platform", platform, tag, "-")

    def push(self, tag: str, reference: str) -> tuple[Words, ...]:
        # The name of an image says where it goes. A registry on 127.0.0.0/8 needs no TLS
        # (dockerd(8), "Insecure registries").
        return ((self.program, "tag", tag, reference), (self.program, "push", reference))

    def fetch_cache(self, cache: str) -> Words | None:
        # This builder takes layers of images that are here only.
        return (self.program, "pull", cache)

    def forget(self, reference: str) -> Words | None:
        # No more than the name is taken from an image that has others.
        return (self.program, "image", "rm", reference)


@dataclass(frozen=True)
class Buildx(Docker):
    """Docker with BuildKit."""

    name = "docker buildx"
    #: No attestations: they have the time in them, so that no two images were the same.
    environment = MappingProxyType({"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"})

    def build(
        self, folder: Path, dockerfile: Path, tag: str, platform: str, cache: str | None
    ) -> Words:
        # The image carries what the next build's cache needs.
        words = ("buildx", "build", "--load", "--progress", "plain", "--cache-to", "type=inline")
        what = ("--platform", platform, "--file", str(dockerfile), "--tag", tag)
        source = ("--cache-from", f"type=registry,ref={cache}") if cache else ()
        return (self.program, *words, *what, *source, str(folder))

    def fetch_cache(self, cache: str) -> Words | None:  # noqa: ARG002 - as all engines have it
        # BuildKit reads the cache from the registry, and only the layers it needs.
        return None


@dataclass(frozen=True)
class Podman(Engine):
    """Podman. Its layer cache is its own store alone.

    Layers of a registry's images are no cache for it: it looks for the images between the
    instructions, which registries do not have.
    """

    program: str = "podman"

    name = "podman"
    can_use_cache = False

    def build(
        self,
        folder: Path,
        dockerfile: Path,
        tag: str,
        platform: str,
        cache: str | None,  # noqa: ARG002 - as all engines have it
    ) -> Words:
        words = ("build", "--layers", "--platform", platform, "--file", str(dockerfile))
        return (self.program, *words, "--tag", self.qualify(tag), str(folder))

    def push(self, tag: str, reference: str) -> tuple[Words, ...]:
        return ((self.program, "push", "--tls-verify=false", self.qualify(tag), reference),)

    def qualify(self, name: str) -> str:
        # An image that is from no registry; without it, podman would look in several.
        return f"localhost/{name}"


def find_engine(environ: Mapping[str, str]) -> Engine:
    """The engine of this machine: Docker where its engine answers, else Podman."""
    path = environ.get("PATH")
    docker, podman = shutil.which("docker", path=path), shutil.which("podman", path=path)
    if docker and _answers((docker, "version", "--format", "{{.Server.Version}}"), environ):
        if _answers((docker, "buildx", "version"), environ):
            return Buildx(docker)
        return Docker(docker)
    if podman and _answers((podman, "version"), environ):
        if docker:
            log.debug("docker's engine does not answer: podman is used")
        return Podman(podman)
    if docker:
        raise UsageError(
            "the image cannot be built: docker is installed, but its engine does not answer",
            hint="start it and see that `docker version` answers, or install Podman",
        )
    if podman:
        raise UsageError(
            "the image cannot be built: podman is installed, but does not answer",
            hint="see that `podman version` answers; on macOS: podman machine start",
        )
    raise UsageError(
        "the image cannot be built: neither docker nor podman is in PATH",
        hint=f"{REMEDY}, or name a finished image for each app service: image",
    )


def _answers(words: Words, environ: Mapping[str, str]) -> bool:
    return ask(words, environ, seconds=ANSWER_SECONDS) is not None


def end_command(process: Process) -> None:
    """End an engine's command and all below it, so that it leaves nothing behind.

    Podman that is ended itself leaves the containers of a build in its store and, in sessions
    of their own, running. So what it runs is ended first: it then cleans up and ends as after
    an instruction that failed.
    """
    below = list_descendants(process.pid)
    away = [one for one in below if one.session != process.pid]
    if away:
        signal_each(away, signal.SIGKILL)
    elif below:
        signal_each(below, signal.SIGTERM)
    else:
        signal_group(process.pid, signal.SIGTERM)
    if not wait_for_end(process, (), CLEAN_SECONDS):
        below += list_descendants(process.pid)
        signal_group(process.pid, signal.SIGTERM)
        wait_for_end(process, (), GRACE_SECONDS)
    kill_tree(process, below)
