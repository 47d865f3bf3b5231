"""Pages that follow a deploy while it runs."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from pathlib import Path

from tests.fakes.client import build_batch
from tests.integration.dashboard.serving import Serving, build_path, get_messages, open_events


def test_lines_and_states_come_as_they_are_stored(shared: Serving) -> None:
    with shared.build_client("stream") as client:
        client.started(git_ref="main")
        with open_events(shared, "stream") as events:
            events.read_until(lambda seen: seen.attempts)
            assert (events.attempts[-1]["status"], events.attempts[-1]["git_ref"]) == (
                "running",
                "main",
            )
            client.logs(1, "one", "two")
            events.read_until(lambda seen: len(seen.lines) == 2)
            client.logs(3, "three")
            client.completed(3)
            events.read_until(lambda seen: seen.attempts[-1]["status"] == "completed")
            assert get_messages(events.lines) == ["one", "two", "three"]
            assert [line["number"] for line in events.lines] == [1, 2, 3]
            # Late lines still land.
            client.logs(4, "late")
            events.read_until(lambda seen: len(seen.lines) == 4)
            assert events.lines == shared.get_lines("stream")
            assert events.last_id == "4"


def test_a_stream_goes_on_after_the_last_line_that_was_seen(shared: Serving) -> None:
    with shared.build_client("resumed") as client:
        client.logs(1, "one", "two", "three")
    for query, headers in (
        ("?after=2", {}),
        ("", {"Last-Event-ID": "2"}),
        ("?after=0", {"Last-Event-ID": "2"}),
        ("?after=3", {"Last-Event-ID": "2"}),
    ):
        with open_events(shared, "resumed", query=query, **headers) as events:
            events.read_until(lambda seen: seen.lines)
            assert get_messages(events.lines) == ["three"]


def test_a_page_is_told_when_a_newer_attempt_takes_its_place(shared: Serving) -> None:
    with shared.build_client("superseded") as client:
        client.started()
        client.logs(1, "one")
        with open_events(shared, "superseded", query="?attempt=1") as events:
            events.read_until(lambda seen: seen.attempts)
            client.started()
            events.read_until(lambda seen: seen.attempts[-1]["superseded"])
            assert events.attempts[-1]["status"] == "lost"


def test_a_long_log_comes_whole_and_in_order(shared: Serving) -> None:
    with shared.build_client("long") as client:
        for batch in range(10):
            lines = (f"line {batch * 700 + n}" for n in range(700))
            assert client.post("logs", build_batch(*lines)) == 200
    with open_events(shared, "long") as events:
        events.read_until(lambda seen: len(seen.lines) == 7000)
        assert [line["number"] for line in events.lines] == list(range(1, 7001))
        # What the deploy is comes once its lines are all there.
        assert events.attempts == []
        events.read_until(lambda seen: seen.attempts)


def test_what_would_end_an_event_is_a_part_of_its_line(shared: Serving) -> None:
    message = "a\n\nevent: attempt\ndata: {}\r\n\r\nid: 9\n\u2028\u2029\0\x1b[2J"
    with shared.build_client("ends") as client:
        client.post("logs", build_batch(message))
    with open_events(shared, "ends") as events:
        events.read_until(lambda seen: seen.lines)
        assert get_messages(events.lines) == [message]
        assert events.last_id == "1"


def test_readers_that_do_not_read_cost_no_memory_and_miss_nothing(serving: Serving) -> None:
    text = "x" * 1000
    with ExitStack() as stack, serving.build_client() as client:
        client.logs(1, "before")
        streams = [stack.enter_context(open_events(serving)) for _ in range(20)]
        before = read_memory(serving)
        for batch in range(10):
            lines = (f"{batch * 500 + n} {text}" for n in range(500))
            assert client.post("logs", build_batch(*lines)) == 200
        # 5 MB to each of 20 readers would be 100 MB.
        assert read_memory(serving) - before < 40 << 20
        streams[0].read_until(lambda seen: len(seen.lines) == 5001)
        numbers = [int(line["message"].split()[0]) for line in streams[0].lines[1:]]
        assert numbers == list(range(5000))
        # Nor does the end wait for those who still do not read.
        began = time.monotonic()
        assert serving.stop() == 0
        assert time.monotonic() - began < 15
        assert "Traceback" not in serving.output


def read_memory(serving: Serving) -> int:
    """The bytes of memory that the dashboard has."""
    assert serving.process is not None
    status = Path(f"/proc/{serving.process.pid}/status").read_text("ascii")
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def test_a_dashboard_that_is_to_end_does_not_wait_for_its_pages(serving: Serving) -> None:
    with ExitStack() as stack, serving.build_client() as client:
        client.started()
        streams = [stack.enter_context(open_events(serving)) for _ in range(5)]
        for stream in streams:
            stream.read_until(lambda seen: seen.attempts)
        began = time.monotonic()
        assert serving.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 15
        # Each came to its end, none was cut in the middle of an event.
        assert [list(stream) for stream in streams] == [[]] * 5


def test_a_deploy_that_is_not_known_has_no_stream(shared: Serving) -> None:
    assert shared.get(f"{build_path('unknown')}/events").status == 404
    with shared.build_client("unknown") as client:
        client.started()
    assert shared.get(f"{build_path('unknown')}/events?attempt=2").status == 404
    assert shared.get(f"{build_path('unknown', 'nobody')}/events").status == 404
    assert shared.post(f"{build_path('unknown')}/events", method="HEAD").status == 200
    assert shared.get(f"{build_path('unknown')}/events?after=x").status == 422
    assert shared.get(f"{build_path('unknown')}/events?after=-1").status == 422
    assert shared.get(f"{build_path('unknown')}/events?attempt={'9' * 100}").status == 422
