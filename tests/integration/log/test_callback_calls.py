"""Whatever a program logs arrives: once, in order, as text that any dashboard can store."""

from __future__ import annotations

import logging
import threading
import uuid
from pathlib import Path
from urllib.parse import unquote

import pytest

from nvoi.log.handler import SignedHTTPHandler
from tests.fakes.behaviours import OK, Answer, Held
from tests.fakes.receiver import Receiver
from tests.integration.log.accounts import get_messages
from tests.integration.streams import KEY, Run
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("bare_network")


class Broken:
    """Shows itself to nobody."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class BrokenError(Exception):
    """An exception whose own text fails."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.fixture
def run(receiver: Receiver, tmp_path: Path) -> Run:
    return Run(receiver.url, tmp_path, budget=20.0, level=logging.DEBUG)


def test_wrong_arguments_lose_neither_their_line_nor_those_around_it(
    run: Run, receiver: Receiver
) -> None:
    with run:
        run.log.info("before")
        run.log.info("%d is no number", "text")
        run.log.info("%s and %s", "one")  # noqa: PLE1206 - that is what is tried
        run.log.info("none wanted", "one")  # noqa: PLE1205 - as above
        run.log.info("%(name)s is missing", {"other": 1})
        run.log.info("%s", Broken())
        run.log.info(Broken())
        run.log.info("after")
    receiver.assert_protocol()
    before, *odd, after = receiver.messages
    assert (before, after) == ("before", "after")
    assert len(odd) == 6
    assert all(
        part in line
        for part, line in zip(("text", "one", "one", "other", "Broken", "Broken"), odd, strict=True)
    )


def test_a_traceback_follows_its_message_once(run: Run, receiver: Receiver) -> None:
    with run:
        try:
            raise ValueError("the reason")
        except ValueError:
            run.log.exception("it broke")
        run.log.info("with its stack", stack_info=True)
    receiver.assert_protocol()
    broke, stack = receiver.messages
    assert broke.startswith("it broke\nTraceback (most recent call last):\n")
    assert broke.endswith("ValueError: the reason")
    assert broke.count("the reason") == 2  # the line that raised, and the error
    assert stack.startswith("with its stack\nStack (most recent call last):\n")


def test_an_exception_whose_text_fails_is_told_all_the_same(run: Run, receiver: Receiver) -> None:
    def fail() -> None:
        try:
            raise BrokenError
        except BrokenError as error:
            run.log.exception("it broke: %s", error)  # noqa: TRY401 - that is what is tried
            run.log.info("after")
            raise

    with pytest.raises(BrokenError), run:
        fail()
    receiver.assert_protocol()
    broke, after = receiver.messages
    assert broke.startswith("it broke")
    assert "BrokenError" in broke
    assert after == "after"
    assert "BrokenError" in receiver.statuses[-1]["error"]


def test_levels_are_sent_as_the_nearest_of_the_protocol(run: Run, receiver: Receiver) -> None:
    with run:
        run.log.debug("debug")
        run.log.step("step")
        run.log.ok("ok")
        run.log.success("success")
        run.log.warning("warning")
        run.log.critical("error")
        run.log.log(27, "success")
        run.log.log(21, "info")
        run.log.log(1000, "error")
    receiver.assert_protocol()
    assert [line["level"] for line in receiver.lines] == receiver.messages


def test_secrets_reach_neither_the_receiver_nor_the_file(
    receiver: Receiver, tmp_path: Path
) -> None:
    secret = "pa55 word/é"
    run = Run(receiver.url, tmp_path, budget=0.5, secrets=[secret])

    def fail() -> None:
        with run:
            run.log.info("login with %s", secret)
            run.log.info("login at http://x.test/?p=pa55%20word%2F%C3%A9")
            receiver.wait_for(lambda it: len(it.lines) == 2)
            run.stream.handler.flush()
            receiver.pause()
            run.log.info("again with %r", {"password": secret})
            raise ValueError(secret)

    with pytest.raises(ValueError, match=secret):
        fail()
    assert receiver.messages[0] == "login with [REDACTED]"
    assert receiver.messages[1].endswith("?p=[REDACTED]")
    text = run.get_file().read_text()
    assert "pa55" not in text
    assert KEY not in text
    assert text.count("[REDACTED]") == 2


