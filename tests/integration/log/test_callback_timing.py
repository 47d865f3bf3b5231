"""When a record is on its way: from the log call to the request at the receiver."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.fakes.received import Received
from tests.fakes.receiver import Receiver
from tests.integration.streams import Run, measure

pytestmark = pytest.mark.usefixtures("bare_network")

#: What "at once" may take: two threads, a signature and a connection that is open.
AT_ONCE_SECONDS = 0.15


@pytest.fixture
def open_run(receiver: Receiver, tmp_path: Path) -> Callable[[], Run]:
    """A run under a deploy id of its own, as often as one is asked for."""
    numbers = itertools.count()
    return lambda: Run(receiver.url, tmp_path, budget=5.0, deploy_id=f"run-{next(numbers)}")


def wait_for_request(receiver: Receiver, text: str) -> Received:
    """The first request that has ``text`` in it."""

    def find(it: Receiver) -> Received | None:
        return next((each for each in it.requests if text.encode() in each.body), None)

    receiver.wait_for(lambda it: find(it) is not None)
    found = find(receiver)
    assert found is not None
    return found


def test_the_first_record_of_a_run_is_on_its_way_within_250_ms(
    receiver: Receiver, open_run: Callable[[], Run]
) -> None:
    def make() -> float:
        with open_run() as run:
            mark = f"mark {time.monotonic()}"
            began = time.monotonic()
            run.log.info("%s", mark)
            return wait_for_request(receiver, mark).arrived - began

    measure(make, 0.25)


def test_later_records_are_on_their_way_within_1_s(
    receiver: Receiver, open_run: Callable[[], Run]
) -> None:
    """Each of a steady trickle, wherever it falls between two requests."""
    pause = threading.Event()

    def make() -> float:
        before = len(receiver.requests)
        with open_run() as run:
            for number in range(30):
                run.log.info("%d", number)
                pause.wait(0.05)
            receiver.wait_for(
                lambda it: sum(len(each.records) for each in it.requests[before:]) == 30
            )
        offset = time.time() - time.monotonic()
        return max(
            request.arrived + offset - datetime.fromisoformat(record["logged_at"]).timestamp()
            for request in receiver.requests[before:]
            for record in request.records
        )

    measure(make, 1.0)


@pytest.mark.parametrize("method", ["error", "critical"])
def test_an_error_is_sent_at_once_with_what_was_logged_before_it(
    receiver: Receiver, open_run: Callable[[], Run], method: str
) -> None:
    def make() -> float:
        with open_run() as run:
            # Past the first batch, which has a shorter wait than others.
            run.log.info("first")
            run.stream.handler.flush()
            run.log.info("before")
            mark = f"mark {time.monotonic()}"
            began = time.monotonic()
            getattr(run.log, method)(mark)
            request = wait_for_request(receiver, mark)
        assert [record["message"] for record in request.records] == ["before", mark]
        return request.arrived - began

    measure(make, AT_ONCE_SECONDS)


def test_a_terminal_status_is_sent_at_once(receiver: Receiver, open_run: Callable[[], Run]) -> None:
    def make() -> float:
        run = open_run()
        with run:
            run.log.info("first")
            run.stream.handler.flush()
            run.log.info("last")
            began = time.monotonic()
        assert receiver.requests[-1].state == "completed"
        return receiver.requests[-1].arrived - began

    measure(make, AT_ONCE_SECONDS)
