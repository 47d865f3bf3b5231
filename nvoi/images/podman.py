"""The words of Podman's commands. Source: podman-build(1) and its other pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from nvoi.images.process import Words


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
