from __future__ import annotations

import logging
import math
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from traceback import extract_stack

import pytest

from nvoi import parallel
from nvoi.errors import ConnectionFailedError, HostsError, NvoiError
from nvoi.log.handler import SignedHTTPHandler
from nvoi.parallel import CancelledError, CancelScope, Task, run_together, work_on_all
from nvoi.process import join
from nvoi.signals import Interruption, interruptible
from tests.waiting import PATIENCE, wait_until

#: Longer than any test waits: only a cancellation ends it.
FOREVER = 1000.0
#: The functions that wait for others.
WAITS = {"wait", "_wait", "_join"}


def test_one_failure_is_raised_as_it_is_when_all_have_ended() -> None:
    done = []

    def work(host: str) -> None:
        if host == "a":
            raise ConnectionFailedError("a is away")
        done.append(host)

    with pytest.raises(ConnectionFailedError, match="a is away"):
        work_on_all(["a", "b", "c"], work)
    assert sorted(done) == ["b", "c"]


def test_several_failures_are_all_told() -> None:
    def work(host: str) -> None:
        raise NvoiError(f"{host} is away", hint="start it", output=[f"{host} said so"])

    with pytest.raises(HostsError) as caught:
        work_on_all(["a", "b"], work)
    assert str(caught.value) == "a is away\nb is away (start it)"
    assert caught.value.output == ("a said so", "b said so")
    assert [error.message for error in caught.value.errors] == ["a is away", "b is away"]


def test_a_fault_of_the_program_is_raised_as_it_is() -> None:
    def work(host: str) -> None:
        if host == "b":
            raise ZeroDivisionError
        raise NvoiError(host)

    with pytest.raises(ZeroDivisionError):
        work_on_all(["a", "b"], work)


def test_no_hosts_are_no_work() -> None:
    assert work_on_all([], str) == {}
    run_together([])


def test_the_first_failure_cancels_the_other_works() -> None:
    cancelled: list[str] = []

    def wait() -> None:
        try:
            parallel.sleep(FOREVER)
        except CancelledError:
            cancelled.append("one")
            raise

    def fail() -> None:
        raise NvoiError("the first")

    with pytest.raises(NvoiError, match="the first"):
        run_together([wait, fail, wait])
    assert cancelled == ["one", "one"]


def test_a_work_that_hangs_does_not_hold_up_the_failure_of_another() -> None:
    gate = threading.Event()

    def fail() -> None:
        raise NvoiError("the first")

    try:
        with pytest.raises(NvoiError, match="the first"):
            run_together([lambda: gate.wait(FOREVER), fail])
    finally:
        gate.set()


class Piece:
    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()


def test_cancelling_ends_what_is_held_and_lets_nothing_begin() -> None:
    scope, piece = CancelScope(), Piece()
    with scope.hold(piece):
        scope.cancel()
        assert piece.cancelled.is_set()
    with pytest.raises(CancelledError), scope.hold(Piece()):
        pass


def test_what_is_no_longer_held_is_left_alone() -> None:
    scope, piece = CancelScope(), Piece()
    with scope.hold(piece):
        pass
    scope.cancel()
    assert not piece.cancelled.is_set()


def test_a_cancelled_task_ends_the_tasks_that_it_has_started() -> None:
    begun = threading.Event()

    def work(_: str) -> None:
        begun.set()
        parallel.sleep(FOREVER)

    task = Task(lambda: work_on_all(["a", "b"], work))
    task.start()
    assert begun.wait(PATIENCE)
    task.cancel()
    assert task.join(PATIENCE)
    with pytest.raises((CancelledError, HostsError), match="cancelled"):
        task.future.result()


def test_outside_of_tasks_nothing_is_cancelled() -> None:
    parallel.check()
    began = time.monotonic()
    parallel.sleep(0.01)
    assert time.monotonic() - began >= 0.01
    piece = Piece()
    with parallel.hold(piece):
        pass
    assert not piece.cancelled.is_set()


def wait_for_a_process(work: Callable[[], None]) -> None:
    """As the editor and what the demo starts are waited for."""
    with subprocess.Popen(["sleep", str(FOREVER)]) as process:
        threading.Thread(target=work, daemon=True).start()
        try:
            join(process)
        finally:
            process.kill()


def close_a_sender(work: Callable[[], None]) -> None:
    """A dashboard that never answers may be waited for as long as it takes."""
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.TemporaryDirectory() as folder:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        handler = SignedHTTPHandler(url, "key", "1", budget=math.inf, undelivered=folder)
        handler.handle(logging.makeLogRecord({"msg": "x"}))
        threading.Thread(target=work, daemon=True).start()
        handler.close()


@pytest.mark.parametrize(
    "work_together",
    [
        lambda work: run_together([work, work]),
        lambda work: work_on_all(["a", "b"], lambda _: work()),
        wait_for_a_process,
        close_a_sender,
    ],
)
def test_a_signal_is_heard_though_it_does_not_end_the_wait(
    work_together: Callable[[Callable[[], None]], object],
) -> None:
    main = threading.main_thread().ident

    def is_waiting() -> bool:
        frames = [frame.name for frame in extract_stack(sys._current_frames()[main or 0])]
        # Not in the wait for a thread to start.
        return frames[-1] in WAITS and "start" not in frames

    def work() -> None:
        wait_until(is_waiting, "the main thread to wait")
        # On another thread, as one that comes just before the main thread blocks.
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        parallel.sleep(PATIENCE)

    began = time.monotonic()
    with pytest.raises(Interruption), interruptible():
        work_together(work)
    assert time.monotonic() - began < PATIENCE
