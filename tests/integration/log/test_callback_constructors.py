"""What a handler or a stream is made with: refused at once and without a trace, or it works."""

from __future__ import annotations

import logging
import os
import pwd
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nvoi import CallbackStream, SignedHTTPHandler
from nvoi.errors import UsageError
from tests.fakes import behaviours
from tests.fakes.receiver import Receiver
from tests.integration.commands import App
from tests.integration.log.accounts import get_messages, read_records
from tests.integration.log.scenarios import run_program
from tests.integration.streams import KEY, Run

pytestmark = pytest.mark.usefixtures("bare_network")

REFUSED: list[dict[str, Any]] = [
    {"url": "ftp://dashboard.test/"},
    {"url": "http://dashboard.test/?a=b"},
    {"url": ""},
    {"url": None},
    {"deploy_id": None},
    {"deploy_id": 42},
    {"deploy_id": ".."},
    {"deploy_id": "a\nb"},
    {"level": "no such level"},
    {"level": None},
    {"level": 1.5},
    {"budget": -1},
    {"budget": -0.1},
    {"budget": float("nan")},
    {"budget": float("-inf")},
    {"budget": "10"},
    {"budget": None},
    {"key": ""},
    {"key": None},
    {"capacity": 0},
    {"capacity": "16"},
]


@pytest.mark.parametrize("made", ["handler", "stream"])
@pytest.mark.parametrize("refused", REFUSED, ids=str)
def test_what_cannot_be_used_is_refused_and_leaves_nothing_behind(
    made: str, refused: dict[str, Any]
) -> None:
    arguments = {"url": "http://127.0.0.1:1/", "key": KEY, "deploy_id": "run-1"} | refused
    logger = logging.getLogger("nvoi.tests.refused")
    handlers, threads = list(logging._handlerList), threading.active_count()  # type: ignore[attr-defined]  # what logging.shutdown goes by
    make = SignedHTTPHandler if made == "handler" else partial(CallbackStream, logger)
    with pytest.raises(UsageError) as caught:
        make(**arguments)
    # The error's traceback still has what was half built.
    assert caught.value.exit_code == 2
    assert logging._handlerList == handlers  # type: ignore[attr-defined]  # as above
    assert threading.active_count() == threads
    assert logger.handlers == []


#: The error is kept, as an interactive interpreter keeps it, until the end.
AT_EXIT = """
import logging.handlers, sys
from nvoi import CallbackStream, SignedHTTPHandler
url, folder = sys.argv[1:]
buffered = logging.handlers.MemoryHandler(100, target=logging.FileHandler(f"{folder}/log"))
logger = logging.getLogger("app")
logger.addHandler(buffered)
errors = []
for refused in (
    {"url": "ftp://x"},
    {"deploy_id": ""},
    {"level": "no such level"},
    {"budget": -1},
    {"undelivered": None},
    {"key": None},
):
    arguments = {"url": url, "key": "KEY", "deploy_id": "run-1"} | refused
    for make in (SignedHTTPHandler, lambda **them: CallbackStream("app", **them)):
        try:
            make(**arguments)
        except Exception as error:
            errors.append(error)
logger.error("buffered")
print(len(errors))
"""


def test_a_refused_one_does_not_disturb_the_end_of_the_process(tmp_path: Path) -> None:
    assert run_program(AT_EXIT, "http://127.0.0.1:1/", tmp_path) == (0, "12\n", "")
    assert (tmp_path / "log").read_text() == "buffered\n"


def test_a_level_of_the_programs_own_has_its_name(receiver: Receiver, tmp_path: Path) -> None:
    logging.addLevelName(5, "trace")
    run = Run(receiver.url, tmp_path, level="trace")
    with run:
        run.log.log(5, "one")
    assert receiver.messages == ["one"]
    assert SignedHTTPHandler(receiver.url, KEY, "run-1", "trace").level == 5


@pytest.mark.parametrize("secrets", ["hunter22", ["hunter22"], {"hunter22": 1}, ("hunter22",)])
def test_secrets_may_be_one_value_or_several(
    receiver: Receiver, tmp_path: Path, secrets: Any
) -> None:
    run = Run(receiver.url, tmp_path, secrets=secrets)
    with run:
        run.log.info("signing in with hunter22")
    assert receiver.messages == ["signing in with [REDACTED]"]


