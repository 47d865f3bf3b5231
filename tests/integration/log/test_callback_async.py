"""Programs with an event loop, and with a clock that stands still, are not held up."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from nvoi import CallbackStream
from tests.fakes import behaviours
from tests.fakes.receiver import Receiver
from tests.integration.log.accounts import get_messages, read_records
from tests.integration.streams import KEY, Run

pytestmark = pytest.mark.usefixtures("bare_network")

log = logging.getLogger("nvoi.tests.loop")


def build_stream(receiver: Receiver, folder: Path, *, budget: float = 20.0) -> CallbackStream:
    return CallbackStream(log, receiver.url, KEY, "run-1", budget=budget, undelivered=folder)


def test_a_loop_goes_on_while_its_stream_closes(receiver: Receiver, tmp_path: Path) -> None:
    receiver.always(behaviours.Hang())
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async def run() -> int:
        ticking = asyncio.create_task(tick())
        async with build_stream(receiver, tmp_path, budget=1.0):
            log.info("one")
            before = ticks
        ticking.cancel()
        return ticks - before

    # A hundred at the most; were the loop held up, there would be none or one.
    assert asyncio.run(run()) > 10


def test_a_stream_may_be_closed_on_a_thread_of_the_loops(
    receiver: Receiver, tmp_path: Path
) -> None:
    async def run() -> None:
        stream = build_stream(receiver, tmp_path)
        stream.started()
        log.info("one")
        await asyncio.to_thread(stream.close)
        await asyncio.to_thread(stream.close)

    asyncio.run(run())
    receiver.assert_protocol()
    assert receiver.messages == ["one"]
    assert receiver.statuses[-1]["error"] == "the run ended without saying how"


def test_a_task_that_is_cancelled_has_failed_and_no_signal_is_told(
    receiver: Receiver, tmp_path: Path
) -> None:
    async def work() -> None:
        async with build_stream(receiver, tmp_path):
            log.error("waiting")
            await asyncio.Event().wait()

    async def run() -> None:
        task = asyncio.create_task(work())
        await asyncio.to_thread(receiver.wait_for, lambda it: it.messages == ["waiting"])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    receiver.assert_protocol()
    assert receiver.statuses[-1] == {"status": "failed", "error": "CancelledError"}
    assert "X-Nvoi-Reason" not in receiver.requests[-1].headers


@pytest.mark.parametrize("behaviour", [behaviours.OK, behaviours.Hang(), behaviours.Answer(503)])
def test_a_clock_that_a_test_has_stopped_holds_nothing_up(
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: behaviours.Behaviour,
) -> None:
    run = Run(receiver.url, tmp_path, budget=1.0)
    stopped = {name: getattr(time, name)() for name in ("monotonic", "perf_counter", "time")}
    for name, seconds in stopped.items():
        monkeypatch.setattr(time, name, lambda seconds=seconds: seconds)
    receiver.always(behaviour)
    with run:
        run.log.info("one")
        run.stream.handler.flush(0.3)
        run.log.info("two")
    monkeypatch.undo()
    kept = get_messages(read_records(run.file))
    assert [*receiver.messages, *kept] == ["one", "two"]
