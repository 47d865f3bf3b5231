"""What an image is called. All functions are pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

# YYYYMMDDHHMMSS: the only tags of an app's repository that nvoi makes, and so removes.
STAMP = re.compile(r"\d{14}")


@dataclass(frozen=True)
class Image:
    """An image that was built.

    Attributes:
        tag: ``P:<stamp>``.
        id: what the engine knows its content by, 64 hex without ``sha256:`` before them.
    """

    tag: str
    id: str

    @property
    def repository(self) -> str:
        """``P``."""
        return split_tag(self.tag)[0]

    @property
    def stamp(self) -> str:
        """``YYYYMMDDHHMMSS``."""
        return split_tag(self.tag)[1]


def split_tag(tag: str) -> tuple[str, str]:
    """``P:<stamp>`` as its two parts."""
    repository, _, stamp = tag.rpartition(":")
    return repository, stamp


def strip_digest(digest: str) -> str:
    """The hex of a digest; an id that has no algorithm before it is left as it is."""
    return digest.strip().removeprefix("sha256:")


def find_newest(stamps: list[str] | tuple[str, ...]) -> str | None:
    """The latest of the stamps that nvoi made, None where there is none."""
    return max((stamp for stamp in stamps if STAMP.fullmatch(stamp)), default=None)
