"""A receiver that misbehaves, and what the stream makes of it: in process, with a small budget."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from io import BufferedReader
from pathlib import Path

import pytest

from tests.fakes import behaviours
from tests.fakes.behaviours import Answer, Behaviour, On
from tests.fakes.receiver import Receiver
from tests.integration.accounts import gather, get_messages, read_records, read_states
from tests.integration.streams import KEY, SLACK_SECONDS, Run, log_numbers
from tests.waiting import PATIENCE

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
    "503-then-well": (Answer(503),) * 2,
    "408-425-429-599": (Answer(408), Answer(425), Answer(429), Answer(599)),
    "429-with-retry-after": (behaviours.OK, Answer(429, {"Retry-After": "1"})),
    "503-with-no-time-that-exists": (
        behaviours.OK,
        Answer(503, {"Retry-After": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}),
    ),
    "resets": (behaviours.ResetMidRequest(), behaviours.OK, behaviours.ResetMidRequest()),
    "takes-and-resets": (behaviours.CommitThenReset(), behaviours.OK, behaviours.CommitThenReset()),
    "garbage": (behaviours.Garbage(),),
    "closes": (behaviours.OK, behaviours.CloseWithoutAnswer()),
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


def test_a_receiver_that_is_down_at_the_start_gets_the_whole_log_when_it_is_up(
    receiver: Receiver, tmp_path: Path, told: list[str]
) -> None:
    receiver.pause()
    with Run(receiver.url, tmp_path, budget=10.0) as run:
        lines = log_numbers(run, 1, 1200)
        receiver.resume()
    receiver.assert_protocol()
    assert receiver.messages == lines
    assert run.file is None
    assert len(told) <= 2


def test_an_outage_in_the_middle_leaves_no_gap_and_no_double(
    receiver: Receiver, tmp_path: Path, told: list[str]
) -> None:
    with Run(receiver.url, tmp_path, budget=10.0) as run:
        lines = log_numbers(run, 1, 10)
        receiver.wait_for(lambda it: it.messages == lines)
        receiver.pause()
        lines += log_numbers(run, 11, 1000)
        run.log.error("this hurries")
        receiver.resume()
        lines += ["this hurries", *log_numbers(run, 1001, 1010)]
    receiver.assert_protocol()
    assert receiver.messages == lines
    assert run.file is None


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


def test_a_record_that_is_refused_is_kept_and_the_others_are_delivered_in_order(
    receiver: Receiver, tmp_path: Path, told: list[str]
) -> None:
    receiver.always(behaviours.RefuseRecord(lambda record: "77" in record["message"]))
    with Run(receiver.url, tmp_path, budget=10.0) as run:
        lines = log_numbers(run, 1, 300)
    receiver.assert_protocol()
    assert receiver.messages == [line for line in lines if "77" not in line]
    assert get_messages(read_records(run.file)) == ["line 77", "line 177", "line 277"]
    assert get_messages(gather(receiver, run.file)) == lines
    terminal = receiver.accepted[-1].headers
    assert (terminal["X-Nvoi-Log-Count"], terminal["X-Nvoi-Log-Dropped"]) == ("300", "3")
    assert sum("422" in text for text in told) == 1


def test_a_receiver_that_reads_slowly_is_not_taken_for_one_that_is_broken(tmp_path: Path) -> None:
    # With that budget a connection has 0.3 s to be made, which says nothing of a request.
    with run_slow_reader(pause_seconds=0.6) as (url, lengths):
        with Run(url, tmp_path, budget=1.0) as run:
            run.log.error("%s", "x" * 400_000)
            run.stream.handler.flush(timeout=PATIENCE)
        assert run.stream.stats().retries == 0
        assert run.stream.stats().delivered == 1
    assert max(lengths) > 400_000


def test_a_receiver_that_stops_reading_is_given_up_in_time(tmp_path: Path, told: list[str]) -> None:
    with run_slow_reader(pause_seconds=60) as (url, _):
        with Run(url, tmp_path, budget=0.5) as run:
            run.log.error("%s", "x" * 400_000)
        assert run.closing_seconds < 0.5 + SLACK_SECONDS
    assert len(read_records(run.file)) == 1
    assert "no answer in time" in told[0]


@contextmanager
def run_slow_reader(pause_seconds: float) -> Iterator[tuple[str, list[int]]]:
    """A server with a small window that rests between the head and the body of a large request."""
    lengths: list[int] = []
    rest = threading.Event()

    def serve() -> None:
        with (
            suppress(OSError),
            closing(listener.accept()[0]) as connection,
            connection.makefile("rb") as reader,
        ):
            while head := read_head(reader):
                length = int(head["content-length"])
                rest.wait(pause_seconds if length > 1000 else 0)
                lengths.append(len(reader.read(length)))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with socket.socket() as listener:
        # With segments of a real network a sender's buffer does not hold a whole request.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/api", lengths
        rest.set()
        thread.join(PATIENCE)


def read_head(reader: BufferedReader) -> dict[str, str]:
    """The headers of the next request; none at the end."""
    headers = {}
    while line := reader.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return headers
