"""Where the dashboard listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvoi.dashboard.server import check_reach, format_origin
from nvoi.dashboard.settings import Settings
from nvoi.errors import UsageError
from nvoi.secret import Secret


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_this_machine_may_read_without_being_asked(host: str) -> None:
    check_reach(Settings(Path(), host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.com", "localhost.evil"])
def test_others_are_to_be_asked(host: str) -> None:
    with pytest.raises(UsageError, match="--password-file"):
        check_reach(Settings(Path(), host=host))
    check_reach(Settings(Path(), host=host, trust_proxy=True))
    check_reach(Settings(Path(), host=host, password=Secret("a long password")))


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", "http://127.0.0.1:80"), ("::1", "http://[::1]:80")]
)
def test_an_ipv6_address_stands_in_brackets(host: str, url: str) -> None:
    assert format_origin(host, 80) == url
