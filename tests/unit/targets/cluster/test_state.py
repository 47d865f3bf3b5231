from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nvoi.targets.cluster.state import build_stamp, choose_stamp


def test_a_stamp_is_its_moment() -> None:
    assert build_stamp(datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC)) == "20260102030405"


@pytest.mark.parametrize(
    ("used", "chosen"),
    [
        ([], "20261231235959"),
        (["20261231235958", "20250101000000"], "20261231235959"),
        # Two runs in one second, and a clock that is behind.
        (["20261231235959"], "20270101000000"),
        (["20301231235959", "20261231235959"], "20310101000000"),
        (["", "latest", "99999999999999", "2026123123595"], "20261231235959"),
    ],
)
def test_a_new_stamp_is_later_than_all_that_there_are(used: list[str], chosen: str) -> None:
    assert choose_stamp("20261231235959", used) == chosen
