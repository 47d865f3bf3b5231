from __future__ import annotations

from typing import Any

import pytest

from nvoi.dashboard.records import Gap, StoredLine
from nvoi.dashboard.sections import build_sections
from nvoi.dashboard.templating import render
from nvoi.protocol import Tunnel
from tests.unit.dashboard.test_views import build_view


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


def test_a_deploy_without_a_ci_was_run_by_hand() -> None:
    assert "by hand" in render_summary()


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


def test_a_line_that_never_came_is_told() -> None:
    lines = [StoredLine(1, 1, 1, "info", "a", 0), StoredLine(2, 5, 5, "info", "b", 0)]

    assert "Lines 2 to 4 of the sender were never received" in render_lines(lines, Gap(2, 4))
