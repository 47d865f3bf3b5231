"""Programs that a signal interrupts at every step.

Python calls a signal's handler, on the main thread, where a function begins and where a built-in
one returns. A profile function is called there too: each of these steps gets its turn.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import types
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from traceback import walk_stack
from typing import Any

import nvoi
from nvoi.log.counts import SENDER
from nvoi.log.levels import get_logger
from tests.integration.streams import KEY
from tests.waiting import PATIENCE, wait_until

log = get_logger("nvoi.signals")

#: Far beyond what any of the calls below has.
MOST_STEPS = 5_000

#: What a program has until its end.
kept: list[object] = []


def interrupt(call: Callable[[], object], step: int, answer: Callable[[], object]) -> bool:
    """Make ``call``, with ``answer`` called at its ``step``; False where it has fewer."""
    left = step

    def count(_frame: types.FrameType, event: str, _: object) -> None:
        nonlocal left
        left -= event in {"call", "c_return"}
        if left == 0:
            sys.setprofile(None)
            answer()

    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(None)
    return left <= 0


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def build_handler(url: str, folder: Path, budget: float, state: str) -> nvoi.SignedHTTPHandler:
    """The only handler of the log: a new one, or one that was used and closed."""
    for old in list(log.handlers):
        log.removeHandler(old)
    handler = nvoi.SignedHTTPHandler(url, KEY, "run-1", undelivered=folder, budget=budget)
    log.addHandler(handler)
    if state == "closed":
        log.error("before")
        handler.close()
    return handler


def log_in_the_first_call(url: str, folder: Path, state: str) -> None:
    """Prints how many steps there are; two records are logged at each."""
    for step in range(1, MOST_STEPS):
        handler = build_handler(url, folder, 10.0, state)
        passed = interrupt(
            lambda: log.error("first %d", step),  # noqa: B023 - called before the next turn
            step,
            lambda: log.error("within %d", step),  # noqa: B023
        )
        handler.close()
        if not passed:
            print(step)
            return


def press_ctrl_c_in_the_first_call(url: str, folder: Path, state: str) -> None:
    for step in range(1, MOST_STEPS):
        handler = build_handler(url, folder, 10.0, state)
        kept.append(handler)
        try:
            passed = interrupt(lambda: log.error("first"), step, press_ctrl_c)
        except KeyboardInterrupt:
            passed = True
        log.error("second %d", step)
        handler.flush()
        handler.close()
        if not passed:
            print(step)
            return


def refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def press_ctrl_c_while_flushing(url: str, folder: Path) -> None:
    for step in range(1, MOST_STEPS):
        handler = build_handler(url, folder, 10.0, "new")
        kept.append(handler)
        log.error("first %d", step)
        try:
            passed = interrupt(handler.flush, step, press_ctrl_c)
        except KeyboardInterrupt:
            passed = True
        log.error("second %d", step)
        handler.close()
        if not passed:
            print(step)
            return


def press_ctrl_c_while_closing(url: str, folder: Path, state: str) -> None:
    """What a cut close leaves is the exit hook's; one handler is ended by it at each step."""
    budget = 0.05
    if state == "without threads":
        threading.Thread.start = refuse  # type: ignore[assignment, method-assign]  # as one that has all it may
        budget = 0.0
    for step in range(1, MOST_STEPS):
        handler = build_handler(url, folder, budget, state)
        kept.append(handler)
        log.error("line %d", step)
        log.error("next %d", step)
        try:
            passed = interrupt(handler.close, step, press_ctrl_c)
        except KeyboardInterrupt:
            passed = True
        if not passed:
            print(step)
            return


def fork_while_the_main_thread_closes(url: str, folder: Path) -> None:
    """Ctrl-C in the child is the child's own."""
    handler = build_handler(url, folder, 1.0, "new")
    codes = []

    def fork() -> None:
        wait_until(lambda: signal.getsignal(signal.SIGINT) != before, "the handler's close")
        if (pid := os.fork()) == 0:
            with suppress(KeyboardInterrupt):
                press_ctrl_c()
                os._exit(1)
            os._exit(0)
        codes.append(os.waitpid(pid, 0)[1])

    thread = threading.Thread(target=fork)
    log.error("line 1")
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    handler.close()
    thread.join()
    print(*codes)


def answer_within(place: str, answer: Callable[[], object]) -> None:
    """Have a signal call ``answer``, once, while the main thread is in a function ``place``."""

    def look(_: int, frame: types.FrameType | None) -> None:
        if any(each.f_code.co_name == place for each, _ in walk_stack(frame)):
            signal.setitimer(signal.ITIMER_REAL, 0)
            answer()

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)


def press_ctrl_c_with_a_request_in_hand(url: str, folder: Path, state: str) -> None:
    """The process then ends at once, and its threads with it."""
    place = "_join"
    if state == "without threads":
        threading.Thread.start = refuse  # type: ignore[assignment, method-assign]  # as above
        place = "_wait_for"

    handler = build_handler(url, folder, PATIENCE, "new")
    log.error("line 1")
    if state != "without threads":
        wait_until(lambda: handler.stats().requests, "the first request")
    log.error("line 2")
    answer_within(place, press_ctrl_c)
    with suppress(KeyboardInterrupt):
        handler.close()
    os._exit(0)


def press_ctrl_c_in_a_look_up(url: str, folder: Path) -> None:
    """The look-up answers when all is kept."""
    sought, answers, look_up = threading.Event(), threading.Event(), socket.getaddrinfo

    def resolve(*args: Any, **options: Any) -> Any:
        sought.set()
        answers.wait()
        return look_up(*args, **options)

    socket.getaddrinfo = resolve
    handler = build_handler(url, folder, 10 * PATIENCE, "new")
    log.error("line 1")
    sought.wait()
    answer_within("_join", press_ctrl_c)
    with suppress(KeyboardInterrupt):
        handler.close()
    answers.set()
    for thread in threading.enumerate():
        if thread.name == SENDER:
            thread.join()


def flush_while_closing(url: str, folder: Path) -> None:
    """Nothing that is queued so late is sent by the thread that ends."""
    handler = build_handler(url, folder, 10 * PATIENCE, "new")
    log.error("line 1")
    answer_within("_join", handler.flush)
    handler.close()


def storm(url: str, folder: Path) -> None:
    """A signal handler logs, as often as it can, and interrupts log calls."""
    counts = {"signal": 0, "main": 0}

    def answer(number: int, frame: types.FrameType | None) -> None:
        counts["signal"] += 1
        log.warning("signal %d", counts["signal"])

    with nvoi.CallbackStream("nvoi", url, KEY, "run-1", undelivered=folder):
        signal.signal(signal.SIGALRM, answer)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        while counts["signal"] < 300:
            counts["main"] += 1
            log.info("main %d", counts["main"])
        signal.setitimer(signal.ITIMER_REAL, 0)
    print(counts["signal"], counts["main"])


def wait_for_signal(url: str, folder: Path) -> None:
    """The block waits for Ctrl-C."""
    with nvoi.CallbackStream("nvoi", url, KEY, "run-1", undelivered=folder):
        log.error("ready")
        while True:
            signal.pause()
