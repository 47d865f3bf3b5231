from __future__ import annotations

import pytest

from nvoi.dashboard import formats

MARCH = 1_772_600_645_123


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (-5, "0.0 s"),
        (9_949, "9.9 s"),
        (59_949, "59.9 s"),
        (59_999, "1 min 00 s"),
        (125_000, "2 min 05 s"),
        (3_599_499, "59 min 59 s"),
        (3_720_000, "1 h 02 min"),
    ],
)
def test_a_duration_is_told_in_the_units_that_fit(milliseconds: int, text: str) -> None:
    assert formats.format_duration(milliseconds) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(59_999, "just now"), (60_000, "1 minute ago"), (7_200_000, "2 hours ago")],
)
def test_an_age_is_told_in_its_largest_unit(milliseconds: int, text: str) -> None:
    assert formats.format_ago(milliseconds) == text


def test_a_moment_is_told_in_utc_and_one_beyond_the_calendar_is_no_error() -> None:
    assert formats.format_utc(MARCH) == "2026-03-04 05:04:05 UTC"
    assert formats.format_iso(MARCH) == "2026-03-04T05:04:05.123Z"
    assert formats.format_iso(2**53) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;https://example.com\x07link\x1b]8;;\x1b\\", "link"),
        ("\x1b(Bplain\x1b=", "plain"),
        ("half \x1b[", "half \u241b["),
        ("a\x00b\x07c\x7f", "a\u2400b\u2407c\u2421"),
        ("one\r\ntwo\rthree\n\tfour", "one\ntwo\u240dthree\n\tfour"),
    ],
)
def test_control_characters_are_removed_or_seen(text: str, clean: str) -> None:
    assert formats.clean_text(text) == clean


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("main\n\u202edeploy\u202c\t\x1b[31m1", "main deploy 1"),
        ("x" * 50_000, "x" * 119 + "…"),
        ("\u202e" * 1000 + "main", "main"),
        (" \u200b\u2066\ufeff\u200d\n", ""),
        ("\U0001f469\u200d\U0001f680 a\u200cb", "\U0001f469\u200d\U0001f680 a\u200cb"),
    ],
    ids=["turned", "long", "long by what is not seen", "not seen", "joined"],
)
def test_a_name_is_one_line_of_some_length_in_which_all_is_seen(text: str, name: str) -> None:
    assert formats.clean_name(text) == name


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("https://example.com/a", True),
        (None, False),
        ("javascript:alert(1)", False),
        ("//a.b", False),
        ("http://", False),
        ("http://a b", False),
        ("http://[", False),
    ],
)
def test_only_web_addresses_are_links(url: str | None, *, is_one: bool) -> None:
    assert formats.is_web_url(url) is is_one


@pytest.mark.parametrize(
    ("hostname", "url"),
    [
        ("www.example.com:8443", "https://www.example.com:8443"),
        ("localhost:8000", "http://localhost:8000"),
        ("shop.localhost", "http://shop.localhost"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("10.0.0.1", "https://10.0.0.1"),
        ("", None),
        ("user@example.com", None),
        ("example.com/path", None),
        ("[::1", None),
        ("example.com:65536", None),
        ("exa\u202emple.com", None),
    ],
)
def test_an_app_is_opened_by_https_but_on_this_machine(hostname: str, url: str | None) -> None:
    assert formats.build_app_url(hostname) == url


def test_a_ci_and_a_commit_have_names_of_their_own() -> None:
    assert formats.name_provider("github_actions") == "GitHub Actions"
    assert formats.name_provider("my_own_ci") == "My Own Ci"
    assert formats.shorten_sha("3f2a9c1be0d4a5f6") == "3f2a9c1"
    assert formats.shorten_sha("release-of-monday") == "release-of-monday"
