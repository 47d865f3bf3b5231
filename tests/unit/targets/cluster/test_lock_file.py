"""What a lock's record says."""

from __future__ import annotations

import pytest

from nvoi.targets.cluster.lock_file import Holder, parse_holder

ANNA = Holder("anna", "laptop", "2026-01-02T03:04:05Z", "d-1", "shop")


def test_a_record_is_one_line_and_comes_back_whole() -> None:
    odd = Holder("añna\n'$(x)'", "lap top", "", "d", "shop")
    for holder in (ANNA, odd):
        assert len(holder.to_json().splitlines()) == 1
        assert parse_holder(holder.to_json()) == holder


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"user": 3}', '{"user": "an'])
def test_a_record_that_cannot_be_read_is_a_run_that_has_just_begun(text: str) -> None:
    assert parse_holder(text).describe() == "a run that has only just begun"


def test_a_newer_record_is_read_as_far_as_it_is_known() -> None:
    text = '{"user": "anna", "machine": "laptop", "app": "shop", "color": "red"}'
    assert parse_holder(text).describe() == (
        "anna on laptop, since an unknown time (app shop, deploy unknown)"
    )
