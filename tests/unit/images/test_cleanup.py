"""Which images are old, and the command that removes them from a node."""

from __future__ import annotations

from nvoi.images.cleanup import find_expired_tags

OLD, MIDDLE, NEW = "20260101000000", "20260202000000", "20260303000000"


def test_what_is_kept_and_what_is_newer_stays() -> None:
    assert find_expired_tags([NEW, OLD, MIDDLE], {MIDDLE}) == (OLD,)
    assert find_expired_tags([NEW, OLD, MIDDLE], {OLD, NEW}) == (MIDDLE,)
    assert find_expired_tags([NEW, OLD, MIDDLE], {NEW, OLD, MIDDLE}) == ()


def test_where_none_is_kept_all_expire() -> None:
    assert find_expired_tags([NEW, OLD], ()) == (OLD, NEW)


def test_tags_that_nvoi_did_not_make_stay() -> None:
    assert find_expired_tags(["latest", "1.0", OLD], {NEW}) == (OLD,)
