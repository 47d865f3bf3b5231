"""The programs that build images: which one there is, and its words. Nothing is built here.

An engine is a frozen record whose methods are pure: each gives the words of one command.
Images are named by their tag ``P:<stamp>`` throughout; what an engine makes of it in its own
store is its own affair.

Sources: the reference pages of docker-image-build(1), docker-buildx-build(1), podman-build(1).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from nvoi.errors import UsageError
from nvoi.images.process import ask
from nvoi.log.levels import get_logger

log = get_logger("nvoi.images")

Words = tuple[str, ...]

#: Seconds an engine has to say that it is there. Docker Desktop that wakes up takes a few.
ANSWER_SECONDS = 10.0

REMEDY = "install Docker (docs.docker.com/engine/install) or Podman (podman.io)"


class Engine(Protocol):
    """What nvoi asks of a program that builds images."""

    @property
    def name(self) -> str:
        """How the log calls it."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What it needs in its environment besides the caller's."""
        ...

    def build(
        self, folder: Path, dockerfile: Path, tag: str, platform: str, cache: str | None
    ) -> Words:
        """Build ``tag`` from the checkout.

        Args:
            folder: the checkout.
            dockerfile: the file with the instructions.
            tag: the new image.
            platform: such as ``linux/amd64``.
            cache: an image in a registry whose layers may be taken instead of built.
        """
        ...

    def fetch_cache(self, cache: str) -> Words | None:
        """Bring ``cache`` here before a build, where a build does not do that by itself."""
        ...

    def can_use_cache(self) -> bool:
        """Whether :meth:`build` makes any use of ``cache``."""
        ...

    def inspect(self, tag: str) -> Words:
        """Print the id of an image that is here."""
        ...

    def list_tags(self, repository: str) -> Words:
        """Print the stamps of a repository that are here, a line each."""
        ...

    def push(self, tag: str, reference: str) -> tuple[Words, ...]:
        """Push ``tag`` to ``reference``, in a registry without TLS on this machine's loopback."""
        ...

    def forget(self, reference: str) -> Words | None:
        """Take back the name that :meth:`push` gave the image here, where it gave one."""
        ...

    def remove(self, tags: Sequence[str]) -> Words:
        """Remove images that are here."""
        ...


@dataclass(frozen=True)
class Docker:
    """Docker with the builder that is part of its engine, where buildx is not installed."""

    program: str = "docker"

    @property
    def name(self) -> str:
        """How the log calls it."""
        return "docker build"

    @property
    def environment(self) -> Mapping[str, str]:
        """Docker 23 and later take buildx for granted unless told otherwise."""
        return MappingProxyType({"DOCKER_BUILDKIT": "0"})

    def build(
        self, folder: Path, dockerfile: Path, tag: str, platform: str, cache: str | None
    ) -> Words:
        """``docker build``."""
        words = ("build", "--platform", platform, "--file", str(dockerfile), "--tag", tag)
        source = ("--cache-from", cache) if cache else ()
        return (self.program, *words, *source, str(folder))

    def fetch_cache(self, cache: str) -> Words | None:
        """``docker pull``: this builder takes layers of images that are here only."""
        return (self.program, "pull", cache)

    def can_use_cache(self) -> bool:
        """It can."""
        return True

    def inspect(self, tag: str) -> Words:
        """``docker image inspect``."""
        return (self.program, "image", "inspect", "--format", "{{.Id}}", tag)

    def list_tags(self, repository: str) -> Words:
        """``docker image ls``."""
        return (self.program, "image", "ls", "--format", "{{.Tag}}", repository)

    def push(self, tag: str, reference: str) -> tuple[Words, ...]:
        """``docker push``: the name of an image says where it goes.

        A registry on 127.0.0.0/8 needs no TLS (dockerd(8), "Insecure registries").
        """
        return ((self.program, "tag", tag, reference), (self.program, "push", reference))

    def forget(self, reference: str) -> Words | None:
        """``docker image rm``, which takes no more than the name from an image that has others."""
        return (self.program, "image", "rm", reference)

    def remove(self, tags: Sequence[str]) -> Words:
        """``docker image rm``."""
        return (self.program, "image", "rm", *tags)


