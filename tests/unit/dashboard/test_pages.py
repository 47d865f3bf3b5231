from __future__ import annotations

from typing import Any

import pytest

from nvoi.dashboard.deliveries import Tunnel
from nvoi.dashboard.formats import build_sections
from nvoi.dashboard.history import History
from nvoi.dashboard.pages import render
from nvoi.dashboard.projects import Project
from nvoi.dashboard.queries import Gap, StoredLine
from nvoi.dashboard.views import BADGES, BAR_HEIGHT, LEAST_BAR, DeployView, ProjectView
from tests.unit.dashboard.stores import build_attempt

NOW = 1_000_000


def build_view(**changes: Any) -> DeployView:
    return DeployView(build_attempt(**changes), NOW)


def test_a_title_is_not_turned_by_what_was_sent() -> None:
    view = build_view(git_ref="\u202enoitcudorp", git_sha="1\u20672")

    assert view.title == "▶ noitcudorp 12 running · shop"


def test_each_state_has_an_icon_of_its_own() -> None:
    assert len({badge.icon for badge in BADGES.values()}) == len(BADGES)


def test_the_default_project_is_not_called_default() -> None:
    assert build_view(project="default").title == "▶ 1234 running · deploys"


def test_the_default_project_has_the_name_of_its_only_app() -> None:
    project = Project(1, "default", None, NOW)
    shop, other = (build_view(project="default", app=app) for app in ("shop", "other"))

    assert ProjectView(project, (shop, shop)).name == "shop"
    assert ProjectView(project, (shop, other)).name == "deploys"
    assert ProjectView(Project(2, "web", "token", NOW), (shop,)).name == "web"
    assert shop.title == "▶ 1234 running · shop"


def test_a_running_deploy_has_lasted_until_now() -> None:
    assert (build_view().duration, build_view().since) == (65_000, NOW - 65_000)
    assert build_view(status="completed", duration=42_000).since is None


def test_a_run_is_known_by_its_commit_else_by_branch_and_sha_else_by_its_id() -> None:
    sha = "3f2a9c1be0d4a5f6e7b8c9d0e1f2a3b4c5d6e7f8"

    assert build_view(commit_title="Fix\nit", git_ref="main", git_sha=sha).name == "Fix it"
    assert build_view(git_ref="main", git_sha=sha).name == "main 3f2a9c1"
    assert build_view(git_ref="main").name == "main"
    assert build_view().name == "1234"
    assert build_view(commit_title=" ", git_ref="main").name == "main"
    assert build_view(project="default", app=" ").project_name == "deploys"


@pytest.mark.parametrize(
    ("deploy_id", "short"),
    [
        ("9876543210", "9876543210"),
        ("9f86d081-884c-4d65-9a2f-eaa0c55ad015", "9f86d081…"),
        ("x" * 15, f"{'x' * 14}…"),
    ],
)
def test_a_deploy_id_is_short_in_a_list(deploy_id: str, short: str) -> None:
    assert build_view(deploy_id=deploy_id).short_id == short


@pytest.mark.parametrize(
    ("command", "told"),
    [(None, None), ("deploy", None), ("delete", "Delete"), ("rollback", "Rollback"), ("x", "x")],
)
def test_what_is_no_deploy_is_told(command: str | None, told: str | None) -> None:
    assert build_view(command=command).command == told
    assert (told or "running") in build_view(command=command).title


def test_bars_are_as_high_as_their_runs_took_long_and_one_dwarfs_no_others() -> None:
    runs = [
        build_attempt(id=n, status="completed", duration=duration, deploy_id=str(n))
        for n, duration in enumerate((3_600_000, 20_000, 10_000, 0))
    ]
    history = History(runs, None, None, None, None, None, None, None)
    bars = ProjectView(Project(1, "shop", None, NOW), (), history, NOW).bars

    assert [bar.view.attempt.deploy_id for bar in bars] == ["3", "2", "1", "0"]
    heights = [bar.height for bar in bars]
    assert heights[0] == LEAST_BAR
    assert heights[-1] == BAR_HEIGHT
    assert LEAST_BAR + 5 < heights[1] < heights[2] < BAR_HEIGHT - 5
    assert bars[1].label == "2, completed in 10.0 s, 1 minute ago"


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
    return bytes(render("part.html", view=build_view(**changes)).body).decode()


def render_lines(lines: list[StoredLine], *gaps: Gap) -> str:
    sections = build_sections(lines, gaps, "completed")
    return bytes(render("lines.html", sections=sections, permalink="").body).decode()


def test_a_deploy_that_went_silent_says_for_how_long() -> None:
    text = render_summary(status="lost")

    assert "<strong>Lost.</strong>" in text
    assert ">5.0 s</span>: it was killed, or its network is down" in text


def test_a_silent_deploy_that_was_started_again_is_not_said_to_be_away() -> None:
    assert "network" not in render_summary(status="lost", superseded=True)


def test_a_cancelled_run_is_not_called_an_error() -> None:
    text = render_summary(status="cancelled", error="interrupted by Ctrl-C")

    assert ">Cancelled</h2>" in text
    assert "Error" not in text


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
        deploy_id=evil,
        app=evil,
        command=evil,
        commit_title=evil,
        commit_author=evil,
        git_ref=evil,
        git_sha=evil,
        ci_provider=evil,
        error=evil,
        status="failed",
        duration=1,
    )

    assert "<script" not in text
    assert "&lt;script&gt;&#34;&#39;&amp;" in text


def test_a_message_keeps_its_lines_and_has_its_links() -> None:
    line = StoredLine(1, 1, 1, "info", "a\n  b <i> https://a.example/?x=1&y=2.", 0)

    assert (
        '<bdi class="message">a\n  b &lt;i&gt; <a href="https://a.example/?x=1&amp;y=2" '
        'rel="noopener noreferrer nofollow">https://a.example/?x=1&amp;y=2</a>.</bdi>'
    ) in render_lines([line])
