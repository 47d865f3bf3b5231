"""Releases of k3s: which one is newer, and which may follow which. All functions are pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from nvoi.errors import NvoiError

#: What is installed where the config names no release and there is no cluster yet: the stable
#: channel of k3s, "Update stable to v1.36.4+k3s1" (k3s-io/k3s, pull request 14553, August 2026).
DEFAULT_VERSION = "v1.36.4+k3s1"

PATTERN = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:-rc(\d+))?\+k3s(\d+)")
#: A release comes after all of its candidates.
NO_CANDIDATE = 1 << 30


class Version(NamedTuple):
    """A release, in the order of its parts."""

    major: int
    minor: int
    patch: int
    candidate: int
    build: int


def parse_version(text: str) -> Version:
    """``v1.36.4+k3s1`` in its parts.

    Raises:
        NvoiError: it is no release of k3s.
    """
    match = PATTERN.fullmatch(text)
    if match is None:
        raise NvoiError(
            f"k3s.version: {text!r} is no release of k3s",
            hint=f"releases are named like {DEFAULT_VERSION}",
        )
    major, minor, patch, candidate, build = match.groups()
    return Version(
        int(major),
        int(minor),
        int(patch),
        int(candidate) if candidate else NO_CANDIDATE,
        int(build),
    )


def choose_version(wanted: str | None, installed: str | None) -> str:
    """The release for a cluster: the config's, else the one that it has, else the default."""
    return wanted or installed or DEFAULT_VERSION


def find_upgrade_fault(installed: str, wanted: str) -> str | None:
    """Why a node cannot go from one release to the other; None where it can.

    Sources: Kubernetes documentation, "Version Skew Policy": minor releases are not skipped and
    nothing goes back; k3s documentation, "Manual Upgrades".
    """
    if not PATTERN.fullmatch(installed):
        return None
    old, new = parse_version(installed), parse_version(wanted)
    if new[:3] < old[:3]:
        return (
            f"k3s {installed} cannot go back to {wanted}: Kubernetes does not support downgrades. "
            f"Set k3s.version to {installed} or newer"
        )
    if new.major == old.major and new.minor > old.minor + 1:
        return (
            f"k3s {installed} cannot go to {wanted} at once: Kubernetes takes one minor release "
            f"after the other. Set k3s.version to a release of v{old.major}.{old.minor + 1} first"
        )
    return None
