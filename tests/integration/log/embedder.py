"""Programs that embed the callback, a process for each.

A test runs one where the end of the process is what it is about, or where a fault would hang
or change the process.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import logging
import logging.config
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import nvoi
from nvoi.log.levels import get_logger
from tests.integration.streams import KEY
from tests.waiting import wait_until

BUDGET_SECONDS = 10.0

log = get_logger("nvoi.embedder")


def open_stream(url: str, folder: Path, **settings: Any) -> nvoi.CallbackStream:
    """A stream on the whole logger ``nvoi``."""
    return nvoi.CallbackStream(
        "nvoi",
        url,
        KEY,
        "run-1",
        undelivered=folder,
        **{"budget": BUDGET_SECONDS, **settings},
    )


# -- ends --------------------------------------------------------------------------------------


def leave_open(url: str, folder: Path) -> None:
    """Nobody closes the stream."""
    open_stream(url, folder).started()
    log.info("one")
    log.info("two")


def leave_handler(url: str, folder: Path) -> None:
    """A handler on a logger that is none of nvoi's, and nobody closes it."""
    logger = logging.getLogger("app")
    logger.setLevel(logging.INFO)
    logger.addHandler(nvoi.SignedHTTPHandler(url, KEY, "run-1", undelivered=folder))
    for number in range(700):
        logger.info("line %d", number)


def exit_by_code(url: str, folder: Path, code: str) -> None:
    """The block is left by ``sys.exit``."""
    with open_stream(url, folder):
        log.info("one")
        sys.exit({"0": 0, "none": None, "3": 3}.get(code, code))


def fail(url: str, folder: Path) -> None:
    """The block is left by an exception."""
    with open_stream(url, folder):
        log.info("one")
        raise RuntimeError("the disk is full")


def complete(url: str, folder: Path) -> None:
    """The block ends the run itself, more than once."""
    with open_stream(url, folder) as stream:
        log.info("one")
        stream.completed([("web", "localhost:8000")], duration_seconds=12.6)
        stream.failed("too late")
        log.info("after the end")
    stream.completed()


# -- forks -------------------------------------------------------------------------------------


def fork(url: str, folder: Path) -> None:
    """Children that log beside their parent, while threads of it do so too."""
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(0.001):
            log.info("parent thread")

    with open_stream(url, folder):
        talkers = [threading.Thread(target=talk) for _ in range(3)]
        for talker in talkers:
            talker.start()
        children = []
        for child in range(5):
            log.info("parent before %d", child)
            pid = os.fork()
            if pid == 0:
                # Threads are not the child's, nor is anything its parent had to send.
                for number in range(100):
                    log.info("child %d line %d", child, number)
                sys.exit(0)
            children.append(pid)
        for pid in children:
            os.waitpid(pid, 0)
        stop.set()
        for talker in talkers:
            talker.join()
        log.info("parent after")


def fork_and_end_the_run(url: str, folder: Path) -> None:
    """A child leaves the stream's block too, and by an exception."""
    with open_stream(url, folder):
        log.info("parent before")
        pid = os.fork()
        if pid == 0:
            log.info("child")
            raise RuntimeError("of the child alone")
        os.waitpid(pid, 0)
        log.info("parent after")


def fork_with_a_run_that_nobody_has(url: str, folder: Path) -> None:
    """Ctrl-C has cut its start in two: only nvoi knows of it, which is to end it."""

    class Interrupted(logging.Logger):
        is_new = True

        def __hash__(self) -> int:
            if self.is_new:
                self.is_new = False
                raise KeyboardInterrupt
            return id(self)

    def start() -> None:
        stream = nvoi.CallbackStream(Interrupted("app"), url, KEY, "run-1", undelivered=folder)
        with suppress(KeyboardInterrupt):
            stream.started()
        stream.handler.handle(logging.makeLogRecord({"msg": "parent"}))

    start()
    if pid := os.fork():
        os.waitpid(pid, 0)


# -- logging that is set up anew ---------------------------------------------------------------


def configure(url: str, folder: Path, budget: float = BUDGET_SECONDS) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "dashboard": {
                    "class": "nvoi.SignedHTTPHandler",
                    "url": url,
                    "key": KEY,
                    "deploy_id": "run-1",
                    "undelivered": str(folder),
                    "budget": budget,
                    "level": "INFO",
                }
            },
            "root": {"handlers": ["dashboard"], "level": "DEBUG"},
        }
    )


def configure_often(url: str, folder: Path, wait: str) -> None:
    """Each of thirty configurations replaces the handler; prints the threads that are left."""
    for number in range(30):
        configure(url, folder, budget=2.0)
        log.info("line %d", number)
    # logging.config leaves its configuration, and the handlers in it, to the garbage collector.
    gc.collect()
    if wait == "wait":
        # This thread, and the two of the last handler.
        wait_until(lambda: threading.active_count() <= 3, "the threads of earlier handlers to end")
    print(threading.active_count())


