"""The callback receiver that other tests rely on: it must see faults, and break as it says."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import urllib3

from tests.fakes import behaviours
from tests.fakes.client import Client, build_batch, build_record, count_headers
from tests.fakes.proxy import Proxy
from tests.fakes.receiver import Receiver
from tests.waiting import PATIENCE

KEY = "0123456789abcdef" * 4
ROOT = Path(__file__).parents[2]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(KEY) as receiver:
        yield receiver


@pytest.fixture
def client(receiver: Receiver) -> Iterator[Client]:
    with Client(receiver.url, KEY) as client:
        yield client


def only_violation(receiver: Receiver) -> str:
    assert len(receiver.violations) == 1, receiver.violations
    return receiver.violations[0]


def test_a_run_by_the_protocol_is_accepted_and_kept_in_order(
    receiver: Receiver, client: Client
) -> None:
    assert client.started(git_sha="abc") == 200
    assert client.logs(1, "one", "two") == 200
    assert client.logs(3, "three") == 200
    assert client.completed(count=3) == 200

    receiver.assert_protocol()
    assert receiver.messages == ["one", "two", "three"]
    assert [status["status"] for status in receiver.statuses] == ["started", "completed"]
    assert [(request.kind, request.answered) for request in receiver.requests] == [
        ("status", 200),
        ("logs", 200),
        ("logs", 200),
        ("status", 200),
    ]
    assert receiver.requests[1].headers["X-NVOI-SEQUENCE"] == "1-2"
    assert receiver.connections == 1


def test_a_deploy_id_is_one_decoded_segment_and_each_id_is_judged_by_itself(
    receiver: Receiver,
) -> None:
    for deploy_id in ("a/b c", "é~1"):
        encoded = {"X-Nvoi-Deploy-Id": deploy_id.encode().decode("latin-1")}
        with Client(receiver.url, KEY, deploy_id=deploy_id) as client:
            client.post("status", {"status": "started"}, encoded, webhook_id=f"s-{len(deploy_id)}")
    receiver.assert_protocol()
    assert [request.deploy_id for request in receiver.accepted] == ["a/b c", "é~1"]


def test_a_retry_with_the_same_id_is_allowed_and_taken_once(
    receiver: Receiver, client: Client
) -> None:
    client.started()
    receiver.script(behaviours.CommitThenReset())
    assert client.try_logs(1, "once", webhook_id="msg_r") is None
    assert client.logs(1, "once", webhook_id="msg_r") == 200
    receiver.assert_protocol()
    assert receiver.messages == ["once"]
    assert receiver.counts.duplicates == 1


RECORD = build_record("text")


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ({"logs": []}, "one list of records"),
        ({"logs": [RECORD], "more": 1}, "one list of records"),
        ({"logs": [{**RECORD, "logger": "nvoi"}]}, "a record has"),
        ({"logs": [{**RECORD, "level": "critical"}]}, "level 'critical' is not allowed"),
        ({"logs": [{**RECORD, "message": "\x1b[31mred"}]}, "ANSI"),
        ({"logs": [{**RECORD, "message": "\ud800"}]}, "lone surrogates"),
        ({"logs": [{**RECORD, "message": 1}]}, "message is 1, no text"),
        ({"logs": [{**RECORD, "logged_at": "2024-01-15T10:30:00Z"}]}, "logged_at is"),
        ({"logs": [{**RECORD, "logged_at": "2024-13-15T10:30:00.000Z"}]}, "logged_at is"),
        ({"logs": [{**RECORD, "message": "x" * 600_000}]}, "bytes, over 524288"),
        (b'{"logs": NaN}', "no JSON object"),
        (b'["logs"]', "no JSON object"),
    ],
)
def test_a_batch_of_another_shape_is_a_violation(
    receiver: Receiver, client: Client, payload: Any, fault: str
) -> None:
    client.started()
    client.post("logs", payload, {"X-Nvoi-Sequence": "1-1"})
    assert fault in only_violation(receiver)


def test_a_batch_over_500_records_is_a_violation(receiver: Receiver, client: Client) -> None:
    client.started()
    client.logs(1, *("line",) * 500)
    receiver.assert_protocol()
    client.logs(501, *("line",) * 501)
    assert "501 records, over 500" in only_violation(receiver)


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ({"status": "started", "git_sha": None}, "git_sha is None"),
        ({"status": "started", "host": "x"}, "keys that are not named: ['host']"),
        ({"status": "running"}, "status is 'running'"),
        ({"status": "failed"}, "failed has error"),
        ({"status": "failed", "error": "\x1b[0m"}, "ANSI"),
        ({"status": "completed", "tunnels": None, "duration_seconds": 1}, "tunnels is None"),
        ({"status": "completed", "tunnels": [{}], "duration_seconds": 1}, "a tunnel has"),
        ({"status": "completed", "tunnels": [], "duration_seconds": 1.5}, "no whole number"),
        ({"status": "completed", "tunnels": []}, "completed has tunnels and duration_seconds"),
    ],
)
def test_a_status_of_another_shape_is_a_violation(
    receiver: Receiver, client: Client, payload: dict[str, Any], fault: str
) -> None:
    counts = count_headers(0) if payload["status"] in ("completed", "failed") else None
    client.post("status", payload, counts)
    assert fault in " ".join(receiver.violations)


@pytest.mark.parametrize(
    ("headers", "fault"),
    [
        ({"X-Nvoi-Signature": "sha256=" + "0" * 64}, "X-Nvoi-Signature is"),
        ({"webhook-signature": "v1," + "A" * 43 + "="}, "stock Standard Webhooks verifier"),
        ({"webhook-timestamp": "1"}, "is not of this attempt"),
        ({"webhook-timestamp": "1.5"}, "no Unix seconds"),
        ({"webhook-id": "has.dot"}, "webhook-id is 'has.dot'"),
        ({"Content-Type": "text/plain"}, "Content-Type is 'text/plain'"),
        ({"User-Agent": "curl/8"}, "User-Agent is 'curl/8'"),
        ({"X-Nvoi-Deploy-Id": "other"}, "the path names 'run-1'"),
        ({"X-Nvoi-Sequence": "1-1"}, "X-Nvoi-Sequence belongs on logs"),
        ({"X-Nvoi-Log-Count": "1"}, "X-Nvoi-Log-Count belongs on completed and failed"),
        ({"X-Nvoi-Reason": "cancelled"}, "X-Nvoi-Reason belongs on failed"),
        ({"X-Nvoi-Run-Id": "1"}, "X-Nvoi-Run-Id is '1', no UUID"),
        ({"X-Nvoi-App": "my shop"}, "X-Nvoi-App is 'my shop', no percent-encoded text"),
        ({"X-Nvoi-Commit-Title": "%FF"}, "no percent-encoded text"),
        ({"X-Nvoi-Commit-Author": "a" * 201}, "no percent-encoded text"),
        ({"X-Nvoi-Dirty": "yes"}, "X-Nvoi-Dirty is 'yes', not '1'"),
    ],
)
def test_a_wrong_header_is_a_violation(
    receiver: Receiver, client: Client, headers: dict[str, str], fault: str
) -> None:
    client.post("status", {"status": "started"}, headers)
    assert fault in " ".join(receiver.violations)
    with pytest.raises(AssertionError, match="protocol violation"):
        receiver.assert_protocol()


def test_what_names_the_run_is_the_same_on_all_its_requests(
    receiver: Receiver, client: Client
) -> None:
    first, second = ({"X-Nvoi-Run-Id": str(uuid.uuid4()), "X-Nvoi-App": "shop"} for _ in "12")
    client.post("status", {"status": "started"}, first | {"X-Nvoi-Commit-Title": "Caf%C3%A9"})
    client.post("logs", build_batch("a"), first | {"X-Nvoi-Sequence": "1-1"})
    receiver.assert_protocol()
    client.post("logs", build_batch("b"), second | {"X-Nvoi-Sequence": "2-2"})
    assert f"X-Nvoi-Run-Id is {second['X-Nvoi-Run-Id']!r}" in only_violation(receiver)


@pytest.mark.parametrize("header", ["1-3", "0-1", "2-1", "1", None])
def test_a_sequence_that_does_not_count_the_records_is_a_violation(
    receiver: Receiver, client: Client, header: str | None
) -> None:
    client.started()
    client.post("logs", build_batch("a", "b"), {"X-Nvoi-Sequence": header} if header else None)
    assert "X-Nvoi-Sequence" in " ".join(receiver.violations)


def test_a_terminal_status_must_count_its_records(receiver: Receiver, client: Client) -> None:
    client.started()
    client.post("status", {"status": "failed", "error": "x"})
    client.post(
        "status", {"status": "failed", "error": "x"}, count_headers(1, 2), webhook_id="msg_2"
    )
    assert "not two numbers" in receiver.violations[0]
    assert "is more than" in receiver.violations[1]


def batches(*batches: tuple[int, str]) -> Callable[[Client], None]:
    def send(client: Client) -> None:
        client.started()
        for first, webhook_id in batches:
            client.logs(first, "x", webhook_id=webhook_id)

    return send


def send_late_logs(client: Client) -> None:
    client.started()
    client.completed()
    client.logs(1, "late")


def send_two_ends(client: Client) -> None:
    client.started()
    client.completed()
    client.failed()


def send_two_starts(client: Client) -> None:
    client.started()
    client.started()


def send_changed_body(client: Client) -> None:
    client.started()
    client.logs(1, "a", webhook_id="same")
    client.logs(1, "b", webhook_id="same")


@pytest.mark.parametrize(
    ("send", "fault"),
    [
        (lambda client: client.logs(1, "early"), "logs came before started"),
        (send_late_logs, "logs came after the terminal status"),
        (send_two_ends, "two terminal statuses, with different ids"),
        (send_two_starts, "two started, with different ids"),
        (send_changed_body, "the same webhook-id came with another path or body"),
        (batches((2, "a"), (1, "b")), "the sequence goes back"),
        (batches((1, "a"), (1, "b")), "the sequence goes back"),
        (batches((1, "a"), (2, "b"), (1, "a")), "a retry overtaken"),
    ],
)
def test_a_broken_order_is_a_violation(
    receiver: Receiver, client: Client, send: Callable[[Client], None], fault: str
) -> None:
    send(client)
    assert fault in only_violation(receiver)


def test_halves_of_a_refused_batch_may_go_back_but_not_come_as_it_was(
    receiver: Receiver, client: Client
) -> None:
    client.started()
    receiver.always(behaviours.On("logs", behaviours.RefuseRecord(lambda r: r["message"] == "bad")))
    assert client.logs(1, "good", "bad") == 422
    assert client.logs(1, "good") == 200
    assert client.logs(2, "bad", webhook_id="msg_bad") == 422
    receiver.assert_protocol()
    assert client.logs(2, "bad", webhook_id="msg_bad") == 422
    assert "sent again as it was" in only_violation(receiver)


@pytest.mark.parametrize("answer", [behaviours.Answer(401), behaviours.Redirect("http://x.test/")])
def test_a_request_after_an_answer_that_ends_the_run_is_a_violation(
    receiver: Receiver, client: Client, answer: behaviours.Behaviour
) -> None:
    receiver.script(answer)
    client.started()
    client.logs(1, "still here")
    assert "called again after" in only_violation(receiver)


def test_a_retry_sooner_than_retry_after_is_a_violation(receiver: Receiver, client: Client) -> None:
    receiver.script(behaviours.OK, behaviours.Answer(429, {"Retry-After": "30"}))
    client.started()
    assert client.logs(1, "a", webhook_id="msg_a") == 429
    client.logs(1, "a", webhook_id="msg_a")
    assert "Retry-After said 30" in only_violation(receiver)


def test_a_resend_may_follow_the_end_of_a_run_and_a_second_run_begins_anew(
    receiver: Receiver, client: Client
) -> None:
    client.started()
    client.completed()
    receiver.expect_resend()
    client.logs(1, "kept")
    receiver.expect_new_run()
    client.started()
    client.logs(1, "again")
    receiver.assert_protocol()


def test_a_handler_without_its_stream_needs_no_statuses() -> None:
    with Receiver(KEY, whole_runs=False) as receiver, Client(receiver.url, KEY) as client:
        client.logs(1, "alone")
        receiver.assert_protocol()


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (behaviours.CloseWithoutAnswer(), urllib3.exceptions.ProtocolError),
        (behaviours.CommitThenReset(), urllib3.exceptions.ProtocolError),
        (behaviours.ResetMidRequest(), urllib3.exceptions.ProtocolError),
        (behaviours.Garbage(), urllib3.exceptions.ProtocolError),
    ],
)
def test_a_broken_exchange_breaks_at_the_client(
    receiver: Receiver,
    client: Client,
    behaviour: behaviours.Behaviour,
    error: type[Exception],
) -> None:
    client.started()
    receiver.script(behaviour)
    with pytest.raises(error):
        client.logs(1, "x" * 300_000)
    assert client.logs(2, "y") == 200
    assert receiver.requests[1].answered is None


def test_a_body_above_the_limit_is_answered_413(receiver: Receiver, client: Client) -> None:
    receiver.script(behaviours.OK, behaviours.TooLarge(1000), behaviours.TooLarge(1000))
    client.started()
    assert client.logs(1, "x" * 1000) == 413
    assert client.logs(1, "x") == 200
    assert receiver.messages == ["x"]
    receiver.assert_protocol()


def test_a_trickled_answer_comes_whole_in_the_end(receiver: Receiver, client: Client) -> None:
    receiver.script(behaviours.Trickle(202, interval_s=0.001))
    assert client.started() == 202
    assert receiver.requests[0].answered == 202


@pytest.mark.parametrize(
    "behaviour",
    [behaviours.Hang(), behaviours.Slow(3600), behaviours.Trickle(200, interval_s=3600)],
)
def test_closing_ends_an_exchange_that_waits_at_once(behaviour: behaviours.Behaviour) -> None:
    answers: list[int | None] = []
    with Receiver(KEY) as receiver, Client(receiver.url, KEY) as client:
        receiver.always(behaviour)
        thread = threading.Thread(target=lambda: answers.append(client.try_logs(1, "x")))
        thread.start()
        receiver.wait_for(lambda r: any(request.complete for request in r.requests))
    thread.join(PATIENCE)
    assert answers == [None]


def test_a_slow_answer_comes_after_its_time(receiver: Receiver, client: Client) -> None:
    receiver.script(behaviours.Slow(0.05, then=behaviours.Answer(503)))
    began = time.monotonic()
    assert client.started() == 503
    assert time.monotonic() - began >= 0.05


def test_a_paused_receiver_refuses_and_comes_back_on_its_port(
    receiver: Receiver, client: Client
) -> None:
    client.started()
    receiver.pause()
    with pytest.raises(urllib3.exceptions.HTTPError):
        client.logs(1, "lost")
    port = urllib3.util.parse_url(receiver.url).port
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    receiver.resume()
    assert client.logs(1, "found") == 200
    assert receiver.messages == ["found"]


def test_a_paused_receiver_can_be_closed() -> None:
    with Receiver(KEY) as receiver:
        receiver.pause()
    assert receiver.requests == []


def test_waiting_says_what_was_seen_last(receiver: Receiver, client: Client) -> None:
    client.started()
    with pytest.raises(AssertionError, match=r"1 requests .*\['started'\].*answered 200"):
        receiver.wait_for(lambda r: len(r.lines) == 1, timeout=0.01)


def test_waiting_is_woken_by_a_request(receiver: Receiver, client: Client) -> None:
    thread = threading.Thread(target=client.started)
    thread.start()
    receiver.wait_for(lambda r: bool(r.statuses))
    thread.join(PATIENCE)
    assert receiver.statuses == [{"status": "started"}]


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def build_server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def build_trusting_pool(authority: trustme.CA) -> urllib3.PoolManager:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return urllib3.PoolManager(ssl_context=context)


def test_tls_is_served_with_a_right_certificate(authority: trustme.CA) -> None:
    tls = build_server_context(authority, "127.0.0.1")
    with (
        Receiver(KEY, tls=tls) as receiver,
        Client(receiver.url, KEY, pool=build_trusting_pool(authority)) as client,
    ):
        assert client.started() == 200
        receiver.script(behaviours.ResetMidRequest())
        assert client.try_logs(1, "x") is None
        assert client.logs(2, "y") == 200
        receiver.assert_protocol()


def test_a_wrong_certificate_fails_the_handshake_and_no_request_comes(
    authority: trustme.CA,
) -> None:
    tls = build_server_context(authority, "other.test")
    with (
        Receiver(KEY, tls=tls) as receiver,
        Client(receiver.url, KEY, pool=build_trusting_pool(authority)) as client,
    ):
        with pytest.raises(urllib3.exceptions.SSLError):
            client.started()
        assert receiver.requests == []


def test_what_is_no_http_is_left_without_an_answer(receiver: Receiver, client: Client) -> None:
    port = urllib3.util.parse_url(receiver.url).port
    with socket.create_connection(("127.0.0.1", port or 0), timeout=PATIENCE) as sock:
        sock.sendall(b"hello\r\n\r\n")
        assert sock.recv(100) == b""
    assert client.started() == 200


def test_counting_only_keeps_the_totals_of_what_was_stored() -> None:
    with Receiver(KEY, verify=False) as receiver, Client(receiver.url, KEY) as client:
        client.logs(1, *('"logged_at" quoted',) * 500, webhook_id="msg_a")
        client.logs(1, *('"logged_at" quoted',) * 500, webhook_id="msg_a")
        receiver.script(behaviours.Answer(503))
        client.logs(501, "x")
        counts = receiver.counts
    assert (counts.requests, counts.stored, counts.duplicates, counts.records) == (3, 1, 1, 500)
    assert receiver.requests == []


@pytest.mark.parametrize("arguments", [["--count-only"], []])
def test_a_receiver_of_its_own_process_tells_its_totals_at_sigterm(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "tests.fakes.receiver", "--key", KEY, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with Client(url, KEY) as client:
            client.started()
            client.logs(1, "a", "b")
        process.send_signal(signal.SIGTERM)
        totals = json.loads(process.stdout.readline())
        assert process.wait(PATIENCE) == 0
    assert (totals["requests"], totals["records"], totals["violations"]) == (2, 2, [])
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api/deploys", url)


def test_a_proxy_passes_plain_requests_on_and_resolves_names(receiver: Receiver) -> None:
    port = urllib3.util.parse_url(receiver.url).port or 0
    with Proxy(hosts={"dashboard.test": port}) as proxy:
        pool = urllib3.ProxyManager(proxy.url, proxy_headers={"Proxy-Authorization": "Basic eA=="})
        with Client("http://dashboard.test/api/deploys", KEY, pool=pool) as client:
            assert client.started() == 200
            assert client.completed() == 200
        targets = [(request.method, request.target) for request in proxy.requests]
    assert targets == [("POST", "http://dashboard.test/api/deploys/run-1/status")] * 2
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic eA=="
    assert "proxy-authorization" not in receiver.requests[0].headers
    receiver.assert_protocol()


def test_a_proxy_tunnels_tls(authority: trustme.CA) -> None:
    tls = build_server_context(authority, "127.0.0.1")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with Receiver(KEY, tls=tls) as receiver, Proxy() as proxy:
        pool = urllib3.ProxyManager(proxy.url, ssl_context=context)
        with Client(receiver.url, KEY, pool=pool) as client:
            assert client.started() == 200
            assert client.logs(1, "through the tunnel") == 200
        assert [request.method for request in proxy.requests] == ["CONNECT"]
        receiver.assert_protocol()


def test_a_proxy_leads_nowhere_but_to_loopback() -> None:
    with Proxy() as proxy:
        pool = urllib3.ProxyManager(proxy.url)
        with Client("http://example.test/api", KEY, pool=pool) as client:
            assert client.started() == 502