@pytest.mark.parametrize(
    "budget",
    [float("inf"), 1e11, 10**11, 1e300, pytest.param(10**400, id="more-than-a-float")],
)
def test_a_budget_may_be_as_long_as_it_takes(
    receiver: Receiver, tmp_path: Path, budget: float
) -> None:
    receiver.script(behaviours.OK, behaviours.Answer(503), behaviours.Answer(503))
    run = Run(receiver.url, tmp_path, budget=budget)
    with run:
        run.log.info("one")
        run.stream.handler.flush()
        run.log.info("two")
    receiver.assert_protocol()
    assert receiver.messages == ["one", "two"]
    assert run.stream.stats().terminal_delivered
    # A program may set it later, and the process end by it.
    run.stream.handler.budget = budget
    run.stream.handler.close(blocking=True)


class Hasty(SignedHTTPHandler):
    """The process forks, and its child ends, as soon as logging knows of the handler."""

    def createLock(self) -> None:  # noqa: N802 - the name in logging.Handler
        super().createLock()
        self.flush()
        self.close()


def test_a_handler_that_logging_knows_of_can_be_flushed_and_closed(tmp_path: Path) -> None:
    handler = Hasty("http://dashboard.test", KEY, "run-1", undelivered=tmp_path)
    assert handler.stats().logged == 0


def test_a_budget_of_nothing_keeps_all_in_the_file(receiver: Receiver, tmp_path: Path) -> None:
    receiver.always(behaviours.Hang())
    run = Run(receiver.url, tmp_path, budget=0)
    with run:
        run.log.info("one")
    assert get_messages(read_records(run.file)) == ["one"]


HOMELESS = """
import logging, sys
from nvoi import CallbackStream
logging.basicConfig(level="INFO", format="%(name)s: %(message)s")
with CallbackStream("app", sys.argv[1], "KEY", "run-1", budget=0.5) as stream:
    logging.getLogger("app").info("one")
print(stream.undelivered_file)
"""


def find_free_uid() -> int:
    """A user id that has no name, and so no home folder."""
    known = {entry.pw_uid for entry in pwd.getpwall()}
    return next(uid for uid in range(65533, 0, -1) if uid not in known)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may be another user")
def test_a_user_without_a_home_folder_has_the_temporary_folder_and_is_told_once(
    receiver: Receiver,
) -> None:
    # An interpreter in the home folder of root is closed to others: modules are read before.
    program = "import os, nvoi.log.stream, encodings.idna\nnvoi.add_secrets('KEY')\n"
    program += f"os.setuid({find_free_uid()})\n"
    receiver.always(behaviours.Answer(401))
    code, output, errors = run_program(program + HOMELESS, receiver.url)
    assert code == 0, errors
    assert "Traceback" not in errors
    assert errors.count("there is no home folder") == 1
    file = Path(output.strip())
    assert get_messages(read_records(file)) == ["one"]
    file.unlink()


def test_a_deploy_without_a_home_folder_says_what_to_set(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root may be another user")
    program = f"""
import os, sys, nvoi.cli.inputs, nvoi.errors
os.setuid({find_free_uid()})
for environ in ({{}}, {{"NVOI_HOME": "~/nvoi"}}, {{"XDG_STATE_HOME": "relative"}}):
    try:
        nvoi.cli.inputs.find_home(environ)
    except nvoi.errors.UsageError as error:
        print(error)
print(nvoi.cli.inputs.find_home({{"NVOI_HOME": "/var/nvoi"}}))
print(nvoi.cli.inputs.find_home({{"XDG_STATE_HOME": "/var/state"}}))
"""
    code, output, errors = run_program(program)
    assert (code, errors) == (0, "")
    *refused, home, state = output.splitlines()
    assert (home, state) == ("/var/nvoi", "/var/state/nvoi")
    assert len(refused) == 3
    assert all("NVOI_HOME" in line for line in refused)


@pytest.mark.parametrize("option", ["--callback-budget", "--lock-wait"])
@pytest.mark.parametrize("text", ["nan", "-1", "ten", ""])
def test_a_number_of_seconds_that_is_none_is_refused_on_the_command_line(
    tmp_path: Path, option: str, text: str
) -> None:
    program = "import sys; from nvoi.cli import main; sys.exit(main(sys.argv[1:]))"
    code, _, errors = run_program(program, "deploy", "--dir", tmp_path, f"{option}={text}")
    assert code == 2
    assert option in errors


@pytest.mark.parametrize("seconds", ["1e11"])
def test_a_deploy_may_wait_for_its_dashboard_as_long_as_it_takes(
    receiver: Receiver, seconds: str
) -> None:
    with App(receiver.url) as app:
        app.open_gate()
        outcome = app.start("deploy", "--callback-budget", seconds).wait()
        assert outcome.code == 0
        receiver.assert_protocol()
        assert receiver.lines == outcome.records
        assert receiver.statuses[-1]["status"] == "completed"
