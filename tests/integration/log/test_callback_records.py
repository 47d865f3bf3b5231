"""No record, filter, formatter or handler of a program's own stands in the way of the next line."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from nvoi import SignedHTTPHandler, protocol
from nvoi.log.counts import marked_as_sender
from tests.fakes import behaviours
from tests.fakes.receiver import Receiver
from tests.integration.log.accounts import gather, get_messages, read_records
from tests.integration.streams import KEY, Run
from tests.waiting import PATIENCE

pytestmark = pytest.mark.usefixtures("bare_network")


@pytest.fixture
def run(receiver: Receiver, tmp_path: Path) -> Run:
    return Run(receiver.url, tmp_path, budget=20.0, level=logging.DEBUG)


@pytest.fixture
def apart() -> logging.Logger:
    """A plain logger that no other has to do with."""
    logger = logging.getLogger(f"apart.{uuid.uuid4().hex}")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    return logger


def build_record(**fields: Any) -> logging.LogRecord:
    """A record as a program makes it from what it was sent: with fields that no logger sets."""
    return logging.makeLogRecord(
        {"msg": "odd", "levelno": logging.INFO, "levelname": "INFO"} | fields
    )


class Strange:
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compares to nothing")

    __hash__ = object.__hash__


@pytest.mark.parametrize(
    "fields",
    [
        {"levelno": None, "levelname": "Level None"},
        {"levelno": "INFO"},
        {"levelno": "no such level"},
        {"levelno": Strange()},
        {"created": None},
        {"created": "2024-01-15T10:30:00Z"},
        {"created": float("nan")},
        {"created": float("inf")},
        {"created": 1e300},
        {"created": 1e12},
        {"created": 10**400},
        {"created": -1e12},
        {"created": -1.0},
        {"created": Strange()},
        {"created": datetime(1, 1, 1, tzinfo=UTC)},
        {"created": datetime(9999, 12, 31, 23, 30, tzinfo=timezone(-timedelta(hours=1)))},
        {"threadName": None},
        {"threadName": Strange()},
        {"name": Strange()},
        {"name": "urllib3.x", "threadName": Strange()},
        {"args": None},
        {"args": "text"},
        {"args": 1},
        {"args": {"a": Strange()}},
        {"exc_info": None, "stack_info": Strange()},
    ],
)
def test_a_record_with_a_field_of_any_kind_arrives_with_those_around_it(
    run: Run, receiver: Receiver, fields: dict[str, Any]
) -> None:
    with run:
        run.log.info("before")
        run.log.handle(build_record(**fields))
        run.stream.handler.handle(build_record(**fields))
        run.log.info("after")
    receiver.assert_protocol()
    before, first, second, after = receiver.messages
    assert (before, after) == ("before", "after")
    assert first.startswith("odd")
    assert second.startswith("odd")
    # Its time is now where it tells none that the protocol can write.
    now = datetime.now(UTC)
    times = [datetime.fromisoformat(line["logged_at"]) for line in receiver.lines]
    assert all(abs(now - time) < timedelta(minutes=5) for time in times)


@pytest.mark.parametrize(
    "field", ["name", "levelno", "created", "threadName", "exc_info", "stack_info"]
)
def test_a_record_with_a_field_that_cannot_be_read_arrives(
    run: Run, receiver: Receiver, field: str
) -> None:
    hidden = property(fail, lambda self, value: None)
    kind = type("Hidden", (logging.LogRecord,), {field: hidden})
    with run:
        for taker in (run.log, run.stream.handler):
            record: Any = object.__new__(kind)
            record.__dict__.update(build_record().__dict__)
            taker.handle(record)
    receiver.assert_protocol()
    assert [message.split()[0] for message in receiver.messages] == ["odd", "odd"]


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2024, 1, 15, 10, 30, 0, 123000, tzinfo=UTC), "2024-01-15T10:30:00.123Z"),
        (1705314600, "2024-01-15T10:30:00.000Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (253402300799.0, "9999-12-31T23:59:59.000Z"),
    ],
)
def test_a_record_may_tell_its_time_as_any_number_or_a_datetime(
    run: Run, receiver: Receiver, moment: object, text: str
) -> None:
    with run:
        run.log.handle(build_record(created=moment))
    assert [line["logged_at"] for line in receiver.lines] == [text]


class Answering(logging.LogRecord):
    """A record whose message is whatever it was given, or an error that it raises."""

    def __init__(self, answer: object) -> None:
        super().__init__("nvoi.x", logging.INFO, "x.py", 1, "odd", None, None)
        self.answer = answer

    def getMessage(self) -> Any:  # noqa: N802 - the name in logging
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, "None"),
        (b"bytes", "b'bytes'"),
        (12, "12"),
        (["list"], "['list']"),
        (RecursionError(), "odd"),
        (RuntimeError("no message"), "odd"),
    ],
)
def test_a_record_whose_message_is_no_text_arrives_as_one(
    run: Run, receiver: Receiver, answer: object, text: str
) -> None:
    with run:
        run.log.info("before")
        run.log.handle(Answering(answer))
        run.stream.handler.handle(Answering(answer))
        run.log.info("after")
    receiver.assert_protocol()
    before, first, second, after = receiver.messages
    assert (before, after) == ("before", "after")
    assert text in first
    assert text in second


# -- what a program adds to loggers and handlers -----------------------------------------------


def fail(*_: object) -> Any:
    """A filter, a handler or a formatter that is broken."""
    raise RuntimeError("of the program's own")


class Failing(logging.Handler):
    """A handler that is broken, and does not catch it."""

    handle: Any = fail


@contextmanager
def adding(logger: logging.Logger, *, handler: logging.Handler) -> Iterator[None]:
    """``handler`` on ``logger`` for as long as the block lasts."""
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def filtering(
    filterer: logging.Filterer, function: Callable[[logging.LogRecord], bool]
) -> Iterator[None]:
    """``function`` as a filter of a logger or a handler for as long as the block lasts."""
    filterer.addFilter(function)
    try:
        yield
    finally:
        filterer.removeFilter(function)


@pytest.mark.parametrize("name", ["nvoi.callback", "nvoi", None])
def test_a_filter_and_a_handler_that_fail_on_what_the_callback_tells_cost_no_line(
    run: Run, receiver: Receiver, name: str | None
) -> None:
    receiver.script(behaviours.OK, behaviours.Answer(500), behaviours.Garbage())
    logger = logging.getLogger(name)
    with adding(logger, handler=Failing()), filtering(logger, fail), run:
        run.log.info("before")
        run.stream.handler.flush()
        run.log.info("after")
    receiver.assert_protocol()
    assert receiver.messages == ["before", "after"]
    assert [status["status"] for status in receiver.statuses] == ["started", "completed"]
    assert run.stream.stats().retries == 2


def test_a_filter_of_the_streams_handler_that_fails_lets_each_line_pass_and_is_told_once(
    run: Run, receiver: Receiver, told: list[str]
) -> None:
    with run, filtering(run.stream.handler, fail):
        run.log.info("one")
        run.log.info("two")
    receiver.assert_protocol()
    assert receiver.messages == ["one", "two"]
    assert run.stream.stats().troubles == {"filter": 2}
    assert sum("a filter of its handler failed: RuntimeError" in text for text in told) == 1


def test_filters_and_the_level_of_a_streams_handler_can_be_set_and_taken_back(
    run: Run, receiver: Receiver
) -> None:
    handler = run.stream.handler
    with run:
        with filtering(handler, lambda record: "secret" not in record.getMessage()):
            run.log.info("one secret")
            run.log.info("one")
        run.log.info("two secret")
        handler.setLevel(logging.ERROR)
        run.log.warning("too low")
        run.log.error("three")
        handler.setLevel("DEBUG")
        run.log.debug("four")
    receiver.assert_protocol()
    assert receiver.messages == ["one", "two secret", "three", "four"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a filter answers yes or no before 3.12")
def test_a_filter_may_answer_with_another_record(run: Run, receiver: Receiver) -> None:
    def replace(record: logging.LogRecord) -> Any:
        return build_record(msg=f"in place of {record.getMessage()}")

    with run, filtering(run.stream.handler, replace):
        run.log.info("this")
    assert receiver.messages == ["in place of this"]


def test_what_a_formatter_makes_is_masked_and_clean(receiver: Receiver, tmp_path: Path) -> None:
    run = Run(receiver.url, tmp_path, secrets=["hunter22"])
    with run:
        run.stream.handler.setFormatter(logging.Formatter("\x1b[1m%(levelname)s\x1b[0m %(extra)s"))
        run.log.info("x", extra={"extra": "hunter\x1b[1m22\x00"})
        run.stream.handler.setFormatter(None)
        run.log.info("plain")
    receiver.assert_protocol()
    assert receiver.messages == ["INFO [REDACTED]\ufffd", "plain"]


def test_a_formatter_that_fails_costs_nothing(run: Run, receiver: Receiver) -> None:
    class Broken(logging.Formatter):
        format: Any = fail

    with run:
        run.stream.handler.setFormatter(Broken())
        run.log.info("%s", "one")
        run.stream.handler.setFormatter(logging.Formatter("%(nowhere)s"))
        run.log.info("%s", "two")
    receiver.assert_protocol()
    assert receiver.messages == ["one", "two"]


def test_an_argument_is_asked_for_its_text_no_more_often_than_by_the_standard_library(
    run: Run, receiver: Receiver
) -> None:
    class Counting:
        def __init__(self) -> None:
            self.asked = 0

        def __str__(self) -> str:
            self.asked += 1
            return "text"

    class Console(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            self.format(record)

    counting = Counting()
    with run, adding(run.log, handler=Console()):
        run.log.error("%s", counting)
        # The standard library asks once for each handler.
        assert counting.asked <= len(run.log.handlers)
    assert receiver.messages == ["text"]


# -- receivers that refuse ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 422, 413])
def test_a_receiver_that_refuses_everything_is_given_up_after_20_requests(
    receiver: Receiver, tmp_path: Path, told: list[str], status: int
) -> None:
    receiver.always(behaviours.Answer(status))
    run = Run(receiver.url, tmp_path, budget=20.0)
    with run:
        for number in range(200):
            run.log.info("line %d", number)
    assert len(receiver.requests) == 20
    assert sum("nothing more is sent to it in this run" in text for text in told) == 1
    assert get_messages(read_records(run.file)) == [f"line {number}" for number in range(200)]
    stats = run.stream.stats()
    assert (stats.logged, stats.dropped, stats.undelivered) == (200, 200, 200)


@pytest.mark.parametrize("poisoned", [range(40, 48), range(5, 300, 7)])
def test_a_few_lines_that_are_refused_do_not_end_a_run_that_is_well(
    receiver: Receiver, tmp_path: Path, told: list[str], poisoned: range
) -> None:
    receiver.always(behaviours.RefuseRecord(lambda record: "poison" in record["message"]))
    run = Run(receiver.url, tmp_path, budget=20.0)
    lines = [f"{'poison' if number in poisoned else 'line'} {number}" for number in range(300)]
    with run:
        for line in lines:
            run.log.info(line)
    receiver.assert_protocol()
    assert receiver.messages == [line for line in lines if "poison" not in line]
    assert get_messages(read_records(run.file)) == [line for line in lines if "poison" in line]
    assert get_messages(gather(receiver, run.file)) == lines
    terminal = receiver.accepted[-1].headers
    counts = [terminal["X-Nvoi-Log-Count"], terminal["X-Nvoi-Log-Dropped"]]
    assert counts == ["300", str(len(poisoned))]
    assert sum("422" in text for text in told) == 1
    assert run.stream.stats().dropped == len(poisoned)


# -- accounts ----------------------------------------------------------------------------------


def test_the_accounts_are_right_during_a_run_and_after_it(
    receiver: Receiver, tmp_path: Path
) -> None:
    run = Run(receiver.url, tmp_path, budget=1.0)
    with run:
        run.log.info("one")
        run.stream.handler.flush()
        before = run.stream.stats()
        assert (before.logged, before.delivered, before.dropped) == (1, 1, 0)
        receiver.pause()
        run.log.error("two")
        run.log.error("three")
        run.stream.handler.flush(0.2)
        during = run.stream.stats()
        assert (during.logged, during.delivered, during.dropped) == (3, 1, 0)
    after = run.stream.stats()
    assert (after.logged, after.delivered, after.dropped, after.undelivered) == (3, 1, 2, 2)


def test_a_handler_that_is_logged_to_after_its_close_goes_on(
    apart: logging.Logger, tmp_path: Path
) -> None:
    with Receiver(KEY, whole_runs=False) as receiver:
        handler = SignedHTTPHandler(receiver.url, KEY, "run-1", budget=2.0, undelivered=tmp_path)
        apart.addHandler(handler)
        apart.info("one")
        handler.close()
        assert (handler.stats().logged, handler.stats().delivered) == (1, 1)
        receiver.always(behaviours.Answer(422))
        apart.info("two")
        handler.close()
        file = handler.undelivered_file
        receiver.always(behaviours.OK)
        apart.info("three")
        handler.flush()
        reused = handler.stats()
        assert (reused.logged, reused.delivered, reused.dropped) == (3, 2, 1)
        receiver.always(behaviours.Answer(422))
        apart.info("four")
        handler.close()
        stats = handler.stats()
        assert (stats.logged, stats.delivered, stats.dropped, stats.undelivered) == (4, 2, 2, 2)
        receiver.assert_protocol()
        numbers = [request.sequence for request in receiver.requests]
        assert numbers == [(number, number) for number in (1, 2, 3, 4)]
    assert handler.undelivered_file == file
    assert get_messages(read_records(file)) == ["two", "four"]


def test_nothing_follows_the_terminal_status_though_threads_log_on(
    run: Run, receiver: Receiver
) -> None:
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(0.0002):
            run.log.info("on and on")

    threads = [threading.Thread(target=talk) for _ in range(4)]
    with run:
        for thread in threads:
            thread.start()
        receiver.wait_for(lambda it: len(it.lines) > 100)
    stop.set()
    for thread in threads:
        thread.join()
    receiver.assert_protocol()
    assert receiver.requests[-1].state == "completed"
    assert run.stream.stats().dropped == 0


def test_an_end_of_a_run_that_ctrl_c_cuts_in_two_is_told_once(run: Run, receiver: Receiver) -> None:
    with run:
        run.log.info("one")
        # As far as completed() gets before the stream knows of it.
        run.stream.handler.put_status(protocol.build_completed([], 1))
    receiver.assert_protocol()
    assert receiver.messages == ["one"]
    assert receiver.statuses[-1]["duration_seconds"] == 1
    assert run.stream.stats().terminal_delivered


def test_nothing_follows_the_end_of_a_run_whoever_has_its_handler(
    run: Run, receiver: Receiver, apart: logging.Logger
) -> None:
    apart.addHandler(run.stream.handler)
    with run:
        apart.info("one")
    threads = threading.enumerate()
    apart.info("late")
    assert set(threading.enumerate()) <= set(threads)
    if (child := os.fork()) == 0:
        apart.info("late in a child")
        run.stream.handler.close()
        os._exit(0)
    os.waitpid(child, 0)
    run.stream.handler.close()
    receiver.assert_protocol()
    assert receiver.messages == ["one"]


class Unreadable(dict[str, object]):
    """A mapping whose truth is nobody's to know."""

    def __bool__(self) -> bool:
        raise RuntimeError("no")


