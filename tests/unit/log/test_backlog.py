from __future__ import annotations

import json
import logging
import signal
import threading
import time

import pytest

from nvoi.log import wire
from nvoi.log.backlog import Backlog
from nvoi.log.levels import OK, STEP, SUCCESS
from nvoi.log.overflow import Barrier, Gap, Item, Overflow, Sentinel
from nvoi.log.wire import Line, LogBatch, StatusEvent


def line(text: str, level: int = logging.INFO) -> Line:
    return (level, time.time(), text)


def read(batch: object) -> list[str]:
    assert isinstance(batch, LogBatch)
    return [json.loads(encoded)["message"] for encoded in batch.lines]


def read_all(backlog: Backlog) -> list[tuple[int, str, str]]:
    """The number, level and message of each line that waits."""
    lines = []
    for request in backlog.drain():
        assert isinstance(request, LogBatch)
        for number, encoded in enumerate(request.lines, request.first):
            record = json.loads(encoded)
            lines.append((number, record["level"], record["message"]))
    return lines


def test_lines_come_in_order_as_one_batch() -> None:
    backlog = Backlog(first_linger=0.01)
    for text in ("one", "two", "three"):
        backlog.put_nowait(line(text))
    batch = backlog.get()
    assert read(batch) == ["one", "two", "three"]
    assert isinstance(batch, LogBatch)
    assert batch.sequence == "1-3"


def test_a_batch_has_at_most_500_lines() -> None:
    backlog = Backlog(linger=3600, first_linger=3600)
    for number in range(1001):
        backlog.put_nowait(line(str(number)))
    first, second = backlog.get(), backlog.get()
    assert (len(read(first)), len(read(second))) == (500, 500)
    backlog.hurry()
    assert read(backlog.get()) == ["1000"]


def test_a_batch_has_at_most_512_kib() -> None:
    backlog = Backlog(linger=3600, first_linger=3600)
    for _ in range(30):
        backlog.put_nowait(line("ü" * 30_000))
    backlog.put_nowait(Sentinel())
    sizes = []
    while isinstance(request := backlog.get(), LogBatch):
        sizes.append(len(request.encode()))
    assert len(sizes) > 3
    assert max(sizes) <= 512 * 1024


def test_one_line_over_the_limit_is_cut() -> None:
    backlog = Backlog()
    backlog.put_nowait(line("x" * 5_000_000, logging.ERROR))
    batch = backlog.get()
    assert isinstance(batch, LogBatch)
    assert len(batch.encode()) <= 512 * 1024
    assert read(batch)[0].endswith("characters cut]")


@pytest.mark.parametrize("item", [line("boom", logging.ERROR), StatusEvent({"status": "started"})])
def test_what_is_urgent_does_not_linger(item: Line | StatusEvent) -> None:
    backlog = Backlog(linger=3600, first_linger=3600)
    backlog.put_nowait(line("before"))
    backlog.put_nowait(item)
    assert read(backlog.get())[0] == "before"


def test_a_reader_that_waits_is_woken_by_an_error() -> None:
    backlog = Backlog(linger=3600, first_linger=3600)
    taken: list[object] = []
    reader = threading.Thread(target=lambda: taken.append(backlog.get()))
    reader.start()
    backlog.put_nowait(line("calm"))
    backlog.put_nowait(line("boom", logging.ERROR))
    reader.join(10)
    assert not reader.is_alive()
    assert read(taken[0])[0] == "calm"


def test_after_an_error_lines_gather_again() -> None:
    backlog = Backlog(linger=3600, first_linger=3600)
    backlog.put_nowait(line("boom", logging.ERROR))
    backlog.get()
    backlog.put_nowait(line("calm"))
    taken: list[object] = []
    reader = threading.Thread(target=lambda: taken.append(backlog.get()), daemon=True)
    reader.start()
    reader.join(0.2)
    assert reader.is_alive()
    backlog.hurry()
    reader.join(10)
    assert read(taken[0]) == ["calm"]


