"""Stamps: the names of releases and images, each newer than all before. All functions are pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

FORMAT = "%Y%m%d%H%M%S"


def build_stamp(moment: datetime) -> str:
    """``YYYYMMDDHHMMSS`` of a moment in UTC."""
    return f"{moment:{FORMAT}}"


def find_moment(stamp: str) -> datetime | None:
    """The moment of a stamp, None where it is none."""
    try:
        return datetime.strptime(stamp, FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def choose_stamp(stamp: str, used: Iterable[str]) -> str:
    """``stamp``, or the second after the newest of ``used`` where that is not older.

    Two runs may have begun in the same second, and clocks of two machines differ. What is no
    stamp among ``used`` counts for nothing.
    """
    newest = max(filter(None, map(find_moment, used)), default=None)
    if newest is None or build_stamp(newest) < stamp:
        return stamp
    return build_stamp(newest + timedelta(seconds=1))