class Faceless:
    """Says of no class that it is its own."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("no")


def test_what_logging_itself_stumbles_over_arrives_all_the_same(
    receiver: Receiver, tmp_path: Path
) -> None:
    with Run(receiver.url, tmp_path) as run:
        run.log.info("a mapping: %s", Unreadable(a=1))
        run.log.info("a class: %s", Faceless())
        taken = {"message": "x", "name": "y"}
        run.log.info("a field that every record has", extra=taken)
        run.log.info("after")
    receiver.assert_protocol()
    mapping, faceless, field, after = receiver.messages
    assert mapping == "a mapping: {'a': 1}"
    assert faceless.startswith("a class: ")
    assert (field, after) == ("a field that every record has", "after")


def test_a_sign_for_the_listener_to_stop_is_never_sent(
    apart: logging.Logger, bare: Receiver, tmp_path: Path
) -> None:
    handler = SignedHTTPHandler(bare.url, KEY, "run-1", budget=2.0, undelivered=tmp_path)
    apart.addHandler(handler)
    # As the standard listener puts it into its queue.
    handler.queue_handler.queue.put(None)
    handler.close()
    assert handler.stats().troubles == {}
    assert bare.requests == []


def test_an_item_that_is_no_line_costs_no_other(run: Run, receiver: Receiver) -> None:
    with run:
        # As a class of the program's own may prepare it.
        run.stream.handler.queue_handler.enqueue((logging.INFO,))
        run.log.info("after")
    receiver.assert_protocol()
    assert receiver.messages == ["after"]
    assert run.stream.stats().troubles == {"fault": 1}


def test_who_hears_of_trouble_may_flush_and_close_the_handler_it_is_with(
    apart: logging.Logger, bare: Receiver, tmp_path: Path
) -> None:
    handler = SignedHTTPHandler(bare.url, KEY, "run-1", budget=20.0, undelivered=tmp_path)
    seconds: list[float] = []

    class Closing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            began = time.monotonic()
            handler.flush(PATIENCE)
            handler.close()
            seconds.append(time.monotonic() - began)

    bare.script(behaviours.Answer(503))
    apart.addHandler(handler)
    hearing, callback = Closing(), logging.getLogger("nvoi.callback")
    callback.addHandler(hearing)
    try:
        apart.info("one")
        bare.wait_for(lambda it: it.messages == ["one"])
    finally:
        callback.removeHandler(hearing)
        handler.close()
    assert len(seconds) == 1
    assert seconds[0] < PATIENCE
    assert handler.stats().dropped == 0


def test_what_a_finaliser_logs_on_a_sender_s_thread_arrives(
    receiver: Receiver, tmp_path: Path
) -> None:
    """The collector runs on whichever thread allocates: in a quiet program, the sender's."""
    with Run(receiver.url, tmp_path) as run, marked_as_sender():
        run.log.warning("a connection was not closed")
        logging.getLogger("urllib3.connectionpool").warning("of the sending itself")
    receiver.assert_protocol()
    assert receiver.messages == ["a connection was not closed"]


