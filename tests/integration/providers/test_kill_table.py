"""A sample of the kill table; docs/providers.md has the whole one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.integration.providers.kill_table import CASES, RUNS, judge, list_cells, sample

#: Cells of a deploy that a run of the tests plays of a cloud, beside one of each other run.
SAMPLED = 1


@pytest.mark.parametrize("name", CASES)
def test_the_next_run_heals_what_a_broken_one_left(name: str) -> None:
    # Others each day: the days play all of it. What fails is named, and can be played alone.
    cells = sample(list(list_cells(CASES[name])), SAMPLED, datetime.now(UTC).toordinal())
    assert {cell.operation for cell in cells} == set(RUNS)
    assert [text for cell in cells if (text := judge(cell))] == []
