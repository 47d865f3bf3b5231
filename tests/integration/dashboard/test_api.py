"""What the dashboard knows, as JSON and as text."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator

import pytest

from tests.fakes.client import count_headers
from tests.integration.dashboard.serving import Serving, build_path, get_messages
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A dashboard with a few deploys."""
    with Serving(tmp_path_factory.mktemp("filled")) as made:
        for number in range(5):
            with made.build_client(f"deploy-{number}") as client:
                client.started(git_ref=f"branch-{number}")
        with made.build_client("many") as client:
            for first in (1, 1001, 2001):
                client.logs(first, *(f"line {number}" for number in range(first, first + 1000)))
        with made.build_client("gaps/ü") as client:
            client.started()
            client.logs(3, "three", "four")
            client.logs(7, "seven")
            client.logs(1, "one\x1b[31m red\x1b[0m")
            tunnels = [{"service_name": "web", "hostname": "www.example.com"}]
            completed = {"status": "completed", "tunnels": tunnels, "duration_seconds": 12}
            assert client.post("status", completed, count_headers(9, 2)) == 200
        yield made


def test_a_deploy_is_told_whole(filled: Serving) -> None:
    (attempt,) = filled.get_attempts("gaps/ü")
    assert attempt["id"] > 0
    assert attempt | {"id": 0, "started_at": 0, "last_seen_at": 0, "ended_at": 0} == {
        "id": 0,
        "project": "default",
        "deploy_id": "gaps/ü",
        "number": 1,
        "status": "completed",
        "started_at": 0,
        "last_seen_at": 0,
        "ended_at": 0,
        "duration_seconds": 12,
        "duration": 12_000,
        "app": None,
        "command": None,
        "commit_title": None,
        "commit_author": None,
        "dirty": False,
        "git_sha": None,
        "git_ref": None,
        "ci_provider": None,
        "ci_run_url": None,
        "error": None,
        "tunnels": [{"service_name": "web", "hostname": "www.example.com"}],
        "lines": 4,
        "late": 1,
        "log_count": 9,
        "log_dropped": 2,
        "gaps": [{"first": 2, "last": 2}, {"first": 5, "last": 6}, {"first": 8, "last": 9}],
        "superseded": False,
    }


def test_lines_come_in_the_order_of_arrival_with_their_places(filled: Serving) -> None:
    lines = filled.get_lines("gaps/ü")
    assert [(line["number"], line["sequence"], line["place"]) for line in lines] == [
        (1, 3, 3),
        (2, 4, 4),
        (3, 7, 7),
        (4, 1, 1),
    ]
    assert lines[0] == {
        "number": 1,
        "place": 3,
        "sequence": 3,
        "level": "info",
        "message": "three",
        "logged_at": 1_705_314_600_123,
    }


def test_text_comes_in_the_order_of_reading_and_names_what_is_missing(filled: Serving) -> None:
    response = filled.get(f"{build_path('gaps/ü')}/log.txt")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    time = "2024-01-15T10:30:00.123Z info   "
    assert response.data.decode().splitlines() == [
        f"{time} one red",
        "[line 2 was never received]",
        f"{time} three",
        f"{time} four",
        "[lines 5 to 6 were never received]",
        f"{time} seven",
        "[lines 8 to 9 were never received]",
    ]


def test_text_commands_no_terminal(serving: Serving) -> None:
    with serving.build_client() as client:
        assert client.logs(1, "a\x1b[2Jb\x9b2Jc\x07d\re") == 200
    text = serving.get(f"{build_path('run-1')}/log.txt").data.decode()
    assert text.endswith(" ab\ufffd2Jc\u2407d\u240de\n")
    assert text.rstrip("\n").isprintable()


def test_a_long_text_comes_whole(filled: Serving) -> None:
    lines = filled.get(f"{build_path('many')}/log.txt").data.decode().splitlines()
    assert [line.partition("info    ")[2] for line in lines] == [
        f"line {number}" for number in range(1, 3001)
    ]


def test_lines_are_given_in_pages(filled: Serving) -> None:
    path = f"{build_path('many')}/lines.json"
    first = filled.get_json(path)
    assert (first["attempt"], len(first["lines"]), first["more"]) == (1, 1000, True)
    last = filled.get_json(f"{path}?after=2500&limit=9999")
    assert (last["lines"][0]["number"], len(last["lines"]), last["more"]) == (2501, 500, False)
    assert filled.get_json(f"{path}?after=3000") == {"attempt": 1, "lines": [], "more": False}
    assert get_messages(filled.get_lines("many"))[-1] == "line 3000"


def test_lines_are_given_by_position_in_the_order_of_reading(filled: Serving) -> None:
    path = f"{build_path('gaps/ü')}/lines.json"
    page = filled.get_json(f"{path}?position=2&limit=2")
    assert (get_messages(page["lines"]), page["more"]) == (["three", "four"], True)
    page = filled.get_json(f"{path}?position=4&limit=2")
    assert (get_messages(page["lines"]), page["more"]) == (["seven"], False)
    position = filled.get_json(f"{build_path('gaps/ü')}/position.json?number=4")
    assert position == {"attempt": 1, "position": 1}


