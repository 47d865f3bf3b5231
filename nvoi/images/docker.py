"""The words of Docker's commands.

Sources: the reference pages of docker-image-build(1) and docker-buildx-build(1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from nvoi.images.process import Words


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
