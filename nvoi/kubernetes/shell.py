"""Command lines of the config, as Kubernetes takes them."""

from __future__ import annotations


def build_shell(command: str) -> list[str]:
    """A shell that runs ``command`` just as it stands.

    Kubernetes reads ``$(NAME)`` in a container's command and in an exec probe's itself, and
    makes one dollar of two (API reference, Container, ``command``): each is written twice.
    """
    return ["/bin/sh", "-c", command.replace("$", "$$")]
