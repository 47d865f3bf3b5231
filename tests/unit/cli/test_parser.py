"""Values of options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import pytest

from nvoi.cli.commands import build_parser
from nvoi.cli.dashboard import parse_url
from nvoi.cli.parser import Parser, add_options, parse_amount, parse_count, parse_hours, parse_port
from nvoi.errors import UsageError
from nvoi.log.handler import BUDGET_SECONDS


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://deploys.example.com", "https://deploys.example.com"),
        ("https://deploys.example.com/", "https://deploys.example.com"),
        ("http://localhost:8787", "http://localhost:8787"),
        ("HTTPS://Example.com:8443/", "https://Example.com:8443"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_a_public_url_is_a_scheme_a_host_and_a_port(text: str, url: str) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "deploys.example.com",
        "ftp://example.com",
        "https://",
        "https:///path",
        "https://example.com/deploys",
        "https://user:hunter2hunter2@example.com",
        "https://example.com?x",
        "https://example.com#x",
        "https://example.com:0",
        "https://example.com:99999",
        "https://example.com:x",
        "https://exa mple.com",
        "https://example.com\n",
        "http://[::1",
        # No config takes it in the callback_url that the dashboard prints.
        "https://deploys.münchen.example",
        'http://a"><script>',
        "http://a\\b",
    ],
)
def test_a_public_url_that_cannot_be_one_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_url(text)
    assert "--public-url" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_port, "0", 0),
        (parse_port, "65535", 65535),
        (parse_count, "200", 200),
        (parse_amount, "0.5", 0.5),
        (parse_hours, "0", 0.0),
        (parse_hours, "36.5", 36.5),
    ],
)
def test_numbers_are_read(parse: Callable[[str], Any], text: str, value: float) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_port, "65536"),
        (parse_port, "-1"),
        (parse_port, "http"),
        (parse_count, "few"),
        (parse_count, ""),
        (parse_count, "1.5"),
        (parse_count, "²"),
        (parse_count, "9" * 5000),
        (parse_amount, "0"),
        (parse_amount, "nan"),
        (parse_amount, "inf"),
        (parse_amount, "-1"),
        (parse_hours, "-1"),
        (parse_hours, "nan"),
        (parse_hours, "soon"),
    ],
)
def test_what_is_no_such_number_is_refused(parse: Callable[[str], Any], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse(text)


def test_a_command_s_callback_budget_is_that_of_the_handler() -> None:
    assert build_parser(["deploy"]).parse_args(["deploy"]).callback_budget == BUDGET_SECONDS


@pytest.mark.parametrize(
    "line",
    [
        "--db PATH where the data is",
        "--db path  where the data is",
        "--db",
        "-d, --db PATH  where the data is",
        "--db WHERE  where the data is",
        "--wait N  an N has no type but with its option",
    ],
)
def test_an_option_that_is_written_otherwise_is_none(line: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        add_options(Parser(), line)
