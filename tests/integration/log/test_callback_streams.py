"""Several streams, loggers of any name, and logging that is set up anew while they are open."""

from __future__ import annotations

import itertools
import logging
import logging.config
import queue
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from typing import Any

import pytest

from nvoi import CallbackStream
from nvoi.errors import UsageError
from tests.fakes.receiver import Receiver
from tests.integration.log import children, scenarios
from tests.integration.streams import KEY

pytestmark = pytest.mark.usefixtures("bare_network", "own_logging")


@pytest.fixture
def own_logging() -> Iterator[None]:
    """What a configuration changes on loggers that other tests use is given back."""
    before = {each: (each.level, list(each.handlers), each.disabled) for each in find_loggers()}
    yield
    for logger in find_loggers():
        level, handlers, disabled = before.get(logger, (logging.NOTSET, [], False))
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.disabled = disabled


def find_loggers() -> list[logging.Logger]:
    root = logging.getLogger()
    made = root.manager.loggerDict.values()
    return [root, *(each for each in made if isinstance(each, logging.Logger))]


@pytest.fixture
def name() -> str:
    """The name of a logger that no other test has used."""
    return f"shop{uuid.uuid4().hex}"


@pytest.fixture
def streams(receiver: Receiver, tmp_path: Path) -> Streams:
    return Streams(receiver, tmp_path)


class Streams:
    """Makes streams to one receiver, and tells their lines apart by their deploy ids."""

    def __init__(self, receiver: Receiver, folder: Path) -> None:
        self._receiver = receiver
        self._folder = folder

    def build(
        self, logger: str | logging.Logger, deploy_id: str = "run-1", **settings: Any
    ) -> CallbackStream:
        """A stream that is not started yet."""
        settings = {"budget": 20.0, "undelivered": self._folder, **settings}
        return CallbackStream(logger, self._receiver.url, KEY, deploy_id, **settings)

    def get_lines(self, deploy_id: str = "run-1") -> list[str]:
        """The messages of one run, in the order of their arrival."""
        return [
            record["message"]
            for request in self._receiver.accepted
            if request.deploy_id == deploy_id
            for record in request.records
        ]


# -- several streams ---------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_streams_on_one_logger_end_in_any_order_and_each_keeps_its_level(
    streams: Streams, receiver: Receiver, name: str, order: tuple[int, ...]
) -> None:
    logger = logging.getLogger(name)
    logger.setLevel(logging.ERROR)
    levels = [logging.DEBUG, logging.INFO, logging.WARNING]
    opened = [
        streams.build(logger, f"run-{number}", level=level) for number, level in enumerate(levels)
    ]
    for stream in opened:
        stream.started()
    expected: dict[int, list[str]] = {number: [] for number in range(3)}
    left = set(range(3))
    for ended in (*order, None):
        for level in (*levels, logging.ERROR):
            text = f"{level} before the end of {ended}"
            logger.log(level, text)
            for number in left:
                if level >= levels[number]:
                    expected[number].append(text)
        if ended is not None:
            opened[ended].completed()
            left.remove(ended)
    assert {number: streams.get_lines(f"run-{number}") for number in range(3)} == expected
    receiver.assert_protocol()
    assert logger.level == logging.ERROR
    assert (logger.handlers, type(logger)) == ([], logging.Logger)
    assert not logger.isEnabledFor(logging.WARNING)


@pytest.mark.parametrize("first", ["parent", "child"])
def test_streams_on_a_logger_and_below_it_do_not_depend_on_each_other(
    streams: Streams, receiver: Receiver, name: str, first: str
) -> None:
    parent, child = logging.getLogger(name), logging.getLogger(f"{name}.db")
    parent.setLevel(logging.WARNING)
    opened = {
        "parent": streams.build(parent, "run-parent"),
        "child": streams.build(child, "run-child"),
    }
    for stream in opened.values():
        stream.started()
    child.info("to both")
    opened.pop(first).completed()
    child.info("to the other")
    parent.info("of the parent")
    for stream in opened.values():
        stream.completed()
    both, other, parents = "to both", "to the other", "of the parent"
    assert streams.get_lines("run-parent") == (
        [both] if first == "parent" else [both, other, parents]
    )
    assert streams.get_lines("run-child") == ([both, other] if first == "parent" else [both])
    receiver.assert_protocol()
    assert [type(logger) for logger in (parent, child)] == [logging.Logger] * 2
    assert not child.isEnabledFor(logging.INFO)


