"""The callback receiver that other tests rely on: it must see what breaks the protocol."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fakes import behaviours
from tests.fakes.client import Client, build_batch, build_record, count_headers
from tests.fakes.receiver import Receiver
from tests.integration.streams import KEY


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
    receiver.script(behaviours.CommitThenReset())
    assert client.try_logs(3, "three", webhook_id="msg_r") is None
    assert client.logs(3, "three", webhook_id="msg_r") == 200
    assert client.completed(count=3) == 200

    receiver.assert_protocol()
    assert receiver.messages == ["one", "two", "three"]
    assert receiver.counts.duplicates == 1
    assert [status["status"] for status in receiver.statuses] == ["started", "completed"]
    assert [(request.kind, request.answered) for request in receiver.requests] == [
        ("status", 200),
        ("logs", 200),
        ("logs", None),
        ("logs", 200),
        ("status", 200),
    ]
    assert receiver.requests[1].headers["X-NVOI-SEQUENCE"] == "1-2"


RECORD = build_record("text")
COMPLETED = {"status": "completed", "tunnels": [], "duration_seconds": 1}


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ({"logs": []}, "array` of length >= 1"),
        ({"logs": [RECORD] * 501}, "array` of length <= 500"),
        ({"logs": [RECORD], "more": 1}, "unknown field `more`"),
        ({"logs": [{**RECORD, "logger": "nvoi"}]}, "unknown field `logger`"),
        ({"logs": [{**RECORD, "level": "critical"}]}, "Invalid enum value 'critical'"),
        ({"logs": [{**RECORD, "message": "\x1b[31mred"}]}, "logs[0].message"),
        ({"logs": [{**RECORD, "message": "\ud800"}]}, "logs[0].message"),
        ({"logs": [{**RECORD, "message": 1}]}, "got `int` - at `$.logs[0].message"),
        ({"logs": [{**RECORD, "logged_at": "2024-01-15T10:30:00Z"}]}, "logs[0].logged_at"),
        ({"logs": [{**RECORD, "logged_at": "2024-13-15T10:30:00.000Z"}]}, "month must be in 1..12"),
        ({"logs": [{**RECORD, "message": "x" * 600_000}]}, "bytes, over 524288"),
        (b'{"logs": NaN}', "no JSON object"),
        (b'["logs"]', "no JSON object"),
        ({"status": "started", "git_sha": None}, "got `null` - at `$.git_sha"),
        ({"status": "started", "host": "x"}, "unknown field `host`"),
        ({"status": "running"}, "Invalid value 'running'"),
        ({"status": "failed"}, "missing required field `error`"),
        ({"status": "failed", "error": "\x1b[0m"}, "at `$.error"),
        ({**COMPLETED, "tunnels": None}, "got `null` - at `$.tunnels"),
        ({**COMPLETED, "tunnels": [{}]}, "missing required field `service_name`"),
        ({**COMPLETED, "duration_seconds": 1.5}, "got `float` - at `$.duration_seconds"),
    ],
)
def test_a_body_of_another_shape_is_a_violation(
    receiver: Receiver, client: Client, payload: Any, fault: str
) -> None:
    is_status = isinstance(payload, dict) and "status" in payload
    terminal = is_status and payload["status"] in {"completed", "failed"}
    client.post("status" if is_status else "logs", payload, count_headers(0) if terminal else None)
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


@pytest.mark.parametrize("header", ["1-3", "0-1", "2-1", "1", None])
def test_a_sequence_that_does_not_count_the_records_is_a_violation(
    receiver: Receiver, client: Client, header: str | None
) -> None:
    client.started()
    client.post("logs", build_batch("a", "b"), {"X-Nvoi-Sequence": header} if header else None)
    assert "X-Nvoi-Sequence" in " ".join(receiver.violations)


@pytest.mark.parametrize(
    ("counts", "fault"), [({}, "not two numbers"), (count_headers(1, 2), "is more than")]
)
def test_a_terminal_status_must_count_its_records(
    receiver: Receiver, client: Client, counts: dict[str, str], fault: str
) -> None:
    client.started()
    client.post("status", {"status": "failed", "error": "x"}, counts)
    assert fault in only_violation(receiver)


# -- order -------------------------------------------------------------------------------------


def send_batches(*batches: tuple[int, str]) -> Callable[[Client, Receiver], None]:
    def send(client: Client, receiver: Receiver) -> None:
        client.started()
        for first, webhook_id in batches:
            client.logs(first, "x", webhook_id=webhook_id)

    return send


def send_late_logs(client: Client, receiver: Receiver) -> None:
    client.started()
    client.completed()
    client.logs(1, "late")


def send_two_ends(client: Client, receiver: Receiver) -> None:
    client.started()
    client.completed()
    client.failed()


def send_two_starts(client: Client, receiver: Receiver) -> None:
    client.started()
    client.started()


def send_changed_body(client: Client, receiver: Receiver) -> None:
    client.started()
    client.logs(1, "a", webhook_id="same")
    client.logs(1, "b", webhook_id="same")


def send_as_another_run(client: Client, receiver: Receiver) -> None:
    client.started()
    client.post(
        "logs", build_batch("a"), {"X-Nvoi-Sequence": "1-1", "X-Nvoi-Run-Id": str(uuid.uuid4())}
    )


def send_a_refused_batch_again(client: Client, receiver: Receiver) -> None:
    client.started()
    receiver.always(behaviours.On("logs", behaviours.RefuseRecord(lambda r: r["message"] == "bad")))
    assert client.logs(1, "good", "bad") == 422
    # Its halves may go back in the numbers.
    assert client.logs(1, "good") == 200
    assert client.logs(2, "bad", webhook_id="msg_bad") == 422
    receiver.assert_protocol()
    assert client.logs(2, "bad", webhook_id="msg_bad") == 422


def send_after_a_refusal(client: Client, receiver: Receiver) -> None:
    receiver.script(behaviours.Answer(401))
    client.started()
    client.logs(1, "still here")


def send_after_a_redirect(client: Client, receiver: Receiver) -> None:
    receiver.script(behaviours.Redirect("http://x.test/"))
    client.started()
    client.logs(1, "still here")


def send_too_soon(client: Client, receiver: Receiver) -> None:
    receiver.script(behaviours.OK, behaviours.Answer(429, {"Retry-After": "30"}))
    client.started()
    assert client.logs(1, "a", webhook_id="msg_a") == 429
    client.logs(1, "a", webhook_id="msg_a")


@pytest.mark.parametrize(
    ("send", "fault"),
    [
        (lambda client, _: client.logs(1, "early"), "logs came before started"),
        (send_late_logs, "logs came after the terminal status"),
        (send_two_ends, "two terminal statuses, with different ids"),
        (send_two_starts, "two started, with different ids"),
        (send_changed_body, "the same webhook-id came with another path or body"),
        (send_as_another_run, "X-Nvoi-Run-Id is"),
        (send_batches((2, "a"), (1, "b")), "the sequence goes back"),
        (send_batches((1, "a"), (1, "b")), "the sequence goes back"),
        (send_batches((1, "a"), (2, "b"), (1, "a")), "a retry overtaken"),
        (send_a_refused_batch_again, "sent again as it was"),
        (send_after_a_refusal, "called again after"),
        (send_after_a_redirect, "called again after"),
        (send_too_soon, "Retry-After said 30"),
    ],
)
def test_a_broken_order_is_a_violation(
    receiver: Receiver, client: Client, send: Callable[[Client, Receiver], None], fault: str
) -> None:
    send(client, receiver)
    assert fault in only_violation(receiver)


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


def test_waiting_says_what_was_seen_last(receiver: Receiver, client: Client) -> None:
    client.started()
    with pytest.raises(AssertionError, match=r"1 requests .*\['started'\].*answered 200"):
        receiver.wait_for(lambda r: len(r.lines) == 1, timeout=0.01)
