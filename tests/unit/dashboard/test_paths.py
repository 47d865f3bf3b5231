"""Paths as they were sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.routing import Match

from nvoi.dashboard.paths import RawRoute, decode_segment, quote_segment

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def answer(request: Request) -> Response:
    raise NotImplementedError


LOGS = RawRoute("/api/deploys/{deploy_id}/logs", answer, methods=["POST"])


@pytest.mark.parametrize(
    ("raw", "deploy_id"),
    [
        ("run-1", "run-1"),
        ("a%2Fb", "a/b"),
        ("a%2fb%2Flogs", "a/b/logs"),
        ("%2E%2E", ".."),
        ("%00", "\0"),
        ("%C3%A9", "é"),
        ("100%25", "100%"),
        ("100%", "100%"),
        ("a+b", "a+b"),
        ("a%3Fb", "a?b"),
        ("x" * 10_000, "x" * 10_000),
    ],
)
def test_a_segment_is_decoded_only_once_it_is_known_where_it_ends(raw: str, deploy_id: str) -> None:
    assert LOGS.find_fields(f"/api/deploys/{raw}/logs") == {"deploy_id": deploy_id}


@pytest.mark.parametrize(
    "path",
    [
        "/api/deploys//logs",
        "/api/deploys/a/b/logs",
        "/api/deploys/a/logs/",
        "/api/deploys/a/LOGS",
        "//api/deploys/a/logs",
        "/api%2Fdeploys/a/logs",
        "/api/deploys/a/logs\n",
        "",
        "*",
    ],
)
def test_a_path_of_another_shape_is_none_of_the_route(path: str) -> None:
    assert LOGS.find_fields(path) is None


def test_a_segment_that_is_not_utf_8_is_none() -> None:
    assert LOGS.find_fields("/api/deploys/%FF/logs") == {"deploy_id": None}
    assert decode_segment("%C3") is None


def test_a_field_may_have_an_ending_and_may_hold_it_too() -> None:
    route = RawRoute("/deploys/{deploy_id}.json", answer)
    assert route.find_fields("/deploys/a.json.json") == {"deploy_id": "a.json"}
    assert route.find_fields("/deploys/.json") is None


def test_another_method_is_told_apart_from_another_path() -> None:
    scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/api/deploys/a/logs"}
    assert LOGS.matches(scope)[0] is Match.PARTIAL
    assert LOGS.matches({**scope, "method": "POST"})[0] is Match.FULL
    assert LOGS.matches({**scope, "raw_path": b"/api"})[0] is Match.NONE
    assert LOGS.matches({**scope, "type": "websocket"})[0] is Match.NONE


def test_a_server_without_a_raw_path_will_do() -> None:
    scope = {"type": "http", "method": "POST", "path": "/api/deploys/a b/logs"}
    assert LOGS.matches(scope)[1]["path_params"] == {"deploy_id": "a b"}


def test_a_query_is_no_part_of_the_path() -> None:
    raw = b"/api/deploys/a/logs?b"
    scope = {"type": "http", "method": "POST", "path": "/", "raw_path": raw}
    assert LOGS.matches(scope)[0] is Match.FULL


@pytest.mark.parametrize("text", ["a/b", ".", "..", "é?#%", "a b", "x/../y"])
def test_what_is_quoted_is_one_segment_and_decoded_again(text: str) -> None:
    quoted = quote_segment(text)
    assert not set(quoted) & set("/?# ")
    assert quoted not in {".", ".."}
    assert decode_segment(quoted) == text