def test_threads_that_open_and_end_streams_at_the_same_time_lose_nothing(
    streams: Streams, receiver: Receiver, name: str
) -> None:
    logger = logging.getLogger(name)
    logger.setLevel(logging.CRITICAL)
    start = threading.Barrier(8)

    def work(worker: int) -> None:
        start.wait()
        for turn in range(5):
            with streams.build(logger, f"run-{worker}-{turn}"):
                logger.info("of %d-%d", worker, turn)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    receiver.assert_protocol()
    for worker, turn in itertools.product(range(8), range(5)):
        assert f"of {worker}-{turn}" in streams.get_lines(f"run-{worker}-{turn}")
    assert (logger.level, logger.handlers, type(logger)) == (logging.CRITICAL, [], logging.Logger)


def test_two_threads_that_end_one_run_send_one_terminal_status(
    streams: Streams, receiver: Receiver, name: str
) -> None:
    for turn in range(10):
        stream = streams.build(name, f"run-{turn}")
        start = threading.Barrier(4)

        def end(stream: CallbackStream = stream, start: threading.Barrier = start) -> None:
            start.wait()
            stream.completed()
            stream.failed("too late")

        threads = [threading.Thread(target=end) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    receiver.assert_protocol()
    assert len(receiver.statuses) == 20


@pytest.mark.parametrize("use", ["with", "started"])
def test_a_stream_that_is_used_twice_is_an_error(streams: Streams, name: str, use: str) -> None:
    stream = streams.build(name)
    with stream:
        pass
    with pytest.raises(UsageError, match="stream"):
        stream.started() if use == "started" else stream.__enter__()


# -- what is set on a logger while a stream is open ----------------------------------------------


def test_a_level_that_is_set_by_hand_holds_for_the_streams_that_are_open(
    streams: Streams, name: str
) -> None:
    logger = logging.getLogger(name)
    with streams.build(logger, "run-1"), streams.build(logger, "run-2") as second:
        logger.info("one")
        logger.setLevel(logging.WARNING)
        logger.info("dropped")
        second.completed()
        logger.info("dropped too")
        logger.warning("two")
        with streams.build(logger, "run-3"):
            logger.info("three")
    assert logger.level == logging.WARNING
    assert streams.get_lines("run-1") == ["one", "two", "three"]
    assert streams.get_lines("run-3") == ["three"]


def test_a_level_that_a_configuration_sets_is_given_back_and_cuts_no_stream_short(
    streams: Streams, name: str
) -> None:
    logger = logging.getLogger(name)
    logger.setLevel(logging.INFO)
    with streams.build(logger):
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "loggers": {name: {"level": "ERROR"}},
                "root": {"level": "CRITICAL"},
            }
        )
        logger.info("one")
        logging.getLogger(f"{name}.below").info("two")
    assert logger.level == logging.ERROR
    assert not logger.isEnabledFor(logging.WARNING)
    assert streams.get_lines() == ["one", "two"]


def test_a_logger_that_is_disabled_by_hand_is_silent(streams: Streams, name: str) -> None:
    logger, below = logging.getLogger(name), logging.getLogger(f"{name}.below")
    with streams.build(logger):
        logger.disabled = below.disabled = True
        logger.info("nothing")
        below.info("nothing")
        logger.disabled = False
        logger.info("one")
    assert streams.get_lines() == ["one"]
    assert below.disabled


INI = """
[loggers]
keys=root{more}
[handlers]
keys=
[formatters]
keys=
[logger_root]
level=ERROR
handlers=
"""


def configure_nothing(name: str, folder: Path) -> None:
    logging.config.dictConfig({"version": 1})