def test_a_log_is_outlined_and_searched(filled: Serving) -> None:
    outline = filled.get_json(f"{build_path('gaps/ü')}/outline.json")
    assert (outline["lines"], outline["late"], outline["steps"]) == (4, 1, [])
    assert outline["gaps"] == [
        {"after": 1, "first": 2, "last": 2},
        {"after": 3, "first": 5, "last": 6},
        {"after": 4, "first": 8, "last": 9},
    ]
    matches = filled.get_json(f"{build_path('gaps/ü')}/matches.json?text=ONE%20RED")
    assert matches == {"attempt": 1, "positions": [1], "more": False}
    text = filled.get(f"{build_path('gaps/ü')}/log.txt?text=three&level=info").data.decode()
    assert text.splitlines()[0].endswith(" three")
    assert text.count("\n") == 1


def test_results_are_told_as_json_and_as_a_feed(filled: Serving) -> None:
    results = filled.get_json("/api/projects/default/results.json")
    assert [run["deploy_id"] for run in results["results"]] == ["gaps/ü"]
    assert results["live"]["deploy_id"] == "gaps/ü"
    feed = filled.get("/projects/default/feed.atom")
    assert feed.headers["Content-Type"].startswith("application/atom+xml")
    assert f"{filled.url}/projects/default/deploys/gaps%2F%C3%BC?attempt=1".encode() in feed.data
    assert filled.get("/projects/nobody/feed.atom").status == 404


@pytest.mark.parametrize(
    ("path", "is_small"),
    [
        ("/projects/default", True),
        (f"{build_path('many')}/lines.json", True),
        (f"{build_path('many')}/log.txt", True),
        ("/static/style.css", True),
        (f"{build_path('many')}/events", False),
    ],
)
def test_pages_and_json_are_sent_compressed_and_streams_are_not(
    filled: Serving, path: str, is_small: bool
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", filled.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        assert (answer.getheader("Content-Encoding") == "gzip") is is_small
        assert answer.status == 200


def test_an_icon_is_there_for_what_names_none(filled: Serving) -> None:
    icon = filled.get("/favicon.ico")
    assert (icon.status, icon.headers["Content-Type"]) == (200, "image/svg+xml")
    assert "max-age" in icon.headers["Cache-Control"]


def test_deploys_are_given_in_pages_the_newest_first(filled: Serving) -> None:
    path = "/api/projects/default/deploys.json"
    seen, before = [], ""
    while True:
        page = filled.get_json(f"{path}?limit=3{before}")
        seen += [deploy["deploy_id"] for deploy in page["deploys"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert seen == ["gaps/ü", "many", "deploy-4", "deploy-3", "deploy-2", "deploy-1", "deploy-0"]


def test_projects_are_told_with_what_they_have(filled: Serving) -> None:
    (project,) = filled.get_json("/api/projects.json")["projects"]
    assert (project["name"], project["deploys"], project["attempts"]) == ("default", 7, 7)
    assert project["last_seen_at"] >= project["created_at"] > 1_700_000_000_000


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/projects/nobody/deploys.json", 404),
        ("/api/projects/%FF/deploys.json", 404),
        ("/api/projects/default/deploys/nothing.json", 404),
        ("/api/projects/default/deploys/nothing/lines.json", 404),
        ("/api/projects/default/deploys/nothing/log.txt", 404),
        ("/api/projects/default/deploys/%00.json", 404),
        ("/api/projects/default/deploys/%FF.json", 404),
        (f"/api/projects/default/deploys/{'x' * 10_000}.json", 404),
        ("/api/projects/default/deploys/many/lines.json?attempt=2", 404),
        ("/api/projects/default/deploys/many/lines.json?attempt=0", 404),
        ("/api/projects/default/deploys/many/lines.json?after=-1", 422),
        ("/api/projects/default/deploys/many/lines.json?limit=x", 422),
        ("/api/projects/default/deploys/many/lines.json?after=", 422),
        (f"/api/projects/default/deploys/many/lines.json?after={'9' * 30}", 422),
        ("/api/projects/default/deploys.json?before=x", 422),
        ("/api/projects/default/deploys/many/matches.json?level=loud", 422),
        ("/api/projects/default/deploys/nothing/outline.json", 404),
        ("/api/projects/nobody/results.json", 404),
        ("/api", 404),
        ("/api/", 404),
        ("/api/projects.json/", 404),
    ],
)
def test_what_is_not_there_is_told_in_json(filled: Serving, path: str, status: int) -> None:
    answer = filled.post(path, method="GET")
    assert answer.status == status
    assert set(answer.json) == {"error"}


def test_a_person_who_goes_astray_is_told_so_in_a_page(filled: Serving) -> None:
    projects = ("nobody", "default/deploys/x", "nobody/deploys/x", "default/deploys/%FF")
    for path in ("/nowhere/at/all", *(f"/projects/{project}" for project in projects)):
        response = filled.get(path, Accept="text/html,*/*")
        kind = response.headers["Content-Type"]
        assert (response.status, kind) == (404, "text/html; charset=utf-8"), path
        assert b"Not found" in response.data
    assert b"There is no such page here." in filled.get("/nowhere", Accept="text/html").data


def test_reading_changes_nothing(filled: Serving) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert filled.post("/api/projects.json", method=method).status == 405
    answer = filled.post("/api/projects.json", method="HEAD")
    assert (answer.status, answer.data) == (200, b"")
