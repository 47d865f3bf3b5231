"""A receiver that misbehaves, and what the stream makes of it: in process, with a small budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import behaviours
from tests.fakes.behaviours import Answer, Behaviour, On
from tests.fakes.receiver import Receiver
from tests.integration.log.accounts import gather, get_messages, read_records, read_states
from tests.integration.streams import KEY, SLACK_SECONDS, Run, log_numbers

pytestmark = pytest.mark.usefixtures("bare_network")

BUDGET = 1.0

STUCK: dict[str, Behaviour] = {
    "500": Answer(500),
    "429-for-an-hour": Answer(429, {"Retry-After": "3600"}),
    "503-until-a-date": Answer(503, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}),
    "never-answers": behaviours.Hang(),
    "resets": behaviours.ResetMidRequest(),
    "closes": behaviours.CloseWithoutAnswer(),
    "a-byte-a-second": behaviours.Trickle(status=500),
    "garbage": behaviours.Garbage(),
    "endless-head": behaviours.Garbage(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000),
    "endless-line": behaviours.Garbage(b"x" * 100_000),
}


@pytest.fixture(params=list(STUCK))
def stuck(request: pytest.FixtureRequest) -> Behaviour:
    return STUCK[request.param]


def test_nothing_is_lost_and_the_budget_holds_whatever_a_receiver_does(
    receiver: Receiver, stuck: Behaviour, tmp_path: Path, told: list[str]
) -> None:
    receiver.always(stuck)
    with Run(receiver.url, tmp_path, budget=BUDGET) as run:
        lines = log_numbers(run, 1, 1200)

    assert run.closing_seconds < BUDGET + SLACK_SECONDS
    receiver.assert_protocol()
    assert get_messages(gather(receiver, run.file)) == lines
    assert get_messages(read_records(run.file)) == lines
    assert read_states(run.file) == ["started", "completed"]
    assert len(told) == len(set(told))
    # An attempt that the end of the budget cuts short is another kind of trouble.
    assert sum("no answer in time" not in text for text in told) <= 2
    assert "0 of 1200 lines delivered" in told[-1]


def test_the_terminal_status_keeps_its_share_when_logs_are_stuck(
    receiver: Receiver, stuck: Behaviour, tmp_path: Path, told: list[str]
) -> None:
    receiver.always(On("logs", stuck))
    with Run(receiver.url, tmp_path, budget=BUDGET) as run:
        lines = log_numbers(run, 1, 600)

    assert run.closing_seconds < BUDGET + SLACK_SECONDS
    assert [status["status"] for status in receiver.statuses] == ["started", "completed"]
    terminal = receiver.accepted[-1].headers
    assert (terminal["X-Nvoi-Log-Count"], terminal["X-Nvoi-Log-Dropped"]) == ("600", "600")
    assert get_messages(read_records(run.file)) == lines
    assert read_states(run.file) == []
    receiver.assert_protocol()


def test_a_stream_is_not_slowed_while_a_run_lasts_by_a_receiver_that_never_answers(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.always(behaviours.Hang())
    with Run(receiver.url, tmp_path, budget=0.2) as run:
        receiver.wait_for(lambda it: it.counts.requests == 1)
        lines = log_numbers(run, 1, 5000)
        assert receiver.counts.requests == 1
    assert get_messages(gather(receiver, run.file)) == lines


RECOVERED: dict[str, tuple[Behaviour, ...]] = {
    "408-425-429-599": (Answer(408), Answer(425), Answer(429), Answer(599)),
    "503-with-no-time-that-exists": (
        behaviours.OK,
        Answer(503, {"Retry-After": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}),
    ),
    "takes-and-resets": (behaviours.CommitThenReset(), behaviours.OK, behaviours.CommitThenReset()),
    "garbage": (behaviours.Garbage(),),
    "slow": (behaviours.Slow(0.7), behaviours.Slow(0.7)),
    "204": (Answer(204), Answer(202)),
}


@pytest.mark.parametrize("script", RECOVERED.values(), ids=list(RECOVERED))
def test_everything_arrives_once_and_in_order_when_a_receiver_recovers(
    receiver: Receiver, script: tuple[Behaviour, ...], tmp_path: Path, told: list[str]
) -> None:
    receiver.script(*script)
    with Run(receiver.url, tmp_path, budget=10.0) as run:
        lines = log_numbers(run, 1, 1200)

    receiver.assert_protocol()
    assert receiver.messages == lines
    assert [status["status"] for status in receiver.statuses] == ["started", "completed"]
    assert run.file is None
    assert list(tmp_path.iterdir()) == []
    assert told[-1].startswith("Dashboard: 1200 of 1200 lines delivered in ")
    assert told[-1].endswith(", 0 lost")
    assert run.stream.stats().retries == len(receiver.requests) - len(receiver.accepted)


def test_what_was_acknowledged_before_an_outage_is_not_kept_again(
    receiver: Receiver, tmp_path: Path
) -> None:
    with Run(receiver.url, tmp_path, budget=0.5) as run:
        first = log_numbers(run, 1, 10)
        receiver.wait_for(lambda it: it.messages == first)
        run.stream.handler.flush()
        receiver.pause()
        rest = log_numbers(run, 11, 20)
    assert receiver.messages == first
    assert get_messages(read_records(run.file)) == rest
    assert read_states(run.file) == ["completed"]
    assert run.get_file().stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("status", [401, 403, 404, 405, 410, 301, 302, 307, 308])
def test_an_answer_that_forbids_it_ends_the_calls_of_the_run(
    receiver: Receiver, status: int, tmp_path: Path, told: list[str]
) -> None:
    receiver.script(behaviours.OK, behaviours.Redirect("https://login.test/?next=x", status))
    with Run(receiver.url, tmp_path, budget=10.0) as run:
        lines = log_numbers(run, 1, 700)

    assert run.closing_seconds < SLACK_SECONDS
    assert receiver.counts.requests == 2
    assert get_messages(read_records(run.file)) == lines
    assert read_states(run.file) == ["completed"]
    assert f"answered {status}" in told[0]
    assert ("https://login.test/" in told[0]) == (300 <= status < 400)
    assert len(told) == 2


def test_a_redirect_is_not_followed(receiver: Receiver, tmp_path: Path) -> None:
    with Receiver(KEY) as elsewhere:
        receiver.always(behaviours.Redirect(f"{elsewhere.url}/run-1/status", 307))
        with Run(receiver.url, tmp_path):
            pass
        assert elsewhere.connections == 0


def test_a_batch_that_is_too_large_is_halved_until_it_fits(
    receiver: Receiver, tmp_path: Path, told: list[str]
) -> None:
    receiver.always(behaviours.TooLarge(3000))
    with Run(receiver.url, tmp_path, budget=10.0) as run:
        lines = log_numbers(run, 1, 400)
    receiver.assert_protocol()
    assert receiver.messages == lines
    assert run.file is None
    # The limit is learned: later batches are not too large again.
    refused = [request.answered == 413 for request in receiver.requests]
    assert sum(refused) < 10
    assert sum("413" in text for text in told) == 1


def test_a_single_record_that_is_too_large_is_cut_to_fit(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.always(behaviours.TooLarge(3000))
    with Run(receiver.url, tmp_path, budget=10.0) as run:
        run.log.info("before")
        run.log.info("%s", "é" * 50_000)
        run.log.info("after")
    receiver.assert_protocol()
    before, cut, after = receiver.messages
    assert (before, after) == ("before", "after")
    kept, mark = cut.split("…")
    assert kept == "é" * len(kept)
    assert len(kept) > 300
    assert mark == f" [{50_000 - len(kept)} characters cut]"
    assert run.file is None
