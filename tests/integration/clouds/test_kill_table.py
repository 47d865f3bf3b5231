"""A sample of the kill table; docs/providers.md has the whole one."""

from __future__ import annotations

import pytest

from tests.integration.clouds.kill_table import CASES, judge, list_cells, sample

#: Cells of a cloud that each run of the tests plays.
SAMPLED = 8


@pytest.mark.parametrize("name", CASES)
def test_the_next_run_heals_what_a_broken_one_left(name: str) -> None:
    cells = sample(list(list_cells(CASES[name])), SAMPLED)
    assert {cell.operation for cell in cells} == {"deploy", "delete"}
    assert [text for cell in cells if (text := judge(cell))] == []
