from __future__ import annotations

from nvoi.dashboard.records import Gap, StoredLine
from nvoi.dashboard.sections import Section, build_sections


def build_line(number: int, level: str = "info", place: int | None = None) -> StoredLine:
    where = number if place is None else place
    return StoredLine(number, where, where, level, f"line {number}", number * 1000)


def describe(sections: list[Section]) -> list[tuple[int | None, list[object]]]:
    return [
        (
            section.head.number if section.head else None,
            [item if isinstance(item, Gap) else item.number for item in section.items],
        )
        for section in sections
    ]


LINES = [
    build_line(1),
    build_line(2, "step"),
    build_line(3),
    build_line(4, "warning"),
    build_line(5, "step"),
    build_line(6, "error"),
    build_line(7),
]


def test_each_step_begins_a_section() -> None:
    assert describe(build_sections(LINES, (), "completed")) == [
        (None, [1]),
        (2, [3, 4]),
        (5, [6, 7]),
    ]


def test_a_log_without_steps_is_one_section() -> None:
    assert describe(build_sections([build_line(1)], (), "running")) == [(None, [1])]


def test_an_empty_log_has_no_section() -> None:
    assert build_sections([], (), "running") == []


def test_a_step_lasts_until_the_next_one() -> None:
    _, first, last = build_sections(LINES, (), "completed")

    assert (first.duration, last.duration) == (3000, 2000)


def test_the_last_step_of_a_running_deploy_is_running() -> None:
    sections = build_sections(LINES, (), "running")

    assert [section.running for section in sections] == [False, False, True]
    assert all(section.open for section in sections)


def test_the_last_step_of_a_failed_deploy_is_the_one_that_failed() -> None:
    sections = build_sections(LINES, (), "failed")

    assert [section.failed for section in sections] == [False, False, True]
    assert [section.open for section in sections if section.head] == [False, True]


def test_errors_warnings_and_missing_lines_of_a_step_are_counted() -> None:
    _, first, last = build_sections(LINES, [Gap(3, 3)], "failed")

    assert (first.warnings, first.errors, last.errors) == (1, 0, 1)
    assert build_sections([build_line(1)], [Gap(2, 5)], "failed")[0].missing == 4


def test_lines_are_in_the_order_of_their_places() -> None:
    late = [build_line(1, place=1), build_line(2, place=5), build_line(3, place=2)]

    assert describe(build_sections(late, (), "running")) == [(None, [1, 3, 2])]


def test_a_gap_stands_where_its_lines_would() -> None:
    lines = [build_line(1, place=1), build_line(2, place=5), build_line(3, place=9)]
    gaps = [Gap(6, 8), Gap(2, 4), Gap(10, 12)]

    assert describe(build_sections(lines, gaps, "completed")) == [
        (None, [1, Gap(2, 4), 2, Gap(6, 8), 3, Gap(10, 12)])
    ]


def test_gaps_outside_of_a_part_of_the_log_are_left_out() -> None:
    lines = [build_line(5, place=9), build_line(6, place=10)]

    assert describe(build_sections(lines, [Gap(2, 4), Gap(12, 13)], "failed", complete=False)) == [
        (None, [5, 6])
    ]
