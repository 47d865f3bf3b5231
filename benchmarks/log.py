"""What a log call costs its caller, and how fast records reach a receiver.

Beside nvoi's stream run, in turns and in the same process, the standard library's
QueueHandler and QueueListener with a handler that does nothing, and its HTTPHandler.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import queue
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from logging.handlers import HTTPHandler, QueueHandler, QueueListener
from urllib.parse import urlsplit

from goals import Goals, describe, find_median
from receivers import KEY, start_receiver

import nvoi

#: Ten, as a config of some services has them: tokens, and passwords that people chose. The
#: deploy key comes on top. Short ones cost a log call more: each is looked for by itself.
SECRETS = [f"{index}f9d1c7ab2e84c0d8a6f1b3e7d2c5a90" for index in range(7)]
SECRETS += ["correcthorse9", "Tr0ub4dor&3", "s3cret/pass"]

#: Seconds between two calls that come one by one: time for a listener to fall asleep.
PAUSE_SECONDS = 0.0003


@dataclass(frozen=True)
class Sink:
    """A logger with handlers behind it; ``finish`` returns when they have handled all."""

    logger: logging.Logger
    finish: Callable[[], object]


Opener = Callable[[], AbstractContextManager[Sink]]


@dataclass(frozen=True)
class Burst:
    """Seconds a call, of wall and of processor time, and records a second until all is done."""

    call: float
    cpu: float
    rate: float


@contextlib.contextmanager
def attach(handler: logging.Handler, finish: Callable[[], object]) -> Iterator[Sink]:
    """A plain child logger whose parent has ``handler``."""
    parent = logging.getLogger("stock")
    parent.setLevel(logging.INFO)
    parent.addHandler(handler)
    try:
        yield Sink(logging.getLogger("stock.web"), finish)
    finally:
        parent.removeHandler(handler)


@contextlib.contextmanager
def open_stock() -> Iterator[Sink]:
    """The standard library's pair, and a handler that does nothing."""
    waiting: queue.Queue[logging.LogRecord] = queue.Queue()
    listener = QueueListener(waiting, logging.NullHandler())
    with attach(QueueHandler(waiting), listener.stop) as sink:
        listener.start()
        yield sink


@contextlib.contextmanager
def open_nvoi(url: str) -> Iterator[Sink]:
    """A stream of nvoi to a receiver, with secrets to mask.

    Raises:
        RuntimeError: the receiver did not get everything, so that no figure means a thing.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        nvoi.CallbackStream(
            "nvoi", url, KEY, "benchmark", secrets=SECRETS, undelivered=folder
        ) as stream,
    ):
        yield Sink(logging.getLogger("nvoi.web"), stream.completed)
        stats = stream.stats()
        if stats.dropped or not stats.terminal_delivered:
            raise RuntimeError(f"not all was delivered: {stats}")


@contextlib.contextmanager
def open_http_handler(url: str) -> Iterator[Sink]:
    """The standard library's handler, which makes a request of each record as it is logged."""
    parts = urlsplit(url)
    handler = HTTPHandler(parts.netloc, f"{parts.path}/benchmark/logs", "POST")
    with attach(handler, lambda: None) as sink:
        yield sink


def log_line(logger: logging.Logger, number: int) -> None:
    """The call that is measured."""
    logger.info(
        "web: request %d from %s took %.1f ms, status %s", number, "10.0.0.7", 12.5, "200 OK"
    )


def measure_burst(opener: Opener, calls: int) -> Burst:
    """Log as fast as one thread can."""
    with opener() as sink:
        began, busy = time.perf_counter(), time.thread_time()
        for number in range(calls):
            log_line(sink.logger, number)
        called, used = time.perf_counter() - began, time.thread_time() - busy
        sink.finish()
        total = time.perf_counter() - began
    return Burst(called / calls, used / calls, calls / total)


def measure_single(opener: Opener, calls: int) -> float:
    """The median of the seconds that a call takes when others are some time before it."""
    seconds = []
    with opener() as sink:
        for number in range(calls):
            time.sleep(PAUSE_SECONDS)
            began = time.perf_counter()
            log_line(sink.logger, number)
            seconds.append(time.perf_counter() - began)
        sink.finish()
    return find_median(seconds)


def compare_calls(goals: Goals, url: str, rounds: int, calls: int) -> None:
    """Calls one by one."""
    ours, stock = [], []
    for _ in range(rounds):
        stock.append(measure_single(open_stock, calls))
        ours.append(measure_single(partial(open_nvoi, url), calls))
    goals.note(f"a single call: nvoi {describe(ours, 1e6)} µs, QueueHandler {describe(stock, 1e6)}")
    goals.at_most(
        "a single call, against QueueHandler and QueueListener", compare(ours, stock), 1.0
    )


def compare_bursts(goals: Goals, url: str, rounds: int, calls: int) -> None:
    """Calls without a pause, until the last record has been dealt with."""
    ours, stock, plain = [], [], []
    for _ in range(rounds):
        stock.append(measure_burst(open_stock, calls))
        ours.append(measure_burst(partial(open_nvoi, url), calls))
        plain.append(measure_burst(partial(open_http_handler, url), max(1, calls // 100)))
    for name, runs in (("nvoi", ours), ("QueueHandler", stock), ("HTTPHandler", plain)):
        call, cpu = describe([run.call for run in runs], 1e6), [run.cpu for run in runs]
        rate = describe([run.rate for run in runs], digits=0)
        goals.note(f"{name}: {call} µs a call, {describe(cpu, 1e6)} busy, {rate} records/s")
    goals.at_most(
        "a call in a burst, against QueueHandler and QueueListener",
        compare([run.call for run in ours], [run.call for run in stock]),
        1.0,
    )
    rates = [run.rate for run in ours]
    goals.at_least(
        "records a second, against the same", compare(rates, [run.rate for run in stock]), 0.6
    )
    goals.at_least(
        "records a second, against HTTPHandler", compare(rates, [run.rate for run in plain]), 20.0
    )


def compare(ours: list[float], others: list[float]) -> float:
    """The median of the ratios, each of two runs that came one after the other."""
    return find_median([own / other for own, other in zip(ours, others, strict=True)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21, help="of bursts (21)")
    parser.add_argument("--calls", type=int, default=20_000, help="of a burst (20000)")
    options = parser.parse_args()
    goals = Goals(f"log, {options.rounds} rounds of {options.calls} calls")
    with start_receiver() as url:
        compare_calls(goals, url, 1 + options.rounds // 3, 1000)
        compare_bursts(goals, url, options.rounds, options.calls)
    goals.leave()


if __name__ == "__main__":
    main()