def fill_disk(url: str, folder: Path) -> None:
    """Files may have 2,000 bytes and no more, as on a disk that is full; prints the accounts."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    with open_stream(url, folder, budget=0.5) as stream:
        for number in range(2000):
            log.info("line %d", number)
    stats = stream.stats()
    print(stats.logged, stats.dropped, stats.undelivered)


# -- under pressure ----------------------------------------------------------------------------


def flood(url: str, folder: Path, levels: str, *sizes: str) -> None:
    """Records of 200 bytes; prints by how many bytes memory grew at most.

    ``sizes`` are how many records, of how many threads, and the capacity in bytes.
    Of ``mixed`` levels one in ten is a step or a warning; of ``ok`` all are.
    """
    count, threads, capacity = map(int, sizes)
    text = "x" * 180 + " %012d"

    def talk(first: int) -> None:
        for number in range(first, count, threads):
            if levels == "ok":
                log.ok(text, number)
            elif levels == "mixed" and number % 10 == 0:
                (log.warning if number % 20 else log.step)(text, number)
            else:
                log.info(text, number)

    with open_stream(url, folder, budget=1.0, capacity=capacity) as stream:
        log.info(text, 0)
        # The first request has been tried: what sending needs is loaded.
        wait_until(lambda: stream.stats().troubles, "the first request to be tried")
        before = get_peak()
        talkers = [threading.Thread(target=talk, args=(1 + n,)) for n in range(threads)]
        for talker in talkers:
            talker.start()
        for talker in talkers:
            talker.join()
        during = get_peak()
    print(during - before, get_peak() - before)


def get_peak() -> int:
    """The most memory that this process had, in bytes (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# -- records of the last moments ----------------------------------------------------------------

#: What stays until the interpreter takes the modules apart.
kept: list[object] = []


def add_handler(url: str, folder: Path, budget: float = 10.0, name: str = "") -> logging.Logger:
    """A logger with a handler of its own, which nobody closes; the root logger by default."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.INFO)
    logger.addHandler(nvoi.SignedHTTPHandler(url, KEY, "run-1", undelivered=folder, budget=budget))
    return logger


class Talker:
    """Logs when it is collected."""

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger

    def __del__(self) -> None:
        self.logger.error("collected")


def prepare(logger: logging.Logger, state: str) -> None:
    """Have a handler of ``logger`` never used, used, or closed before the end."""
    if state != "never used":
        logger.info("one")
    if state == "closed":
        logger.handlers[0].close()


def log_in_a_finaliser(url: str, folder: Path, state: str) -> None:
    logger = add_handler(url, folder)
    prepare(logger, state)
    kept.append(Talker(logger))


def log_in_a_cycle(url: str, folder: Path, state: str) -> None:
    logger = add_handler(url, folder)
    prepare(logger, state)
    talker = Talker(logger)
    talker.__dict__["itself"] = talker


def leave_a_task(url: str, folder: Path, state: str) -> None:
    """asyncio logs that a task was destroyed."""
    logger = add_handler(url, folder)
    prepare(logger, state)
    loop = asyncio.new_event_loop()
    kept.extend([loop, loop.create_task(asyncio.sleep(1000))])
    loop.run_until_complete(asyncio.sleep(0))


def log_in_an_exit_function(url: str, folder: Path, state: str) -> None:
    logger = add_handler(url, folder)
    prepare(logger, state)
    atexit.register(logger.info, "the last words")


def log_after_main(url: str, folder: Path, state: str) -> None:
    """A thread that the interpreter waits for logs once the main thread has ended."""
    logger = add_handler(url, folder)
    prepare(logger, state)

    def talk() -> None:
        threading.main_thread().join()
        for number in range(100):
            logger.info("after main %d", number)
        sys.exit(7)

    threading.Thread(target=talk).start()


def log_on(url: str, folder: Path) -> None:
    """Threads that nobody waits for flood the log for as long as they live."""
    logger = add_handler(url, folder)
    flowing = threading.Event()

    def talk() -> None:
        while True:
            logger.info("daemon")
            flowing.set()

    for _ in range(4):
        threading.Thread(target=talk, daemon=True).start()
    flowing.wait()
    logger.info("main")


def leave_at_once(url: str, folder: Path) -> None:
    logger = add_handler(url, folder)
    logger.info("one")
    logger.handlers[0].flush()
    logger.info("lost")
    os._exit(5)


def leave_handlers(url: str, folder: Path, budget: str) -> None:
    """Three handlers, of the root logger too, that have what they cannot deliver."""
    for name in ("", "one", "two"):
        logger = add_handler(url, folder, float(budget), name)
        logger.propagate = False
        logger.info("of %r", name)


def shut_down_twice(url: str, folder: Path, budget: str) -> None:
    """The program ends logging by hand."""
    logger = add_handler(url, folder, float(budget))
    logger.info("one")
    logging.shutdown()
    logging.shutdown()
