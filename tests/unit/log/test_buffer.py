from __future__ import annotations

import json
import logging
import threading
import time

import pytest

from nvoi import protocol
from nvoi.log.buffer import Barrier, Buffer, End
from nvoi.log.counts import Counts
from nvoi.log.levels import OK, STEP, SUCCESS
from nvoi.protocol import Line, LogBatch, StatusEvent
from tests.waiting import PATIENCE

END = End(began=0, budget=0)


def line(text: str, level: int = logging.INFO) -> Line:
    return (level, time.time(), text)


def read(batch: object) -> list[str]:
    assert isinstance(batch, LogBatch)
    return [json.loads(encoded)["message"] for encoded in batch.lines]


def read_all(buffer: Buffer) -> list[tuple[int, str, str]]:
    """The number, level and message of each line that waits."""
    lines = []
    for request in buffer.drain():
        assert isinstance(request, LogBatch)
        for number, encoded in enumerate(request.lines, request.first):
            record = json.loads(encoded)
            lines.append((number, record["level"], record["message"]))
    return lines


def fill(buffer: Buffer, lines: list[Line]) -> None:
    for item in lines:
        buffer.append(item)


def take_in_thread(buffer: Buffer) -> tuple[threading.Thread, list[object]]:
    """A thread that takes one request, and where it puts it."""
    taken: list[object] = []
    taker = threading.Thread(target=lambda: taken.append(buffer.take()), daemon=True)
    taker.start()
    return taker, taken


def test_lines_come_in_order_as_one_batch() -> None:
    buffer = Buffer(Counts(tell=print), first_linger=0.01)
    fill(buffer, [line("one"), line("two", STEP), line("three", logging.DEBUG)])
    batch = buffer.take()
    assert read(batch) == ["one", "two", "three"]
    assert isinstance(batch, LogBatch)
    assert batch.headers == {"X-Nvoi-Sequence": "1-3"}


def test_a_batch_has_at_most_500_lines() -> None:
    buffer = Buffer(Counts(tell=print), linger=3600, first_linger=3600)
    fill(buffer, [line(str(number)) for number in range(1001)])
    first, second = buffer.take(), buffer.take()
    assert (len(read(first)), len(read(second))) == (500, 500)
    buffer.append(END)
    assert read(buffer.take()) == ["1000"]


@pytest.mark.parametrize("size", [600_000, 5_000_000, 20_000_000])
def test_one_line_over_the_limit_is_cut_and_says_by_how_much(size: int) -> None:
    buffer = Buffer(Counts(tell=print))
    buffer.append(line("x" * size, logging.ERROR))
    batch = buffer.take()
    assert isinstance(batch, LogBatch)
    assert len(batch.encode()) <= protocol.MOST_BYTES
    (text,) = read(batch)
    kept, mark = text.split("…")
    assert mark == f" [{size - len(kept)} characters cut]"


@pytest.mark.parametrize("item", [line("boom", logging.ERROR), StatusEvent({"status": "started"})])
def test_what_is_urgent_does_not_linger(item: Line | StatusEvent) -> None:
    buffer = Buffer(Counts(tell=print), linger=3600, first_linger=3600)
    buffer.append(line("before"))
    buffer.append(item)
    assert read(buffer.take())[0] == "before"


def test_an_error_wakes_a_taker_that_waits_and_lines_after_it_gather_again() -> None:
    buffer = Buffer(Counts(tell=print), linger=3600, first_linger=3600)
    buffer.append(line("boom", logging.ERROR))
    buffer.take()
    buffer.append(line("calm"))
    taker, taken = take_in_thread(buffer)
    taker.join(0.2)
    assert taker.is_alive()
    buffer.append(line("boom", logging.ERROR))
    taker.join(PATIENCE)
    assert read(taken[0]) == ["calm", "boom"]


def test_statuses_barriers_and_lines_keep_their_order() -> None:
    buffer = Buffer(Counts(tell=print), first_linger=0, linger=0)
    barrier, started = Barrier(), StatusEvent({"status": "started"})
    for item in (started, line("one"), barrier, line("two"), END):
        buffer.append(item)
    assert buffer.take() is started
    assert read(buffer.take()) == ["one"]
    assert buffer.take() is barrier
    assert read(buffer.take()) == ["two"]
    assert buffer.take() is END


def test_a_buffer_that_was_stopped_gives_nothing_but_to_who_drains_it() -> None:
    buffer = Buffer(Counts(tell=print), linger=3600, first_linger=3600)
    taker, taken = take_in_thread(buffer)
    buffer.stop(END)
    taker.join(PATIENCE)
    assert taken == [END]
    buffer.append(line("late"))
    assert buffer.take() is END
    assert [text for _, _, text in read_all(buffer)] == ["late"]


def test_draining_passes_barriers_and_ends() -> None:
    buffer = Buffer(Counts(tell=print))
    barrier = Barrier()
    for item in (line("one"), END, barrier, line("two")):
        buffer.append(item)
    assert [text for _, _, text in read_all(buffer)] == ["one", "two"]
    assert barrier.is_set()


# -- where memory ends -------------------------------------------------------------------------


def count_missing(lines: list[tuple[int, str, str]]) -> int:
    return sum(int(text.split()[0]) for _, _, text in lines if "about here" in text)


def test_when_full_the_lowest_level_goes_first_and_of_it_the_oldest() -> None:
    buffer = Buffer(Counts(tell=print), capacity=100_000)
    for number in range(300):
        buffer.append(line(f"debug {number} " + "x" * 200, logging.DEBUG))
        buffer.append(line(f"info {number} " + "x" * 200, logging.INFO))
    lines = read_all(buffer)
    infos = [int(text.split()[1]) for _, level, text in lines if level == "info"]
    debugs = [int(text.split()[1]) for _, level, text in lines if level == "debug"]
    assert infos == list(range(300))
    assert debugs == list(range(300 - len(debugs), 300))
    assert 0 < len(debugs) < 150
    assert count_missing(lines) == 300 - len(debugs)