def test_statuses_barriers_and_lines_keep_their_order() -> None:
    backlog = Backlog(first_linger=0, linger=0)
    barrier = Barrier()
    started = StatusEvent({"status": "started"})
    sentinel = Sentinel()
    for item in (started, line("one"), barrier, line("two"), sentinel):
        backlog.put_nowait(item)
    assert backlog.get() is started
    assert read(backlog.get()) == ["one"]
    assert backlog.get() is barrier
    assert read(backlog.get()) == ["two"]
    assert backlog.get() is sentinel


def put_on_a_thread(backlog: Backlog, lines: list[Line]) -> None:
    """Put lines as a thread does that signal handlers do not run on: it keeps the bounds itself."""

    def put() -> None:
        for item in lines:
            backlog.put_nowait(item)

    writer = threading.Thread(target=put)
    writer.start()
    writer.join()


def test_when_full_the_lowest_levels_go_first_oldest_first() -> None:
    backlog = Backlog(capacity=100_000)
    waiting = []
    for number in range(300):
        waiting.append(line(f"debug {number} " + "x" * 200, logging.DEBUG))
        waiting.append(line(f"info {number} " + "x" * 200, logging.INFO))
    put_on_a_thread(backlog, waiting)
    lines = read_all(backlog)
    infos = [text for _, level, text in lines if level == "info"]
    debugs = [int(text.split()[1]) for _, level, text in lines if level == "debug"]
    assert len(infos) == 300
    assert debugs == list(range(300 - len(debugs), 300))
    assert 0 < len(debugs) < 150


def test_where_lines_are_missing_one_warning_says_how_many() -> None:
    backlog = Backlog(capacity=50_000)
    backlog.put_nowait(line("first", STEP))
    for number in range(1000):
        backlog.put_nowait(line(f"{number} " + "x" * 200))
    lines = read_all(backlog)
    assert lines[0] == (1, "step", "first")
    number, level, text = lines[1]
    assert level == "warning"
    missing = int(text.split()[0])
    assert number == missing + 2
    assert [level for _, level, _ in lines].count("warning") == 1
    kept = [text for _, level, text in lines if level == "info"]
    assert missing + len(kept) == 1000
    assert kept[-1].startswith("999 ")
    # The numbers have a gap exactly where and as wide as lines are missing.
    numbers = [number for number, _, _ in lines]
    assert numbers == [1, *range(missing + 2, missing + 3 + len(kept))]
    assert backlog.numbered == numbers[-1]
    assert backlog.given_up == missing


@pytest.mark.parametrize("on_a_thread", [False, True])
def test_steps_successes_warnings_and_errors_stay_whatever_their_number(on_a_thread: bool) -> None:
    backlog = Backlog(capacity=100_000)
    levels = (STEP, OK, SUCCESS, logging.WARNING, logging.ERROR)
    expected = []
    waiting = []
    for number in range(2_000):
        text = f"{number} " + "x" * 100
        expected.append(text)
        waiting.append(line(text, levels[number % len(levels)]))
        waiting.append(line("chatter " * 10, logging.DEBUG))
    if on_a_thread:
        put_on_a_thread(backlog, waiting)
    else:
        for item in waiting:
            backlog.put_nowait(item)
    backlog.close()
    lines = read_all(backlog)
    assert [text for _, level, text in lines if "are missing" not in text and level != "debug"] == (
        expected
    )
    missing = sum(int(text.split()[0]) for _, _, text in lines if "are missing" in text)
    debugs = sum(level == "debug" for _, level, _ in lines)
    assert missing + debugs == 2_000


def test_a_status_in_the_midst_of_an_overflow_keeps_its_place() -> None:
    backlog = Backlog(capacity=20_000)
    for number in range(500):
        backlog.put_nowait(line(f"{number} " + "x" * 100, STEP))
    event = StatusEvent({"status": "failed", "error": "x"})
    backlog.put_nowait(event)
    backlog.put_nowait(line("after", STEP))
    requests = list(backlog.drain())
    place = requests.index(event)
    assert sum(len(read(batch)) for batch in requests[:place]) == 500
    assert [read(batch) for batch in requests[place + 1 :]] == [["after"]]


