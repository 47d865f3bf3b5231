"""Runs and projects as the pages and the feed show them."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from nvoi.dashboard.api import build_feed
from nvoi.dashboard.pages import render
from nvoi.dashboard.projects import Project
from nvoi.dashboard.queries import Attempt, History
from nvoi.dashboard.views import (
    BAR_HEIGHT,
    LEAST_BAR,
    DeployView,
    ProjectView,
    build_commit_url,
    build_compare_url,
)
from tests.unit.dashboard.stores import build_attempt

NOW = 1_000_000


def build_view(**changes: Any) -> DeployView:
    return DeployView(build_attempt(**changes), NOW)


def build_project(project: Project, *runs: Attempt) -> ProjectView:
    history = History(runs, None, None, None, None, None, None, None)
    return ProjectView(project, [DeployView(run, NOW) for run in runs], history, NOW)


def test_a_projects_name_is_its_own_and_that_of_the_default_one_its_only_apps() -> None:
    default = Project(1, "default", None, NOW)
    shop, other = (build_attempt(project="default", app=app) for app in ("shop", "other"))

    assert build_project(default, shop, shop).name == "shop"
    assert build_project(default, shop, other).name == "deploys"
    assert build_project(Project(2, "web", "token", NOW), shop).name == "web"
    assert build_view(project="default", app="shop").title == "▶ 1234 running · shop"
    assert build_view(project="default", app=" ").title == "▶ 1234 running · deploys"
    # Where others are sent to is their senders' secret.
    assert build_project(default).callback_path == "/api/deploys"
    assert build_project(Project(2, "web", "token", NOW)).callback_path is None


def test_a_running_deploy_has_lasted_until_now() -> None:
    assert (build_view().duration, build_view().since) == (65_000, NOW - 65_000)
    assert build_view(status="completed", duration=42_000).since is None


def test_a_run_is_known_by_its_commit_else_by_branch_and_sha_else_by_its_id() -> None:
    sha = "3f2a9c1be0d4a5f6e7b8c9d0e1f2a3b4c5d6e7f8"

    assert build_view(commit_title="Fix\nit", git_ref="main", git_sha=sha).name == "Fix it"
    assert build_view(commit_title=" ", git_ref="main", git_sha=sha).name == "main 3f2a9c1"
    assert build_view(git_ref="main").name == "main"
    assert build_view().name == "1234"
    # What nobody sees is no name.
    assert build_view(commit_title="\u200b", git_ref="main").name == "main"
    assert build_view(commit_title="\u200b", git_ref="\u202e", deploy_id="\u2066").name == "unnamed"
    # What was sent does not turn the title around it.
    assert build_view(git_ref="\u202enoitcudorp").title == "▶ noitcudorp running · shop"


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
    ("command", "told"), [(None, None), ("deploy", None), ("rollback", "Rollback"), ("x", "x")]
)
def test_what_is_no_deploy_is_told(command: str | None, told: str | None) -> None:
    assert build_view(command=command).command == told
    assert (told or "running") in build_view(command=command).title


def test_bars_are_as_high_as_their_runs_took_long_and_one_dwarfs_no_others() -> None:
    runs = [
        build_attempt(id=n, status="completed", duration=duration, deploy_id=str(n))
        for n, duration in enumerate((3_600_000, 20_000, 10_000, 0))
    ]
    bars = build_project(Project(1, "shop", None, NOW), *runs).bars

    assert [view.attempt.deploy_id for view, _ in bars] == ["3", "2", "1", "0"]
    heights = [height for _, height in bars]
    assert (heights[0], heights[-1]) == (LEAST_BAR, BAR_HEIGHT)
    assert LEAST_BAR + 5 < heights[1] < heights[2] < BAR_HEIGHT - 5
    assert bars[1][0].label == "2, completed in 10.0 s, 1 minute ago"


@pytest.mark.parametrize(
    ("deploy_id", "number", "path", "file_name"),
    [
        ("1234", 1, "1234", "shop-1234.txt"),
        ("a/b", 3, "a%2Fb", "shop-a_b-3.txt"),
        ("a b?c#d", 1, "a%20b%3Fc%23d", "shop-a_b_c_d.txt"),
        ("../\\:\u202e", 1, "..%2F%5C%3A%E2%80%AE", "shop-.._.txt"),
        ("x" * 255, 1, "x" * 255, f"shop-{'x' * 75}.txt"),
    ],
)
def test_an_id_is_one_segment_of_its_url_and_of_a_files_name(
    deploy_id: str, number: int, path: str, file_name: str
) -> None:
    view = build_view(deploy_id=deploy_id, number=number)
    assert view.url == f"/projects/shop/deploys/{path}"
    assert view.file_name == file_name


# -- what the pages say -----------------------------------------------------------------------


def render_summary(**changes: Any) -> str:
    return bytes(render("part.html", view=build_view(**changes)).body).decode()


def test_a_deploy_that_went_silent_says_for_how_long() -> None:
    text = render_summary(status="lost")
    assert "<strong>Lost.</strong>" in text
    assert ">5.0 s</span>: it was killed, or its network is down" in text
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
        ({"tunnels": ({"service_name": "web", "hostname": "a.example"},)}, True),
        ({"tunnels": ({"service_name": "web", "hostname": "a.example/?x"},)}, False),
    ],
)
def test_only_web_addresses_are_links(changes: dict[str, Any], *, link: bool) -> None:
    text = render_summary(**changes)
    assert ("href=" in text) is link
    assert "javascript:" not in text


def test_markup_in_what_was_sent_is_text() -> None:
    evil = "<script>\"'&"
    names = ("deploy_id", "app", "command", "commit_title", "commit_author", "git_ref", "git_sha")
    text = render_summary(
        **dict.fromkeys((*names, "ci_provider", "error"), evil), status="failed", duration=1
    )
    assert "<script" not in text
    assert "&lt;script&gt;&#34;&#39;&amp;" in text


def test_a_feed_tells_each_result_by_an_id_of_its_own() -> None:
    failed = build_attempt(
        status="failed",
        duration=5000,
        ended_at=999_000,
        deploy_id="a/b",
        number=2,
        commit_title="<b>\x00 & \x1b[31mred",
        commit_author="Ada",
        error="it \ufffe broke\x07",
    )
    done = build_attempt(status="completed", duration=42_000, command="rollback")
    project = build_project(Project(2, "shop", "token", 5000), failed, done)
    feed = ET.fromstring(build_feed(project, "https://deploys.example.com"))
    names = {"a": "http://www.w3.org/2005/Atom"}
    page = "https://deploys.example.com/projects/shop"

    assert feed.findtext("a:id", None, names) == page
    assert feed.findtext("a:updated", None, names) == "1970-01-01T00:16:39.000Z"
    entries = feed.findall("a:entry", names)
    told = [
        [entry.findtext(f"a:{name}", "", names) for name in ("id", "title")] for entry in entries
    ]
    assert told == [
        [f"{page}/deploys/a%2Fb?attempt=2", "✗ <b>\u2400 & red failed"],
        [f"{page}/deploys/1234?attempt=1", "✓ Rollback: 1234 completed"],
    ]
    # XML cannot hold every character.
    summary = entries[0].findtext("a:summary", None, names)
    assert summary == "failed in 5.0 s\nit \ufffd broke\u2407"


# -- repositories -----------------------------------------------------------------------------

OLD, NEW = "a" * 40, "b" * 40
GITHUB = "https://github.com/acme/shop/actions/runs/1234"


@pytest.mark.parametrize(
    ("provider", "url", "commit", "compare"),
    [
        ("github_actions", GITHUB, f"commit/{NEW}", f"compare/{OLD}...{NEW}"),
        (
            "gitlab_ci",
            "https://gitlab.com/acme/web/shop/-/pipelines/99",
            f"-/commit/{NEW}",
            f"-/compare/{OLD}...{NEW}",
        ),
        (
            "bitbucket_pipelines",
            "https://bitbucket.org/acme/shop/pipelines/results/5",
            f"commits/{NEW}",
            f"branches/compare/{NEW}..{OLD}",
        ),
    ],
)
def test_commits_are_shown_by_the_host_of_the_repository(
    provider: str, url: str, commit: str, compare: str
) -> None:
    old, new = (
        build_attempt(ci_provider=provider, ci_run_url=url, git_sha=sha) for sha in (OLD, NEW)
    )
    repository = url[: url.index("shop") + 4]
    assert build_commit_url(new) == f"{repository}/{commit}"
    assert build_compare_url(old, new) == f"{repository}/{compare}"
    # The same commit, and one of another repository, are not compared.
    elsewhere = build_attempt(
        ci_provider=provider, ci_run_url=url.replace("shop", "other"), git_sha=OLD
    )
    assert build_compare_url(new, new) is None
    assert build_compare_url(elsewhere, new) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"ci_provider": "jenkins"},
        {"ci_run_url": None},
        {"ci_run_url": "javascript:alert(1)/actions/runs/1"},
        {"ci_run_url": "https://github.com/acme/shop"},
        {"git_sha": "main"},
        {"git_sha": "a" * 40 + "/../.."},
        {"git_sha": None},
    ],
)
def test_what_is_not_known_for_sure_is_no_link(changes: dict[str, str | None]) -> None:
    known = {"ci_provider": "github_actions", "ci_run_url": GITHUB, "git_sha": NEW}
    run = build_attempt(**{**known, **changes})
    assert build_commit_url(run) is None
    assert build_compare_url(build_attempt(**{**known, "git_sha": OLD}), run) is None
