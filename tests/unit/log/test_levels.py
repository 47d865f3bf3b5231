from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from nvoi.log import levels


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


@pytest.mark.parametrize(
    ("method", "number", "name"),
    [("step", 22, "STEP"), ("ok", 23, "OK"), ("success", 25, "SUCCESS")],
)
def test_each_added_level_has_a_method_a_number_and_a_name(
    logger: levels.Logger, method: str, number: int, name: str
) -> None:
    collector = Collector()
    logger.addHandler(collector)
    getattr(logger, method)("part %d of %s", 1, "all")
    (record,) = collector.records
    assert (record.levelno, record.levelname) == (number, name)
    assert record.getMessage() == "part 1 of all"


def test_a_record_names_its_caller(logger: levels.Logger) -> None:
    collector = Collector()
    logger.addHandler(collector)

    def deploy() -> None:
        logger.step("here")
        logger.info("and here")

    deploy()
    step, info = collector.records
    assert step.pathname == info.pathname == __file__
    assert step.funcName == info.funcName == "deploy"
    assert step.lineno == info.lineno - 1


def test_a_wrapper_names_its_own_caller_with_stacklevel(logger: levels.Logger) -> None:
    collector = Collector()
    logger.addHandler(collector)

    def wrapper() -> None:
        logger.ok("done", stacklevel=2)

    def caller() -> None:
        wrapper()

    caller()
    assert collector.records[0].funcName == "caller"


def test_a_level_below_the_loggers_is_not_logged(logger: levels.Logger) -> None:
    collector = Collector()
    logger.addHandler(collector)
    logger.setLevel(levels.OK)
    logger.step("too low")
    logger.ok("high enough")
    assert [record.getMessage() for record in collector.records] == ["high enough"]


def run_python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("imports", ["import logging, nvoi", "import nvoi, logging"])
def test_loggers_made_before_and_after_the_import_have_the_methods(imports: str) -> None:
    code = f"""
import sys
if "logging" in {imports.split()[1:]!r}[0]:
    import logging
    logging.getLogger("nvoi.before.deep")
{imports}
for name in ("nvoi", "nvoi.before.deep", "nvoi.before", "nvoi.after", "nvoi.after.deep"):
    logger = logging.getLogger(name)
    for method in ("step", "ok", "success"):
        getattr(logger, method)("x")
print("fine")
"""
    assert run_python(code) == "fine\n"


def test_importing_nvoi_leaves_other_loggers_and_the_global_class_alone() -> None:
    code = """
import logging
before = set(dir(logging.Logger)), logging.getLoggerClass(), logging.root.handlers[:]
import nvoi, threading
assert (set(dir(logging.Logger)), logging.getLoggerClass(), logging.root.handlers) == before
assert type(logging.getLogger("other")) is logging.Logger
assert type(logging.getLogger("nvoice")) is logging.Logger
assert not hasattr(logging.getLogger("other"), "step")
assert [type(handler) for handler in logging.getLogger("nvoi").handlers] == [logging.NullHandler]
assert logging.getLogger("nvoi").level == logging.NOTSET
assert threading.active_count() == 1
print("fine")
"""
    assert run_python(code) == "fine\n"


def test_a_users_own_logger_class_keeps_its_methods_below_nvoi() -> None:
    code = """
import logging
class Mine(logging.Logger):
    def shout(self, text):
        self.warning(text.upper())
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
print("fine")
"""
    assert run_python(code) == "fine\n"


def test_importing_nvoi_does_not_import_logging() -> None:
    assert run_python("import sys, nvoi; print('logging' in sys.modules)") == "False\n"