def test_what_waits_on_the_disk_does_not_linger() -> None:
    backlog = Backlog(capacity=20_000, linger=3600, first_linger=3600)
    for number in range(1_000):
        backlog.put_nowait(line(f"{number} " + "x" * 100, STEP))
    backlog.put_nowait(Sentinel())
    messages = []
    while isinstance(request := backlog.get(), LogBatch):
        messages += read(request)
    assert [int(text.split()[0]) for text in messages] == list(range(1_000))


# An exception that hits threading.Thread.start() ends the thread that it starts with an error of
# threading's own, which nobody can catch.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_handler_that_raises_loses_and_doubles_nothing() -> None:
    class AlarmError(Exception):
        pass

    putting = False

    def raise_alarm(*_: object) -> None:
        nonlocal putting
        if putting:
            # Once: what catches it must not be hit by the next.
            putting = False
            raise AlarmError

    backlog = Backlog(capacity=100_000, linger=0.01, first_linger=0.01)
    taken: list[int] = []

    def take() -> None:
        while isinstance(request := backlog.get(), LogBatch):
            taken.extend(int(text.split()[0]) for text in read(request) if "missing" not in text)

    reader = threading.Thread(target=take, daemon=True)
    reader.start()
    put: list[int] = []
    before = signal.signal(signal.SIGALRM, raise_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    for number in range(20_000):
        # No suppress(): the handler may raise in suppress itself, on its way out.
        try:
            putting = True
            backlog.put_nowait(line(f"{number} " + "x" * 50, STEP))
            put.append(number)
            putting = False
        except AlarmError:
            pass
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    backlog.put_nowait(Sentinel())
    reader.join(30)
    assert not reader.is_alive()
    backlog.close()
    assert taken == sorted(set(taken))
    assert set(put) <= set(taken)


def test_many_writers_lose_nothing_and_keep_each_ones_order() -> None:
    backlog = Backlog(linger=0.01, first_linger=0.01)
    threads, each = 8, 500

    def write(name: int) -> None:
        for number in range(each):
            backlog.put_nowait(line(f"{name} {number}"))

    writers = [threading.Thread(target=write, args=(name,)) for name in range(threads)]
    for writer in writers:
        writer.start()
    seen: dict[int, list[int]] = {name: [] for name in range(threads)}
    while sum(map(len, seen.values())) < threads * each:
        for text in read(backlog.get()):
            name, number = map(int, text.split())
            seen[name].append(number)
    for writer in writers:
        writer.join()
    assert all(numbers == list(range(each)) for numbers in seen.values())


def test_a_reset_forgets_what_waited_and_its_numbers() -> None:
    backlog = Backlog()
    backlog.put_nowait(line("parent's", logging.ERROR))
    backlog.get()
    backlog.put_nowait(line("parent's too"))
    backlog.reset()
    backlog.put_nowait(line("child's"))
    assert read_all(backlog) == [(1, "info", "child's")]


def test_the_overflow_gives_back_what_it_took_in_order() -> None:
    overflow = Overflow()
    assert not overflow
    marker = StatusEvent({"status": "started"})
    items: list[Item] = [line("one"), line("zwö\n"), marker, line("x" * 600_000), line("last")]
    for item in items:
        overflow.append(item)
    overflow.append(Gap(3))
    overflow.skip(2)
    taken = list(overflow.read())
    assert taken[:5] == [tuple(item) if isinstance(item, tuple) else item for item in items]
    (gap,) = taken[5:]
    assert isinstance(gap, Gap)
    assert gap.count == 5
    assert not overflow
    overflow.append(line("anew"))
    assert [item[2] for item in overflow.read() if isinstance(item, tuple)] == ["anew"]


def test_a_line_that_the_disk_does_not_take_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    overflow = Overflow()
    overflow.append(line("lost"))
    overflow.append(line("lost too"))
    (gap,) = overflow.read()
    assert isinstance(gap, Gap)
    assert gap.count == 2


def test_the_size_of_a_line_counts_what_is_sent() -> None:
    encoded = wire.encode_line((25, time.time(), ""))
    assert len(encoded) + 2 == wire.LINE_BYTES