@dataclass(frozen=True)
class Buildx(Docker):
    """Docker with BuildKit."""

    @property
    def name(self) -> str:
        """How the log calls it."""
        return "docker buildx"

    @property
    def environment(self) -> Mapping[str, str]:
        """No attestations: they have the time in them, so that no two images were the same."""
        return MappingProxyType({"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"})

    def build(
        self, folder: Path, dockerfile: Path, tag: str, platform: str, cache: str | None
    ) -> Words:
        """``docker buildx build``; the image carries what the next build's cache needs."""
        words = ("buildx", "build", "--load", "--progress", "plain", "--cache-to", "type=inline")
        what = ("--platform", platform, "--file", str(dockerfile), "--tag", tag)
        source = ("--cache-from", f"type=registry,ref={cache}") if cache else ()
        return (self.program, *words, *what, *source, str(folder))

    def fetch_cache(self, cache: str) -> Words | None:  # noqa: ARG002 - as the protocol has it
        """Nothing: BuildKit reads the cache from the registry, and only the layers it needs."""
        return None


@dataclass(frozen=True)
class Podman:
    """Podman. Its layer cache is its own store alone.

    Layers of a registry's images are no cache for it: it looks for the images between the
    instructions, which registries do not have.
    """

    program: str = "podman"

    @property
    def name(self) -> str:
        """How the log calls it."""
        return "podman"

    @property
    def environment(self) -> Mapping[str, str]:
        """Nothing."""
        return MappingProxyType({})

    def build(
        self,
        folder: Path,
        dockerfile: Path,
        tag: str,
        platform: str,
        cache: str | None,  # noqa: ARG002 - as the protocol has it
    ) -> Words:
        """``podman build``."""
        words = ("build", "--layers", "--platform", platform, "--file", str(dockerfile))
        return (self.program, *words, "--tag", build_local(tag), str(folder))

    def fetch_cache(self, cache: str) -> Words | None:  # noqa: ARG002 - as the protocol has it
        """Nothing."""
        return None

    def can_use_cache(self) -> bool:
        """It cannot."""
        return False

    def inspect(self, tag: str) -> Words:
        """``podman image inspect``."""
        return (self.program, "image", "inspect", "--format", "{{.Id}}", build_local(tag))

    def list_tags(self, repository: str) -> Words:
        """``podman image ls``."""
        return (self.program, "image", "ls", "--format", "{{.Tag}}", build_local(repository))

    def push(self, tag: str, reference: str) -> tuple[Words, ...]:
        """``podman push``."""
        return ((self.program, "push", "--tls-verify=false", build_local(tag), reference),)

    def forget(self, reference: str) -> Words | None:  # noqa: ARG002 - as the protocol has it
        """Nothing: it pushes under another name than the image has here."""
        return None

    def remove(self, tags: Sequence[str]) -> Words:
        """``podman image rm``."""
        return (self.program, "image", "rm", *map(build_local, tags))


def build_local(name: str) -> str:
    """How podman names an image that is from no registry; without it, it would look in several."""
    return f"localhost/{name}"


def find_engine(environ: Mapping[str, str]) -> Engine:
    """The engine of this machine: Docker where its engine answers, else Podman.

    Args:
        environ: the caller's environment: ``PATH``, ``DOCKER_HOST`` and what else they read.

    Raises:
        UsageError: there is none that works.
    """
    path = environ.get("PATH")
    docker, podman = shutil.which("docker", path=path), shutil.which("podman", path=path)
    if docker and does_answer((docker, "version", "--format", "{{.Server.Version}}"), environ):
        if does_answer((docker, "buildx", "version"), environ):
            return Buildx(docker)
        return Docker(docker)
    if podman and does_answer((podman, "version"), environ):
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


def does_answer(words: Words, environ: Mapping[str, str]) -> bool:
    """Whether a command ends well within 10 s."""
    return ask(words, environ, seconds=ANSWER_SECONDS) is not None
