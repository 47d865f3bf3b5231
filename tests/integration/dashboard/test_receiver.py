"""What the receiver takes, and how it answers what it does not."""

from __future__ import annotations

import json
import resource
import socket
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from nvoi import protocol
from tests.fakes.client import build_batch, build_record, sign
from tests.integration.dashboard.serving import Answer, Serving, get_messages
from tests.integration.streams import KEY
from tests.waiting import PATIENCE

LOGS = "/api/deploys/run-1/logs"
JSON = {"Content-Type": "application/json"}
OTHER_KEY = "f" * 64
MIB = 1 << 20


def send(
    serving: Serving,
    path: str,
    document: Any,
    *,
    webhook_id: str | None = "",
    key: str = KEY,
    **headers: str,
) -> Answer:
    """A request that is signed in both ways; in the plain one alone where its id is None."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    signed = {"X-Nvoi-Signature": protocol.sign(body, key)}
    if webhook_id is not None:
        signed = sign(key, webhook_id or protocol.build_webhook_id(), body)
    return serving.post(path, body, JSON | signed | headers)


# -- what is taken -----------------------------------------------------------------------------


def test_a_run_is_kept_with_its_lines_and_its_end(shared: Serving) -> None:
    with shared.build_client("whole") as client:
        assert client.started(git_sha="abc", git_ref="main", ci_provider="github_actions") == 200
        assert client.logs(1, "one", "two") == 200
        assert client.completed(2) == 200
    (attempt,) = shared.get_attempts("whole")
    assert attempt["status"] == "completed"
    assert (attempt["git_sha"], attempt["git_ref"], attempt["lines"]) == ("abc", "main", 2)
    assert attempt["gaps"] == []
    assert get_messages(shared.get_lines("whole")) == ["one", "two"]


@pytest.mark.parametrize(
    "deploy_id", ["a/b", "a/../b", "...", "é ü", "%2F", "a?b#c", "x" * 255, " padded "]
)
def test_any_id_that_nvoi_sends_is_taken_and_found_again(shared: Serving, deploy_id: str) -> None:
    path = f"/api/deploys/{quote(deploy_id, safe='')}/logs"
    answer = send(shared, path, build_batch(f"to {deploy_id}"))
    assert (answer.status, answer.json) == (200, {"ok": True, "duplicate": False})
    assert shared.get_attempts(deploy_id)[0]["deploy_id"] == deploy_id
    assert get_messages(shared.get_lines(deploy_id)) == [f"to {deploy_id}"]


def test_a_body_of_a_mebibyte_is_taken(shared: Serving) -> None:
    document = build_batch("")
    document = build_batch("x" * (MIB - len(json.dumps(document))))
    assert len(json.dumps(document)) == MIB
    assert send(shared, "/api/deploys/mebibyte/logs", document).status == 200
    assert shared.get_attempts("mebibyte")[0]["lines"] == 1


def test_a_batch_without_lines_tries_the_url_and_leaves_nothing_behind(shared: Serving) -> None:
    assert send(shared, "/api/deploys/tried/logs", {"logs": []}, webhook_id="m").status == 200
    assert shared.get_attempts("tried") == []


def test_a_late_end_of_an_earlier_run_does_not_end_the_later_one(shared: Serving) -> None:
    with shared.build_client("rerun") as first, shared.build_client("rerun") as second:
        for number, client in enumerate((first, second), 1):
            assert client.started() == 200
            assert client.logs(1, f"of run {number}") == 200
        assert first.logs(2, "late") == 200
        assert first.failed("broke") == 200
    newer, older = shared.get_attempts("rerun")
    assert [(run["number"], run["status"]) for run in (newer, older)] == [
        (2, "running"),
        (1, "failed"),
    ]
    assert get_messages(shared.get_lines("rerun", 1)) == ["of run 1", "late"]
    assert get_messages(shared.get_lines("rerun")) == ["of run 2"]


# -- what comes again --------------------------------------------------------------------------


def test_a_request_that_comes_again_is_stored_once(shared: Serving) -> None:
    answers = [
        send(shared, "/api/deploys/again/logs", build_batch("one"), webhook_id="msg_again")
        for _ in range(3)
    ]
    assert [answer.status for answer in answers] == [200] * 3
    assert [answer.json["duplicate"] for answer in answers] == [False, True, True]
    assert get_messages(shared.get_lines("again")) == ["one"]


def test_a_project_that_has_sent_webhook_headers_needs_them_from_then_on(serving: Serving) -> None:
    path, document = "/api/deploys/plain/logs", build_batch("one")
    assert [send(serving, path, document, webhook_id=None).status for _ in range(2)] == [200, 200]
    assert send(serving, "/api/deploys/both/logs", document).status == 200
    # Neither what is still stored nor what retention has deleted comes again.
    for document in (build_batch("one"), build_batch("two")):
        answer = send(serving, path, document, webhook_id=None)
        assert (answer.status, answer.json) == (
            401,
            {
                "error": "this project's requests have webhook headers; "
                "one without them may be a replay"
            },
        )
    serving.stop()
    serving.start()
    assert send(serving, path, build_batch("three"), webhook_id=None).status == 401
    assert get_messages(serving.get_lines("plain")) == ["one"]


def test_a_captured_request_is_refused_when_it_is_old(shared: Serving) -> None:
    body, stamp = json.dumps(build_batch("one")).encode(), int(time.time()) - 301
    old = {
        "webhook-timestamp": str(stamp),
        "webhook-signature": protocol.sign_webhook(body, KEY, "msg_old", stamp),
    }
    answer = shared.post(LOGS, body, JSON | sign(KEY, "msg_old", body) | old)
    assert answer.status == 401
    assert "off this server's clock" in answer.json["error"]


# -- what is not believed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Nvoi-Signature": protocol.sign(b"{}", OTHER_KEY)},
        {**sign(KEY, "msg_1", b"{}"), "X-Nvoi-Signature": protocol.sign(b"{}", OTHER_KEY)},
    ],
)
def test_a_forged_request_is_refused_before_it_is_read(
    shared: Serving, headers: dict[str, str]
) -> None:
    answer = shared.post(LOGS, b"{}", JSON | headers)
    assert (answer.status, answer.json) == (401, {"error": "the signature is missing or wrong"})


def test_many_forged_requests_are_slowed_down_and_right_ones_are_not(serving: Serving) -> None:
    answers = [serving.post(LOGS, b"{}", JSON) for _ in range(40)]
    assert {answer.status for answer in answers} == {401, 429}
    last = next(answer for answer in reversed(answers) if answer.status == 429)
    assert int(last.headers["Retry-After"]) >= 1
    assert send(serving, LOGS, build_batch("one")).status == 200


def test_a_project_that_sends_too_much_is_told_when_to_go_on(tmp_path: Path) -> None:
    with Serving(tmp_path, "--rate", "0.5") as serving:
        answers = [send(serving, LOGS, {"logs": []}) for _ in range(3)]
        forged = [serving.post(LOGS, b"{}", JSON).status for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 429, 429]
    assert answers[1].headers["Retry-After"] in {"1", "2"}
    # Nobody else uses up its rate, or learns that it is used up.
    assert forged == [401] * 3


# -- where it goes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/api/projects/unknown/deploys/run-1/logs", "there is no such project"),
        (f"/api/projects/{'x' * 22}/deploys/run-1/status", "there is no such project"),
        ("/api/projects/default/deploys/run-1/logs", "there is no such project"),
        ("/api/projects/%FF/deploys/run-1/logs", "there is no such project"),
        ("/api/projects/%00/deploys/run-1/logs", "there is no such project"),
        ("/api/projects/%27%20OR%201=1--/deploys/run-1/logs", "there is no such project"),
        ("/api/deploys/run-1", "not found"),
        ("/api/deploys/run-1/logs/", "not found"),
        ("/api/deploys//logs", "not found"),
        ("/api/deploys/a/b/logs", "not found"),
        ("/api/deploys/../deploys/run-1/logs", "not found"),
        ("/api/deploys/run-1/lines", "not found"),
        ("//api/deploys/run-1/logs", "not found"),
    ],
)
def test_a_path_of_no_project_or_no_deploy_is_not_found(
    shared: Serving, path: str, told: str
) -> None:
    answer = send(shared, path, build_batch("one"))
    assert (answer.status, answer.json) == (404, {"error": told})


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_refused(shared: Serving, method: str) -> None:
    answer = shared.post(LOGS, method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "raw", ["%2E%2E", ".", "%2e", "%00", "a%00b", "a%0Ab", "%C2%80", "%FF", "x" * 256, "x" * 10_000]
)
def test_an_id_that_nvoi_never_sends_is_refused(shared: Serving, raw: str) -> None:
    answer = send(shared, f"/api/deploys/{raw}/logs", build_batch("one"))
    assert (answer.status, answer.json["field"]) == (422, "deploy_id")
    assert len(answer.data) < 400
    assert shared.get(f"/api/projects/default/deploys/{raw}.json").status == 404


# -- what is no body of the protocol's ---------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "headers", "field"),
    [
        (b"{", {}, None),
        (b"[" * 500_000, {}, None),
        ({"logs": [build_record("one"), build_record("two", level="loud")]}, {}, "logs[1].level"),
        (build_batch("one"), {"X-Nvoi-Run-Id": "42"}, "X-Nvoi-Run-Id"),
        (build_batch("one"), {"X-Nvoi-Deploy-Id": "run-2"}, "X-Nvoi-Deploy-Id"),
        (build_batch("one"), {"X-Nvoi-Sequence": "1-3"}, "X-Nvoi-Sequence"),
        (build_batch("one"), {"Content-Type": "text/plain"}, "Content-Type"),
    ],
)
def test_what_is_not_the_protocols_is_refused_by_its_field(
    shared: Serving, document: Any, headers: dict[str, str], field: str | None
) -> None:
    answer = send(shared, "/api/deploys/wrong/logs", document, **headers)
    assert answer.status == 422
    assert answer.json.get("field") == field
    assert answer.json["error"]
    assert shared.get_attempts("wrong") == []


# -- sizes and cuts ----------------------------------------------------------------------------


def test_a_body_over_a_mebibyte_is_refused_though_it_is_signed(shared: Serving) -> None:
    answer = send(shared, "/api/deploys/oversized/logs", build_batch("x" * MIB))
    assert answer.status == 413
    assert shared.get_attempts("oversized") == []
    # Its size may come last.
    chunks = (b"x" * 65_536 for _ in range(40))
    assert shared.post("/api/deploys/oversized/logs", chunks, JSON).status == 413


def test_a_body_of_a_terabyte_is_refused_before_it_comes(shared: Serving) -> None:
    with connect(shared) as connection:
        head = f"POST {LOGS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 40}\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_request_that_is_cut_off_leaves_nothing_behind(shared: Serving) -> None:
    body = json.dumps(build_batch("one")).encode()
    with connect(shared) as connection:
        head = (
            "POST /api/deploys/cut/logs HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nX-Nvoi-Signature: {protocol.sign(body, KEY)}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body[:-5])
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    assert shared.get_attempts("cut") == []


@pytest.mark.parametrize(
    "text",
    [
        b"\0\0\0\0\r\n\r\n",
        b"POST /\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        # Two readers may read two requests.
        f"POST {LOGS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    ],
)
def test_what_is_not_one_request_is_refused_and_the_connection_closed(
    shared: Serving, text: bytes
) -> None:
    with connect(shared) as connection:
        connection.sendall(text)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert shared.get("/healthz").status == 200


def connect(serving: Serving) -> socket.socket:
    """A bare connection."""
    parts = urlsplit(serving.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)


# -- a database that fails ---------------------------------------------------------------------


def test_while_the_database_is_locked_a_sender_is_asked_to_try_again(serving: Serving) -> None:
    document, path = build_batch("one"), "/api/deploys/locked/logs"
    with serving.build_client("locked") as client:
        client.started()
    holder = sqlite3.connect(serving.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    answer = send(serving, path, document, webhook_id="msg_locked")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert "locked" in answer.json["error"]
    assert serving.output.count("[WARNING] cannot write to the database: another process") == 1
    # What is stored can be read meanwhile.
    assert serving.get_attempts("locked")[0]["lines"] == 0
    holder.execute("ROLLBACK")
    holder.close()
    answer = send(serving, path, document, webhook_id="msg_locked")
    assert (answer.status, answer.json["duplicate"]) == (200, False)
    assert get_messages(serving.get_lines("locked")) == ["one"]
    assert "Traceback" not in serving.output


def test_while_the_disk_is_full_nothing_is_acknowledged(serving: Serving) -> None:
    assert serving.process is not None
    document, path = build_batch(*("x" * 1000 for _ in range(500))), "/api/deploys/full/logs"
    with serving.build_client("full") as client:
        client.started()
    # A limit of the process stands for the disk's: a file that would grow beyond it does not.
    hard = resource.prlimit(serving.process.pid, resource.RLIMIT_FSIZE)[1]
    size = max(file.stat().st_size for file in serving.folder.glob("dashboard.sqlite3*"))
    resource.prlimit(serving.process.pid, resource.RLIMIT_FSIZE, (size, hard))
    answer = send(serving, path, document, webhook_id="msg_full")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert serving.get_attempts("full")[0]["lines"] == 0
    resource.prlimit(serving.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    answer = send(serving, path, document, webhook_id="msg_full")
    assert (answer.status, answer.json["duplicate"]) == (200, False)
    assert len(serving.get_lines("full")) == 500
    assert "Traceback" not in serving.output


@pytest.mark.parametrize("is_replaced", [False, True])
def test_once_the_databases_file_has_gone_nothing_is_acknowledged(
    serving: Serving, *, is_replaced: bool
) -> None:
    assert send(serving, LOGS, build_batch("one")).status == 200
    kept = serving.database.rename(serving.folder / "kept")
    if is_replaced:
        serving.database.write_bytes(kept.read_bytes())
    answers = [send(serving, LOGS, build_batch("two"), webhook_id="msg_two") for _ in range(3)]
    assert [answer.status for answer in answers] == [503] * 3
    assert answers[0].headers["Retry-After"] == "2"
    for path in ("/healthz", "/", "/api/projects.json"):
        response = serving.get(path)
        assert response.status == 503
        assert b"dashboard.sqlite3 was deleted or replaced" in response.data
    told = "[WARNING] dashboard.sqlite3 was deleted or replaced while the dashboard used it"
    assert serving.output.count(told) == 1
    # What was acknowledged is there, and what was not is sent again.
    kept.replace(serving.database)
    assert send(serving, LOGS, build_batch("two"), webhook_id="msg_two").status == 200
    assert get_messages(serving.get_lines()) == ["one", "two"]
    assert serving.get("/healthz").status == 200