def test_a_handler_that_threads_close_while_others_log_loses_and_doubles_nothing(
    apart: logging.Logger, tmp_path: Path
) -> None:
    lines, stop = 4000, threading.Event()
    with Receiver(KEY, whole_runs=False) as receiver:
        handler = SignedHTTPHandler(receiver.url, KEY, "run-1", budget=10.0, undelivered=tmp_path)
        apart.addHandler(handler)

        def talk(thread: int) -> None:
            for number in range(lines):
                apart.info("%d:%d", thread, number)

        def close() -> None:
            while not stop.wait(0.005):
                handler.close()

        talkers = [threading.Thread(target=talk, args=(number,)) for number in range(3)]
        closers = [threading.Thread(target=close) for _ in range(2)]
        for thread in (*closers, *talkers):
            thread.start()
        for thread in talkers:
            thread.join()
        stop.set()
        for thread in closers:
            thread.join()
        handler.close()
        receiver.assert_protocol()
        for talker in range(3):
            own = [line for line in receiver.messages if line.startswith(f"{talker}:")]
            assert own == [f"{talker}:{number}" for number in range(lines)]
        stats = handler.stats()
        assert (stats.logged, stats.delivered, stats.dropped) == (3 * lines, 3 * lines, 0)


def test_a_run_is_told_of_with_whatever_it_is_named_by(receiver: Receiver, tmp_path: Path) -> None:
    context = {"dirty": True, "git_sha": b"abc", "git_ref": 5, "ci_run_url": None}
    run = Run(receiver.url, tmp_path, context=context, app=7, secrets=None)
    with run:
        run.stream.completed([("web", None)], float("nan"))  # type: ignore[list-item]  # as it comes
    receiver.assert_protocol()
    started, completed = receiver.statuses
    assert started["git_ref"] == "5"
    assert receiver.requests[0].headers["X-Nvoi-Dirty"] == "1"
    assert receiver.requests[0].headers["X-Nvoi-App"] == "7"
    assert completed["duration_seconds"] == 0


def test_lines_are_kept_elsewhere_where_the_folder_s_name_is_none(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    receiver.always(behaviours.Answer(401))
    with Run(receiver.url, Path("a\0b")) as run:
        run.log.info("kept")
    assert run.get_file().parent == tmp_path
    assert get_messages(read_records(run.file)) == ["kept"]


def test_the_password_of_the_callback_url_is_masked(receiver: Receiver, tmp_path: Path) -> None:
    url = receiver.url.replace("://", "://user:Hunter%2FPass@")
    with Run(url, tmp_path) as run:
        run.log.info("calling %s by Hunter/Pass", url)
    assert "Hunter" not in receiver.messages[0]
