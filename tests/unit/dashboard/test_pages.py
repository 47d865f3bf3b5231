from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from nvoi.dashboard.deliveries import Tunnel
from nvoi.dashboard.formats import build_sections
from nvoi.dashboard.pages import BADGES, DeployView, ProjectView, render
from nvoi.dashboard.projects import Project
from nvoi.dashboard.queries import Attempt, Gap, StoredLine

NOW = 1_000_000

ATTEMPT = Attempt(
    id=1,
    project="shop",
    deploy_id="1234",
    number=1,
    status="running",
    started_at=NOW - 65_000,
    last_seen_at=NOW - 5_000,
    ended_at=None,
    duration_seconds=None,
    git_sha=None,
    git_ref=None,
    ci_provider=None,
    ci_run_url=None,
    error=None,
    tunnels=(),
    lines=0,
    counts={},
    log_count=None,
    log_dropped=None,
    gaps=(),
    superseded=False,
)


def build_view(**changes: Any) -> DeployView:
    return DeployView(dataclasses.replace(ATTEMPT, **changes), NOW)


def test_a_title_is_not_turned_by_what_was_sent() -> None:
    view = build_view(git_ref="\u202enoitcudorp", deploy_id="1\u20672")

    assert view.title == "▶ noitcudorp 12 running · shop"


def test_each_state_has_an_icon_of_its_own() -> None:
    assert len({badge.icon for badge in BADGES.values()}) == len(BADGES)


def test_the_default_project_is_not_called_default() -> None:
    assert build_view(project="default").title == "▶ 1234 running · deploys"


def test_an_ended_deploy_lasted_as_long_as_its_sender_says() -> None:
    view = build_view(status="completed", ended_at=NOW, duration_seconds=42)

    assert (view.duration, view.since) == (42_000, None)


def test_a_failed_deploy_lasted_until_its_end() -> None:
    assert build_view(status="failed", ended_at=NOW - 10_000).duration == 55_000


def test_a_lost_deploy_lasted_until_it_was_last_heard_of() -> None:
    view = build_view(status="lost")

    assert (view.duration, view.silence) == (60_000, 5_000)


@pytest.mark.parametrize(
    ("deploy_id", "path"),
    [("1234", "1234"), ("a/b", "a%2Fb"), ("a b?c#d", "a%20b%3Fc%23d"), ("é", "%C3%A9")],
)
def test_an_id_is_one_segment_of_its_url(deploy_id: str, path: str) -> None:
    view = build_view(deploy_id=deploy_id)

    assert view.url == f"/projects/shop/deploys/{path}"
    assert view.api_url == f"/api/projects/shop/deploys/{path}"


@pytest.mark.parametrize(
    ("deploy_id", "number", "name"),
    [
        ("1234", 1, "shop-1234.txt"),
        ("1234", 3, "shop-1234-3.txt"),
        ("../a b\\c:\u202ed", 1, "shop-.._a_b_c_d.txt"),
        ("x" * 255, 1, f"shop-{'x' * 75}.txt"),
    ],
)
def test_a_saved_log_is_named_for_its_deploy(deploy_id: str, number: int, name: str) -> None:
    assert build_view(deploy_id=deploy_id, number=number).file_name == name


def test_only_the_default_project_says_where_its_deploys_are_sent() -> None:
    assert ProjectView(Project(1, "default", None, NOW), ()).callback_path == "/api/deploys"
    assert ProjectView(Project(2, "shop", "token", NOW), ()).callback_path is None


def render_summary(**changes: Any) -> str:
    return bytes(render("summary.html", view=build_view(**changes)).body).decode()


def render_lines(lines: list[StoredLine], *gaps: Gap) -> str:
    sections = build_sections(lines, gaps, "completed")
    return bytes(render("lines.html", sections=sections, permalink="").body).decode()


def test_a_deploy_that_went_silent_says_for_how_long() -> None:
    text = render_summary(status="lost")

    assert "Lost contact." in text
    assert ">5.0 s</span>; it may still be running" in text


def test_a_silent_deploy_that_was_started_again_is_not_said_to_run() -> None:
    assert "may still be running" not in render_summary(status="lost", superseded=True)


@pytest.mark.parametrize(
    ("changes", "link"),
    [
        ({"ci_provider": "github_actions", "ci_run_url": "https://a.example/1"}, True),
        ({"ci_provider": "github_actions", "ci_run_url": "javascript:alert(1)"}, False),
        ({"ci_provider": None, "ci_run_url": "javascript:alert(1)"}, False),
        ({"tunnels": (Tunnel("web", "a.example"),)}, True),
        ({"tunnels": (Tunnel("web", "a.example/?x"),)}, False),
    ],
)
def test_only_web_addresses_are_links(changes: dict[str, Any], link: bool) -> None:
    text = render_summary(**changes)

    assert ("href=" in text) is link
    assert "javascript:" not in text


def test_markup_in_what_was_sent_is_text() -> None:
    evil = "<script>\"'&"
    text = render_summary(
        deploy_id=evil, git_ref=evil, git_sha=evil, ci_provider=evil, error=evil, status="failed"
    )

    assert "<script" not in text
    assert "&lt;script&gt;&#34;&#39;&amp;" in text


def test_a_message_keeps_its_lines_and_has_its_links() -> None:
    line = StoredLine(1, 1, 1, "info", "a\n  b <i> https://a.example/?x=1&y=2.", 0)

    assert (
        '<bdi class="message">a\n  b &lt;i&gt; <a href="https://a.example/?x=1&amp;y=2" '
        'rel="noopener noreferrer nofollow">https://a.example/?x=1&amp;y=2</a>.</bdi>'
    ) in render_lines([line])
