"""What a signal means to a child of multiprocessing that logs. Nobody listens: all is kept."""

from __future__ import annotations

import json
import logging
import multiprocessing
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

import pytest

from nvoi.log.handler import SignedHTTPHandler
from nvoi.log.lifecycle import this_process
from tests.waiting import PATIENCE, wait_until

# From Python 3.12 on a fork beside threads is warned of.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

LOGGER = "apart.lifecycle"


def log(folder: Path, url: str = "http://127.0.0.1:9") -> SignedHTTPHandler:
    """Log by a handler that is made for it, to a port that nobody listens at."""
    handler = SignedHTTPHandler(url, "0" * 64, "run-1", budget=0.5, undelivered=folder)
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    logger.warning("one")
    return handler


def queue_line(handler: SignedHTTPHandler, text: str) -> None:
    """Queue what a log call queues that meets the end of a close."""
    handler.queue_handler.enqueue((logging.WARNING, time.time(), text))


def wait(ready: Connection) -> None:
    ready.send(None)
    threading.Event().wait()


def wait_for_a_handler(ready: Connection) -> None:
    """The main thread, which runs it, hears of no signal that comes just before it waits."""
    ready.send(None)
    while True:
        time.sleep(0.01)


def log_from_a_thread_alone(folder: Path, ready: Connection) -> None:
    def talk() -> None:
        handler = log(folder)
        wait_until(lambda: bool(handler.stats().troubles), "both threads of the sender")

    thread = threading.Thread(target=talk)
    thread.start()
    thread.join()
    wait(ready)


def be_handled_elsewhere(folder: Path, ready: Connection) -> None:
    """A handler that came later: the child ends as that says, and so does what it forks."""
    log(folder)

    def answer(number: int, frame: FrameType | None) -> None:
        logging.getLogger(LOGGER).warning("two")
        sys.exit(9)

    signal.signal(signal.SIGTERM, answer)
    wait_for_a_handler(ready)


def fork_another(folder: Path, ready: Connection) -> None:
    """A child of a child is terminated, which is none of its parent's business."""
    log(folder)
    code, _ = run(log_by_the_handler_that_was_there, folder)
    assert code == -signal.SIGTERM
    wait(ready)


def log_by_the_handler_that_was_there(folder: Path, ready: Connection) -> None:
    logging.getLogger(LOGGER).warning("two")
    wait(ready)


def end_while_being_terminated(closes: bool, folder: Path, ready: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        handler = log(folder, f"http://127.0.0.1:{silent.getsockname()[1]}")
        if closes:
            handler.close()
            queue_line(handler, "closed")
        ready.send(None)
        while this_process.ending_since is None:
            time.sleep(0.001)
        logging.getLogger(LOGGER).warning("two")


def run(target: Callable[[Path, Connection], None], folder: Path) -> tuple[int | None, list[str]]:
    """The exit code of a forked child that is terminated, and the messages that it kept."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(folder, sending))
    process.start()
    sending.close()
    receiving.recv()
    process.terminate()
    process.join(PATIENCE)
    process.kill()
    return process.exitcode, sorted(read_kept(folder))


def read_kept(folder: Path) -> list[str]:
    kept = [line for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]
    requests = [json.loads(line) for line in kept]
    return [line["message"] for request in requests for line in request.get("logs", ())]


@pytest.mark.parametrize(
    ("target", "code", "messages"),
    [
        (log_from_a_thread_alone, -signal.SIGTERM, ["one"]),
        (be_handled_elsewhere, 9, ["one", "two"]),
        (fork_another, -signal.SIGTERM, ["one", "two"]),
    ],
)
def test_a_terminated_child_keeps_what_it_logged(
    tmp_path: Path,
    target: Callable[[Path, Connection], None],
    code: int,
    messages: list[str],
) -> None:
    assert run(target, tmp_path) == (code, messages)


@pytest.mark.parametrize("closes", [False, True])
def test_a_child_that_ends_while_it_is_terminated_keeps_what_it_logged(
    tmp_path: Path, closes: bool
) -> None:
    """A pool tells its workers to end, and terminates them."""
    code, messages = run(partial(end_while_being_terminated, closes), tmp_path)
    assert code in {0, -signal.SIGTERM}
    before = ["closed"] * closes + ["one"]
    # What it logs after the signal is lost only where that ends it first.
    assert messages == [*before, "two"] or (code, messages) == (-signal.SIGTERM, before)


def test_what_is_logged_while_a_handler_closes_is_kept_by_the_next_close(tmp_path: Path) -> None:
    handler = log(tmp_path)
    handler.close()
    queue_line(handler, "two")
    handler.close()
    logging.getLogger(LOGGER).removeHandler(handler)
    assert read_kept(tmp_path) == ["one", "two"]
    assert handler.stats().undelivered == 2