def configure_the_logger(name: str, folder: Path) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "handlers": {"null": {"class": "logging.NullHandler"}},
            "loggers": {name: {"level": "ERROR", "handlers": ["null"]}},
            "root": {"level": "ERROR", "handlers": ["null"]},
        }
    )


def configure_above(name: str, folder: Path) -> None:
    """The list of handlers of each logger below one that is named is replaced."""
    above = name.rpartition(".")[0]
    logging.config.dictConfig(
        {"version": 1, "disable_existing_loggers": False, "loggers": {above: {"level": "ERROR"}}}
    )


def configure_by_file(name: str, folder: Path) -> None:
    (folder / "logging.ini").write_text(INI.format(more=""))
    logging.config.fileConfig(folder / "logging.ini")


def configure_the_logger_by_file(name: str, folder: Path) -> None:
    section = f"\n[logger_it]\nlevel=ERROR\nhandlers=\nqualname={name.rpartition('.')[0]}\n"
    (folder / "logging.ini").write_text(INI.format(more=",it") + section)
    logging.config.fileConfig(folder / "logging.ini")


def configure_basically(name: str, folder: Path) -> None:
    logging.basicConfig(level=logging.ERROR, handlers=[logging.NullHandler()], force=True)


@pytest.mark.parametrize("top", ["shop", "nvoi.tests", ""], ids=["foreign", "nvoi", "root"])
@pytest.mark.parametrize(
    "configure",
    [
        configure_nothing,
        configure_the_logger,
        configure_above,
        configure_by_file,
        configure_the_logger_by_file,
        configure_basically,
    ],
)
def test_a_configuration_cuts_off_neither_a_streamed_logger_nor_those_below_it(
    streams: Streams, receiver: Receiver, tmp_path: Path, configure: Any, top: str
) -> None:
    unique = f"{top}.{uuid.uuid4().hex}".lstrip(".")
    streamed = logging.getLogger(unique if top else None)
    before = logging.getLogger(f"{unique}.before")
    foreign = logging.getLogger(f"foreign.{uuid.uuid4().hex}")
    with streams.build(streamed), streams.build(streamed, "run-2"):
        during = logging.getLogger(f"{unique}.during")
        for turn in range(2):
            for logger in (streamed, before, during):
                logger.warning("%s %d", logger.name, turn)
            configure(streamed.name, tmp_path)
        after = logging.getLogger(f"{unique}.after")
        for logger in (streamed, before, during, after):
            logger.warning("%s at last", logger.name)
    receiver.assert_protocol()
    names = [streamed.name, before.name, during.name]
    expected = [
        *(f"{each} {turn}" for turn in range(2) for each in names),
        *(f"{each} at last" for each in (*names, after.name)),
    ]
    assert streams.get_lines() == streams.get_lines("run-2") == expected
    # Any other logger is configured as ever.
    if configure is configure_nothing and top:
        assert foreign.disabled


def test_a_configuration_after_the_end_of_a_stream_disables_its_loggers(
    streams: Streams, name: str
) -> None:
    logger = logging.getLogger(name)
    with streams.build(logger):
        below = logging.getLogger(f"{name}.below")
    logging.config.dictConfig({"version": 1})
    assert logger.disabled
    assert below.disabled


class Own(logging.Logger):
    """A class of a program's own, with two methods of nvoi's names."""

    def step(self, text: str) -> str:
        return f"{text} of the class"

    def ok(self, text: str) -> str:
        return f"{text} of the class"


def test_methods_of_a_program_of_the_same_names_stay_its_own(streams: Streams, name: str) -> None:
    logger, child = Own(name), Own(f"{name}.child")
    logger.ok = lambda text: f"{text} of the logger"  # type: ignore[method-assign]  # what is tried
    logging.Logger.manager.loggerDict |= {name: logger, child.name: child}
    child.parent = logger

    def call() -> tuple[str, str, str]:
        return logger.step("x"), logger.ok("x"), child.ok("x")

    expected = ("x of the class", "x of the logger", "x of the class")
    with streams.build(logger):
        assert call() == expected
        logger.success("arrives")  # type: ignore[attr-defined]  # a method of the stream's
        child.success("arrives too")  # type: ignore[attr-defined]  # as above
    assert call() == expected
    assert (type(logger), type(child)) == (Own, Own)
    assert not hasattr(logger, "success")
    assert streams.get_lines() == ["arrives", "arrives too"]


