"""Programs that log while the interpreter ends."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
import threading
from pathlib import Path

import nvoi
from tests.integration.streams import KEY

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