def test_step_and_above_stay_while_lower_levels_can_go() -> None:
    levels = (STEP, OK, SUCCESS, logging.WARNING, logging.ERROR)
    buffer = Buffer(Counts(tell=print), capacity=250 * len(levels) * 200)
    for number in range(1000):
        buffer.append(line(f"{number} " + "x" * 100, levels[number % len(levels)]))
        buffer.append(line("chatter " * 10, logging.DEBUG))
        buffer.append(line("talk " * 10))
    lines = read_all(buffer)
    kept = [
        int(text.split()[0])
        for _, level, text in lines
        if level not in {"debug", "info"} and "about here" not in text
    ]
    assert kept == list(range(1000))
    low = sum(level in {"debug", "info"} for _, level, _ in lines)
    assert low + count_missing(lines) == 2000


def test_when_step_and_above_alone_are_too_many_the_oldest_of_them_go() -> None:
    buffer = Buffer(Counts(tell=print), capacity=50_000)
    levels = (STEP, logging.ERROR, OK, logging.WARNING)
    for number in range(1000):
        buffer.append(line(f"{number} " + "x" * 100, levels[number % len(levels)]))
    lines = read_all(buffer)
    kept = [int(text.split()[0]) for _, _, text in lines if "about here" not in text]
    assert kept == list(range(1000 - len(kept), 1000))
    assert 100 < len(kept) < 400
    assert count_missing(lines) == 1000 - len(kept)
    assert "about here" in lines[0][2]


def test_one_warning_tells_of_a_loss_at_its_place() -> None:
    counts = Counts(tell=print)
    buffer = Buffer(counts, capacity=50_000)
    buffer.append(line("first", STEP))
    for number in range(1000):
        buffer.append(line(f"{number} " + "x" * 200))
    lines = read_all(buffer)
    assert lines[0] == (1, "step", "first")
    number, level, text = lines[1]
    missing = int(text.split()[0])
    assert (number, level) == (missing + 2, "warning")
    kept = [text for _, level, text in lines if level == "info"]
    assert missing + len(kept) == 1000
    assert kept[-1].startswith("999 ")
    # The numbers have a gap exactly where and as wide as lines are missing.
    numbers = [number for number, _, _ in lines]
    assert numbers == [1, *range(missing + 2, missing + 3 + len(kept))]
    assert (counts.numbered, counts.dropped) == (numbers[-1], missing)


def test_losses_far_apart_are_told_each_at_its_place() -> None:
    buffer = Buffer(Counts(tell=print), capacity=400_000)
    chatter = [line(f"chatter {number} " + "x" * 300) for number in range(1000)]
    steps = [line(f"step {number} " + "x" * 100, STEP) for number in range(1000)]
    # Each half of the chatter is given up for the steps around it.
    fill(buffer, [*chatter[:500], *steps, *chatter[500:], *steps])
    lines = read_all(buffer)
    assert count_missing(lines) > 900
    places = [index for index, (_, _, text) in enumerate(lines) if "about here" in text]
    assert len(places) >= 2
    assert places[0] == 0
    numbers = [number for number, _, _ in lines]
    assert numbers == sorted(numbers)


def test_losses_between_lines_that_stay_do_not_take_the_room_of_the_lines() -> None:
    buffer = Buffer(Counts(tell=print), capacity=400_000)
    for number in range(1500):
        buffer.append(line(f"{number}"))
        buffer.append(line(f"step {number} " + "x" * 100, STEP))
    lines = read_all(buffer)
    gaps = sum("about here" in text for _, _, text in lines)
    assert 1 <= gaps <= 4
    assert sum(level == "info" for _, level, _ in lines) + count_missing(lines) == 1500


def test_statuses_stay_in_their_place_whatever_is_given_up() -> None:
    buffer = Buffer(Counts(tell=print), capacity=20_000)
    started, failed = StatusEvent({"status": "started"}), StatusEvent({"status": "failed"})
    buffer.append(started)
    fill(buffer, [line(f"{number} " + "x" * 100, STEP) for number in range(500)])
    buffer.append(failed)
    buffer.append(line("after", STEP))
    requests = list(buffer.drain())
    assert requests[0] is started
    assert requests[-2] is failed
    assert read(requests[-1]) == ["after"]


def test_a_line_larger_than_the_whole_buffer_is_told_as_missing() -> None:
    buffer = Buffer(Counts(tell=print), capacity=1000)
    buffer.append(line("x" * 5000))
    buffer.append(line("small"))
    texts = [text for _, _, text in read_all(buffer)]
    assert texts == [
        "1 log line is missing about here: more were waiting than may be kept",
        "small",
    ]


def test_another_buffer_goes_on_with_the_numbers() -> None:
    counts = Counts(tell=print)
    buffer = Buffer(counts, 1000)
    fill(buffer, [line("x" * 5000), line("one")])
    assert [number for number, _, _ in read_all(buffer)] == [2, 3]
    successor = Buffer(counts, 1000)
    successor.append(line("two"))
    assert [(number, text) for number, _, text in read_all(successor)] == [(4, "two")]
    assert (counts.logged, counts.dropped) == (4, 1)


def test_the_size_of_a_line_counts_what_is_sent() -> None:
    encoded = protocol.encode_line((25, time.time(), ""))
    assert len(encoded) + 2 == protocol.LINE_BYTES