def test_a_logger_that_stands_by_itself_can_be_streamed(streams: Streams) -> None:
    logger = logging.Logger("alone", logging.ERROR)  # noqa: LOG001 - that is what is tried
    with streams.build(logger, secrets=["hunter22"]):
        logger.info("with hunter22")
        logger.step("and a step")  # type: ignore[attr-defined]  # a method of the stream's
    assert streams.get_lines() == ["with [REDACTED]", "and a step"]
    assert (type(logger), logger.level, logger.handlers) == (logging.Logger, logging.ERROR, [])


def test_loggers_beside_a_streamed_one_stay_as_they_were(streams: Streams, name: str) -> None:
    above, beside = logging.getLogger("any"), logging.getLogger(f"any.{name}x")
    with streams.build(f"any.{name}"):
        new = logging.getLogger(f"any.{name}y")
        assert {type(logger) for logger in (above, beside, new)} == {logging.Logger}
        assert type(logging.getLogger()) is logging.RootLogger
    assert type(logging.getLogger(f"any.{name}")) is logging.Logger


# -- what senders log of their own work ----------------------------------------------------------


@contextmanager
def without_threads_in_records() -> Iterator[None]:
    """Records do not say which thread made them."""
    logging.logThreads = False
    try:
        yield
    finally:
        logging.logThreads = True


@pytest.mark.parametrize("with_threads", [True, False])
def test_streams_on_the_root_logger_at_debug_send_nothing_of_their_own_work(
    streams: Streams, receiver: Receiver, *, with_threads: bool
) -> None:
    with ExitStack() as stack:
        if not with_threads:
            stack.enter_context(without_threads_in_records())
        opened = [streams.build("root", f"run-{n}", level=logging.DEBUG) for n in (1, 2)]
        for stream in opened:
            stack.enter_context(stream)
        for number in range(3):
            logging.getLogger("app").debug("line %d", number)
            for stream in opened:
                stream.handler.flush()
    receiver.assert_protocol()
    expected = [f"line {number}" for number in range(3)]
    # The one that is open until the last hears nothing of the end of the other.
    assert streams.get_lines("run-1") == streams.get_lines("run-2") == expected


def test_a_queue_of_the_programs_own_brings_nothing_of_the_senders_work(
    streams: Streams, receiver: Receiver, tmp_path: Path
) -> None:
    root = logging.getLogger()
    root.setLevel(logging.DEBUG)
    inner = [streams.build(f"inner.{n}", f"run-{n}", level=logging.DEBUG) for n in (1, 2)]
    for stream in inner:
        stream.started()
    lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
    handler = QueueHandler(lines)
    listener = QueueListener(lines, *(stream.handler for stream in inner))
    root.addHandler(handler)
    listener.start()
    try:
        # Its summary is logged by this thread, its requests by one of its own.
        with streams.build("apart", "run-3"):
            logging.getLogger("app").debug("one")
            for stream in inner:
                stream.handler.flush()
            logging.getLogger("app").debug("two")
    finally:
        listener.stop()
        root.removeHandler(handler)
    for stream in inner:
        stream.completed()
    receiver.assert_protocol()
    assert streams.get_lines("run-1") == streams.get_lines("run-2") == ["one", "two"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_children_put_into_a_queue_of_the_programs_own_arrives(
    streams: Streams, receiver: Receiver, tmp_path: Path, method: str
) -> None:
    done = scenarios.run(children.log_by_a_queue, receiver, tmp_path, method)
    assert done == (0, "", "")
    receiver.assert_protocol()
    lines = streams.get_lines()
    for child in range(4):
        own = [line for line in lines if line.startswith(f"{child}:")]
        assert own == [f"{child}:{number}" for number in range(50)]
    assert len(lines) == 201
