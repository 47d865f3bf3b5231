"""The programs that build images: which one there is, and its words. Nothing is built here.

An engine is a frozen record whose methods are pure: each gives the words of one command.
Images are named by their tag ``P:<stamp>`` throughout; what an engine makes of it in its own
store is its own affair.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from nvoi.errors import UsageError
from nvoi.images.docker import Buildx, Docker
from nvoi.images.podman import Podman
from nvoi.images.process import Words, ask
from nvoi.log.levels import get_logger

log = get_logger("nvoi.images")

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
        """Build ``tag`` from what is deployed of the checkout.

        Args:
            folder: the build's context.
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
