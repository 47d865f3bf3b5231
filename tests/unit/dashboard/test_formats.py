from __future__ import annotations

import pytest

from nvoi.dashboard import formats
from nvoi.dashboard.formats import Piece, Section, build_sections
from nvoi.dashboard.queries import Gap, StoredLine

MARCH = 1_772_600_645_123


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (-5, "0.0 s"),
        (420, "0.4 s"),
        (9_949, "9.9 s"),
        (12_449, "12.4 s"),
        (59_949, "59.9 s"),
        (59_999, "1 min 00 s"),
        (60_000, "1 min 00 s"),
        (125_000, "2 min 05 s"),
        (3_599_499, "59 min 59 s"),
        (3_720_000, "1 h 02 min"),
    ],
)
def test_a_duration_is_told_in_the_units_that_fit(milliseconds: int, text: str) -> None:
    assert formats.format_duration(milliseconds) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "just now"),
        (59_999, "just now"),
        (60_000, "1 minute ago"),
        (7_200_000, "2 hours ago"),
        (30 * 86_400_000, "30 days ago"),
    ],
)
def test_an_age_is_told_in_its_largest_unit(milliseconds: int, text: str) -> None:
    assert formats.format_ago(milliseconds) == text


def test_a_moment_is_told_in_utc() -> None:
    assert formats.format_utc(MARCH) == "2026-03-04 05:04:05 UTC"
    assert formats.format_clock(MARCH) == "05:04:05.123"
    assert formats.format_iso(MARCH) == "2026-03-04T05:04:05.123Z"


def test_a_moment_beyond_the_calendar_is_no_error() -> None:
    assert formats.format_iso(2**53) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;https://example.com\x07link\x1b]8;;\x1b\\", "link"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b(Bplain\x1b=", "plain"),
        ("half \x1b[", "half \u241b["),
        ("a\x00b\x07c\x7f", "a\u2400b\u2407c\u2421"),
        ("one\r\ntwo\rthree\n\tfour", "one\ntwo\u240dthree\n\tfour"),
    ],
)
def test_control_characters_are_removed_or_seen(text: str, clean: str) -> None:
    assert formats.clean_text(text) == clean


def test_a_title_is_one_line_that_is_read_in_one_direction() -> None:
    assert formats.clean_title("main\n\u202edeploy\u202c\t\x1b[31m1") == "main deploy 1"


def test_a_very_long_name_loses_its_end() -> None:
    assert formats.clean_name("x" * 120) == "x" * 120
    assert formats.clean_name("x" * 50_000) == "x" * 119 + "…"


def test_of_thousands_of_links_the_first_are_links() -> None:
    pieces = formats.split_links("http://a.b/ " * 30_000)

    assert len(pieces) < 600
    assert "".join(piece.text for piece in pieces) == "http://a.b/ " * 30_000


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("see https://example.com/a?b=c#d.", ["https://example.com/a?b=c#d"]),
        ("(http://localhost:8000)", ["http://localhost:8000"]),
        ("https://example.com/a_(b)", ["https://example.com/a_(b)"]),
        ("http://[::1]:80/ and [https://example.com]", ["http://[::1]:80/", "https://example.com"]),
        ('<a href="https://example.com/">', ["https://example.com/"]),
        ("javascript:alert(1) ftp://example.com https:// http://[", []),
    ],
)
def test_only_web_addresses_in_a_message_are_links(text: str, urls: list[str]) -> None:
    pieces = formats.split_links(text)

    assert [piece.url for piece in pieces if piece.url] == urls
    assert "".join(piece.text for piece in pieces) == text


@pytest.mark.parametrize("character", [")", "]", "."])
@pytest.mark.timeout(20)
def test_a_very_long_end_of_an_address_takes_no_long_time(character: str) -> None:
    text = "http://a.b/" + character * 300_000

    assert formats.split_links(text)[0] == Piece("http://a.b/", "http://a.b/")


def test_text_around_a_link_stays_text() -> None:
    assert formats.split_links("a http://b.c d") == [
        Piece("a "),
        Piece("http://b.c", "http://b.c"),
        Piece(" d"),
    ]


@pytest.mark.parametrize(
    "url", [None, "", "javascript:alert(1)", "data:text/html,x", "//a.b", "http://", "http://a b"]
)
def test_what_is_no_web_address_is_no_link(url: str | None) -> None:
    assert not formats.is_web_url(url)


@pytest.mark.parametrize(
    ("hostname", "url"),
    [
        ("www.example.com", "https://www.example.com"),
        ("www.example.com:8443", "https://www.example.com:8443"),
        ("localhost:8000", "http://localhost:8000"),
        ("shop.localhost", "http://shop.localhost"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("10.0.0.1", "https://10.0.0.1"),
        ("", None),
        ("user@example.com", None),
        ("example.com/path", None),
        ("exa mple.com", None),
        ("[::1", None),
        ("exa<b>mple.com", None),
        ("example.com:65536", None),
        ("example.com:http", None),
        ("exa\u202emple.com", None),
    ],
)
def test_an_app_is_opened_by_https_but_on_this_machine(hostname: str, url: str | None) -> None:
    assert formats.build_app_url(hostname) == url


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("github_actions", "GitHub Actions"),
        ("gitlab_ci", "GitLab CI"),
        ("buildkite", "Buildkite"),
        ("my_own_ci", "My Own Ci"),
    ],
)
def test_a_ci_has_its_own_name(provider: str, name: str) -> None:
    assert formats.name_provider(provider) == name


def test_a_commit_is_shortened_and_other_texts_are_not() -> None:
    assert formats.shorten_sha("3f2a9c1be0d4a5f6") == "3f2a9c1"
    assert formats.shorten_sha("release-of-monday") == "release-of-monday"


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


def test_what_is_said_of_the_whole_run_is_no_part_of_the_last_step() -> None:
    ended = StoredLine(8, 8, 8, "ok", "line 5: 2.0 s", 8000)
    after = StoredLine(9, 9, 9, "success", "Deploy of shop done in 9.0 s", 9000)
    for lines in ([*LINES, ended, after], [*LINES, after]):
        sections = build_sections(lines, (), "completed")
        assert describe(sections)[-1] == (None, [9])
        assert sections[-1].closing
        assert sections[-1].open


def test_errors_and_missing_lines_of_a_step_are_counted() -> None:
    _, first, last = build_sections(LINES, [Gap(3, 3)], "failed")

    assert (first.errors, last.errors) == (0, 1)
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
