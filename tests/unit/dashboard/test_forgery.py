from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nvoi.dashboard.forgery import build_token, is_foreign, is_token
from nvoi.dashboard.login import choose_next
from nvoi.dashboard.settings import Settings

SETTINGS = Settings(Path("db"), public_url="https://deploys.example.com")


def build_scope(**headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "headers": [(b"host", b"127.0.0.1:8787"), *pairs]}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": "http://127.0.0.1:8787"},
        {"origin": "https://deploys.example.com"},
        {"origin": "HTTPS://Deploys.Example.com"},
    ],
)
def test_our_own_forms_are_not_foreign(headers: dict[str, str]) -> None:
    assert not is_foreign(build_scope(**headers), SETTINGS)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "origin": "http://127.0.0.1:8787"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "https://deploys.example.com.evil.example"},
        {"origin": "https://evil.example", "x_forwarded_host": "evil.example"},
    ],
)
def test_forms_of_other_sites_are_foreign(headers: dict[str, str]) -> None:
    assert is_foreign(build_scope(**headers), SETTINGS)


def test_a_trusted_proxy_tells_the_host_that_it_was_asked_for() -> None:
    scope = build_scope(origin="https://d.example", x_forwarded_host="d.example")
    assert not is_foreign(scope, Settings(Path("db"), trust_proxy=True))


def test_a_token_is_of_one_key_and_one_purpose() -> None:
    token = build_token("key", "purpose")
    assert is_token(token, "key", "purpose")
    assert not is_token(token, "other", "purpose")
    assert not is_token(token, "key", "other")
    for wrong in ("", "x", token[:-1], token.upper(), "é", "\ud800"):
        assert not is_token(wrong, "key", "purpose")


@pytest.mark.parametrize(
    "path",
    ["/", "/projects/web", "/projects/web/deploys/a%2Fb?attempt=2", "/projects/web?x=//evil"],
)
def test_a_login_leads_on_to_a_page_of_this_server(path: str) -> None:
    assert choose_next(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "projects",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\n/evil.example",
        "/projects\r\nSet-Cookie: x=y",
        " //evil.example",
        "/ü",
    ],
)
def test_a_login_leads_nowhere_else(path: str) -> None:
    assert choose_next(path) == "/"
