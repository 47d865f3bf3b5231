from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest

from nvoi.log import levels, masking
from tests.waiting import PATIENCE

SECRET = "9c1f-of-the-levels"


class Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def logger() -> levels.Logger:
    logger = levels.get_logger("nvoi.tests.levels")
    logger.setLevel(logging.DEBUG)
    logger.handlers.clear()
    logger.propagate = False
    return logger


PROGRAMS = {
    "before": """
import logging
logging.getLogger("nvoi.before.deep")
import nvoi
for name in ("nvoi", "nvoi.before.deep", "nvoi.before", "nvoi.after", "nvoi.after.deep"):
    for method in ("step", "ok", "success"):
        getattr(logging.getLogger(name), method)("x")
""",
    "others": """
import logging
before = set(dir(logging.Logger)), logging.getLoggerClass(), logging.root.handlers[:]
import nvoi, sys, threading
assert (set(dir(logging.Logger)), logging.getLoggerClass(), logging.root.handlers) == before
assert type(logging.getLogger("other")) is logging.Logger
assert type(logging.getLogger("nvoice")) is logging.Logger
assert not hasattr(logging.getLogger("other"), "step")
assert [type(handler) for handler in logging.getLogger("nvoi").handlers] == [logging.NullHandler]
assert logging.getLogger("nvoi").level == logging.NOTSET
assert threading.active_count() == 1
assert not {"urllib3", "http.client", "logging.handlers", "ssl"} & sys.modules.keys()
""",
    "class": """
import logging
class Mine(logging.Logger):
    def __init__(self, name):
        super().__init__(name)
    def shout(self, text):
        self.warning(text.upper())
class Last(logging.Logger):
    def __init_subclass__(cls, **_):
        raise TypeError("no class below this one")
logging.setLoggerClass(Mine)
logging.getLogger("nvoi.old")
import nvoi
for name in ("nvoi.old", "nvoi.new"):
    logger = logging.getLogger(name)
    assert isinstance(logger, Mine), name
    logger.shout("x")
    logger.step("x")
assert type(logging.getLogger("other")) is Mine
assert logging.getLoggerClass() is Mine
logging.setLoggerClass(Last)
assert type(logging.getLogger("nvoi.last")) is Last
""",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=list(PROGRAMS))
def test_importing_nvoi_gives_methods_to_its_own_loggers_and_leaves_all_else_alone(
    program: str,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("method", ["step", "ok", "success"])
def test_an_adapter_has_the_methods_with_its_own_extra_fields(
    logger: levels.Logger, method: str
) -> None:
    collector = Collector()
    logger.addHandler(collector)
    adapter = levels.LoggerAdapter(logger, {"request": 7})
    getattr(adapter, method)("part %d", 1)
    (record,) = collector.records
    assert record.getMessage() == "part 1"
    assert record.levelname == method.upper()
    assert record.__dict__["request"] == 7


@pytest.mark.parametrize("adapted", [0, 1, 2])
@pytest.mark.parametrize("plain", [True, False])
def test_a_record_names_its_caller_through_adapters_and_wrappers(
    logger: levels.Logger, adapted: int, *, plain: bool
) -> None:
    collector = Collector()
    own: Any = logging.getLogger("plain.levels") if plain else logger
    own.addHandler(collector)
    own.setLevel(logging.DEBUG)
    if plain:
        # What a stream does for as long as it is open.
        levels.promote(own)
    for _ in range(adapted):
        own = levels.LoggerAdapter(own)

    def wrapper() -> None:
        own.step("of the wrapper's caller", stacklevel=2)

    def caller() -> None:
        own.ok("here")
        own.info("and here")
        wrapper()

    caller()
    ok, info, wrapped = collector.records
    assert [record.funcName for record in collector.records] == ["caller"] * 3
    assert [record.pathname for record in collector.records] == [__file__] * 3
    assert (ok.lineno, wrapped.lineno) == (info.lineno - 1, info.lineno + 1)


class Sealed(logging.Logger):
    """A class that lets no other be made of it."""

    def __init_subclass__(cls) -> None:
        raise RuntimeError("this is the last one")


def test_a_logger_whose_class_cannot_be_changed_is_made_and_logs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging, "_loggerClass", Sealed)
    own = logging.getLogger("nvoi.sealed")
    collector = Collector()
    own.addHandler(collector)
    own.warning("of a class of its own")
    assert type(own) is Sealed
    assert len(collector.records) == 1


@pytest.mark.parametrize(
    ("given", "number"),
    [(20, 20), ("INFO", 20), ("info", 20), ("Success", 25), ("STEP", 22), (0, 0), (17, 17)],
)
def test_a_level_is_found_by_its_number_or_its_name(given: int | str, number: int) -> None:
    assert levels.get_level(given) == number


def test_what_a_filter_of_the_logger_adds_is_masked(logger: levels.Logger) -> None:
    masking.add_secrets(SECRET)

    def add(record: logging.LogRecord) -> bool:
        record.user = SECRET
        record.msg += f" of {SECRET}"
        return True

    collector = Collector()
    logger.addHandler(collector)
    logger.addFilter(add)
    try:
        logger.info("hello")
    finally:
        logger.removeFilter(add)
    (record,) = collector.records
    assert SECRET not in f"{record.__dict__}"
    assert record.getMessage() == "hello of [REDACTED]"


def test_filters_and_handlers_that_fail_cost_no_record_and_raise_nothing(
    logger: levels.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    masking.add_secrets(SECRET)

    def fail(record: logging.LogRecord) -> bool:
        raise RuntimeError("a filter's own")

    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise RuntimeError("a handler's own")

    class Leaving(Collector):
        def emit(self, record: logging.LogRecord) -> None:
            super().emit(record)
            logger.removeHandler(self)

    leaving, collector = Leaving(), Collector()
    for handler in (Broken(), leaving, collector):
        logger.addHandler(handler)
    logger.addFilter(fail)
    try:
        logger.info("one of %s", SECRET)
        logger.info("two")
    finally:
        logger.removeFilter(fail)
    assert [record.getMessage() for record in leaving.records] == ["one of [REDACTED]"]
    assert [record.getMessage() for record in collector.records] == ["one of [REDACTED]", "two"]
    told = capsys.readouterr().err
    reasons = [told.count(f"RuntimeError: a {what}'s own") for what in ("filter", "handler")]
    assert reasons == [2, 2]
    assert SECRET not in told


def test_a_record_factory_that_fails_costs_no_line(logger: levels.Logger) -> None:
    def fail(*_: Any, **__: Any) -> logging.LogRecord:
        raise KeyError("outside of a request")

    collector = Collector()
    logger.addHandler(collector)
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(fail)
    try:
        logger.warning("part %d", 1)
    finally:
        logging.setLogRecordFactory(before)
    (record,) = collector.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "part 1")


@pytest.mark.parametrize(
    ("level", "number"), [(40.0, 40), ("40", 40), ("error", 40), (None, 20), ("?", 20), ([], 20)]
)
def test_the_level_of_a_record_that_a_program_put_together_is_read_as_far_as_it_can_be(
    logger: levels.Logger, level: object, number: int
) -> None:
    collector = Collector()
    logger.addHandler(collector)
    logger.handle(logging.makeLogRecord({"msg": "x", "levelno": level}))
    without = logging.makeLogRecord({"msg": "y"})
    del without.levelno
    logger.handle(without)
    assert [record.levelno for record in collector.records] == [number, logging.INFO]
