from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import msgspec

from nvoi.dashboard.atom import build_feed, build_results
from nvoi.dashboard.history import History
from nvoi.dashboard.projects import Project
from nvoi.dashboard.views import DeployView, ProjectView
from tests.unit.dashboard.stores import build_attempt

NAMES = {"a": "http://www.w3.org/2005/Atom"}
FAILED = build_attempt(
    status="failed",
    duration=5000,
    ended_at=999_000,
    deploy_id="a/b",
    number=2,
    commit_title="<b>\x00 & \x1b[31mred",
    commit_author="Ada",
    error="it \ufffe broke\x07",
)


def build_view() -> ProjectView:
    done = build_attempt(status="completed", duration=42_000, command="rollback")
    history = History((FAILED, done), done, None, None, "20260304120000", done, 42_000, 0.5)
    views = [DeployView(run, 1_000_000) for run in history.results]
    return ProjectView(Project(2, "shop", "token", 5000), views, history, 1_000_000)


def test_a_feed_tells_each_result_by_an_id_of_its_own() -> None:
    feed = ET.fromstring(build_feed(build_view(), "https://deploys.example.com"))
    page = "https://deploys.example.com/projects/shop"

    assert feed.findtext("a:id", None, NAMES) == page
    assert feed.findtext("a:updated", None, NAMES) == "1970-01-01T00:16:39.000Z"
    entries = feed.findall("a:entry", NAMES)
    assert [entry.findtext("a:id", None, NAMES) for entry in entries] == [
        f"{page}/deploys/a%2Fb?attempt=2",
        f"{page}/deploys/1234?attempt=1",
    ]
    assert [entry.findtext("a:title", None, NAMES) for entry in entries] == [
        "✗ <b>\u2400 & red failed",
        "✓ Rollback: 1234 completed",
    ]
    summary = entries[0].findtext("a:summary", None, NAMES)
    assert summary == "failed in 5.0 s\nit \ufffd broke\u2407"


def test_results_are_told_to_scripts_with_what_they_come_to() -> None:
    results = json.loads(msgspec.json.encode(build_results(build_view())))

    assert [run["status"] for run in results["results"]] == ["failed", "completed"]
    assert results["live"]["deploy_id"] == "1234"
    assert (results["release"], results["median_duration"]) == ("20260304120000", 42_000)
    assert results["success_rate"] == 0.5
    assert "token" not in json.dumps(results)