def test_what_the_sender_itself_logs_is_not_sent(receiver: Receiver, tmp_path: Path) -> None:
    handler = SignedHTTPHandler(receiver.url, KEY, "run-2", budget=5.0, undelivered=tmp_path)
    noise, level = logging.getLogger("urllib3"), logging.getLogger("urllib3").level
    noise.addHandler(handler)
    noise.setLevel(logging.DEBUG)
    try:
        noise.debug("of the program's own")
        handler.flush()
        noise.debug("and again")
        handler.close()
    finally:
        noise.removeHandler(handler)
        noise.setLevel(level)
    assert receiver.messages == ["of the program's own", "and again"]


def test_a_request_holds_at_most_500_records_and_512_kib(run: Run, receiver: Receiver) -> None:
    answered = threading.Event()
    receiver.script(OK, Held(answered))
    with run:
        run.log.info("first")
        receiver.wait_for(lambda it: it.counts.requests == 2)
        for number in range(1100):
            run.log.info("%d", number)
        for number in range(200):
            run.log.info("%d %s", number, "x" * 4000)
        wait_until(lambda: run.stream.stats().logged == 1301, "all lines to wait")
        answered.set()
    receiver.assert_protocol()  # which has both limits
    logs = [request for request in receiver.accepted if request.kind == "logs"]
    assert max(len(request.records) for request in logs) == 500
    assert max(len(request.body) for request in logs) > 500_000
    assert len(get_messages(receiver.lines)) == 1301


# -- what the headers tell of a run --------------------------------------------------------------


def end_by(run: Run, error: BaseException | None) -> None:
    """A run with a line, that ends by ``error`` or well."""

    def work() -> None:
        with run:
            run.log.info("one")
            if error is not None:
                raise error

    if error is None:
        work()
    else:
        with pytest.raises(type(error)):
            work()


def test_each_request_has_the_id_of_its_run_and_each_run_an_id_of_its_own(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.script(OK, Answer(503))
    for _ in range(2):
        end_by(Run(receiver.url, tmp_path, budget=20.0), None)
        receiver.expect_new_run()
    receiver.assert_protocol()
    ids = [request.headers["X-Nvoi-Run-Id"] for request in receiver.requests]
    assert ids[0] != ids[-1]
    assert ids == [ids[0]] * 4 + [ids[-1]] * 3
    assert all(str(uuid.UUID(each)) == each for each in ids)


def test_each_request_names_the_app_and_the_command_where_they_are_known(
    receiver: Receiver, tmp_path: Path
) -> None:
    end_by(Run(receiver.url, tmp_path, app="café", command="deploy"), None)
    first = len(receiver.requests)
    receiver.expect_new_run()
    end_by(Run(receiver.url, tmp_path), None)
    receiver.assert_protocol()
    for request in receiver.requests[:first]:
        assert unquote(request.headers["X-Nvoi-App"]) == "café"
        assert request.headers["X-Nvoi-Command"] == "deploy"
    for request in receiver.requests[first:]:
        assert "X-Nvoi-App" not in request.headers
        assert "X-Nvoi-Command" not in request.headers


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (None, "completed", None),
        (ValueError("broken"), "failed", None),
        (SystemExit(3), "failed", None),
        (KeyboardInterrupt(), "failed", "cancelled"),
        (KeyboardInterrupt("interrupted (SIGTERM)"), "failed", "cancelled"),
    ],
    ids=repr,
)
def test_only_a_run_that_a_signal_ended_is_said_to_be_cancelled(
    receiver: Receiver,
    tmp_path: Path,
    error: BaseException | None,
    state: str,
    reason: str | None,
) -> None:
    end_by(Run(receiver.url, tmp_path), error)
    receiver.assert_protocol()
    *before, last = receiver.requests
    assert (last.state, last.headers.get("X-Nvoi-Reason")) == (state, reason)
    assert not any("X-Nvoi-Reason" in request.headers for request in before)


def test_only_started_tells_of_the_commit(receiver: Receiver, tmp_path: Path) -> None:
    context = {
        "git_sha": "c0ffee",
        "commit_title": "Größe: 100 %\x1b[1m",
        "commit_author": "Zoë",
        "dirty": "1",
    }
    end_by(Run(receiver.url, tmp_path, context=context), None)
    receiver.assert_protocol()
    started, *others = receiver.requests
    assert started.payload == {"status": "started", "git_sha": "c0ffee"}
    assert unquote(started.headers["X-Nvoi-Commit-Title"]) == "Größe: 100 %"
    assert unquote(started.headers["X-Nvoi-Commit-Author"]) == "Zoë"
    assert started.headers["X-Nvoi-Dirty"] == "1"
    for name in ("X-Nvoi-Commit-Title", "X-Nvoi-Commit-Author", "X-Nvoi-Dirty"):
        assert not any(name in request.headers for request in others)
