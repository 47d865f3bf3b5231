"""Programs whose child processes log."""

from __future__ import annotations

import ctypes
import logging
import logging.config
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from logging.handlers import QueueHandler, QueueListener
from multiprocessing import util
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import nvoi
from nvoi.log.levels import get_logger
from nvoi.log.lifecycle import this_process
from tests.integration.log.embedder import configure
from tests.integration.streams import KEY
from tests.waiting import PATIENCE

log = get_logger("nvoi.children")

Context = Any


def add_handler(url: str, folder: Path, budget: float = 10.0) -> nvoi.SignedHTTPHandler:
    handler = nvoi.SignedHTTPHandler(url, KEY, "run-1", undelivered=folder, budget=budget)
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    return handler


#: What makes a child's handler, in the child.
MAKERS: dict[str, Callable[[str, Path], object]] = {"handler": add_handler, "dictConfig": configure}


# -- children that end by themselves, or by a pool -------------------------------------------


def work(number: int) -> int:
    log.info("worker %d", number)
    return number


def make_and_work(maker: str, url: str, folder: Path, number: int) -> None:
    MAKERS[maker](url, folder)
    work(number)


def log_late(maker: str, url: str, folder: Path) -> None:
    """A thread logs its first record when multiprocessing has done what it does at the end."""
    if maker in MAKERS:
        MAKERS[maker](url, folder)
    over = threading.Event()
    util.Finalize(None, over.set, exitpriority=-1)
    if sys.version_info >= (3, 13):
        # A child then waits for its threads before it does anything else at its end.
        over.set()

    def talk_late() -> None:
        over.wait()
        log.info("late")

    threading.Thread(target=talk_late).start()


def leave_a_thread(url: str, folder: Path, method: str, maker: str) -> None:
    """A child whose target returns while a thread of it goes on."""
    if maker == "inherited":
        add_handler(url, folder)
    context: Context = multiprocessing.get_context(method)
    process = context.Process(target=log_late, args=(maker, url, folder))
    process.start()
    process.join()


def log_in_processes(url: str, folder: Path, method: str, maker: str) -> None:
    """Each child makes its handler; by ``inherited`` it has its parent's."""
    context: Context = multiprocessing.get_context(method)
    target: Any = partial(make_and_work, maker, url, folder)
    if maker == "inherited":
        add_handler(url, folder)
        target = work
    processes = [context.Process(target=target, args=(number,)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print([process.exitcode for process in processes])


def log_in_a_pool(url: str, folder: Path, method: str, maker: str) -> None:
    """The pool ends its workers once it has the last result."""
    context: Context = multiprocessing.get_context(method)
    initializer: Any = partial(MAKERS.get(maker, add_handler), url, folder)
    if maker == "inherited":
        initializer()
        initializer = None
    with context.Pool(2, initializer) as pool:
        print(pool.map(work, range(20), chunksize=1))


def log_in_an_executor(url: str, folder: Path, method: str, maker: str) -> None:
    context: Context = multiprocessing.get_context(method)
    initializer = partial(MAKERS[maker], url, folder)
    with ProcessPoolExecutor(2, context, initializer) as executor:
        print(list(executor.map(work, range(20))))


def put_into_queue(lines: Any, child: int) -> None:
    logger = logging.getLogger("worker")
    logger.setLevel(logging.INFO)
    logger.handlers[:] = [QueueHandler(lines)]
    for number in range(50):
        logger.info("%d:%d", child, number)


def log_by_a_queue(url: str, folder: Path, method: str) -> None:
    """The logging cookbook's way: children put records into a queue, one listener handles them."""
    context: Context = multiprocessing.get_context(method)
    lines = context.Queue()
    with nvoi.CallbackStream("parent", url, KEY, "run-1", undelivered=folder) as stream:
        logging.getLogger("parent").error("before")
        stream.handler.flush()
        listener = QueueListener(lines, stream.handler)
        listener.start()
        processes = [context.Process(target=put_into_queue, args=(lines, n)) for n in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        listener.stop()


def end_while_a_thread_closes(url: str, folder: Path) -> None:
    """A child whose target returns in the middle of that."""
    context = multiprocessing.get_context("fork")
    process = context.Process(target=close_in_a_thread, args=(url, folder))
    process.start()
    process.join()


def close_in_a_thread(url: str, folder: Path) -> None:
    """Whoever returns from here, a thread that nobody waits for is closing the handler."""
    handler = add_handler(url, folder, budget=2.0)
    log.info("one")
    begun = threading.Event()

    def close() -> None:
        begun.set()
        handler.close()

    threading.Thread(target=close, daemon=True).start()
    begun.wait(PATIENCE)


# -- children that are terminated ------------------------------------------------------------


def wait_for_ever(ready: Connection) -> None:
    ready.send(os.getpid())
    while True:
        time.sleep(60)


def talk(url: str, folder: Path, ready: Connection, budget: float = 10.0) -> None:
    add_handler(url, folder, budget)
    log.info("one")
    log.info("two")
    wait_for_ever(ready)


def talk_from_a_thread(url: str, folder: Path, ready: Connection) -> None:
    """The handler and every record are of other threads, which may set no signal handler."""
    maker = threading.Thread(target=add_handler, args=(url, folder))
    maker.start()
    maker.join()
    talk_by_an_inherited_handler(ready)


def talk_by_an_inherited_handler(ready: Connection) -> None:
    talkers = [threading.Thread(target=log.info, args=(text,)) for text in ("one", "two")]
    for talker in talkers:
        talker.start()
        talker.join()
    wait_for_ever(ready)


def answer(number: int, frame: types.FrameType | None) -> None:
    log.info("terminated")
    sys.exit(9)


def handle_it_oneself(url: str, folder: Path, ready: Connection) -> None:
    """A program that handles SIGTERM itself: it is the one that is called."""
    signal.signal(signal.SIGTERM, answer)
    talk(url, folder, ready)


def handle_it_later(url: str, folder: Path, ready: Connection) -> None:
    """The same, of a program that does so when it has a handler of the log."""
    add_handler(url, folder)
    signal.signal(signal.SIGTERM, answer)
    talk_by_an_inherited_handler(ready)


def call_the_handler_that_was_there(url: str, folder: Path, ready: Connection) -> None:
    """A program's own handler, set later, calls the one that it has found."""
    add_handler(url, folder)
    log.info("one")

    def note(number: int, frame: types.FrameType | None) -> None:
        log.info("two")
        assert callable(before)
        before(number, frame)

    before = signal.signal(signal.SIGTERM, note)
    wait_for_ever(ready)


def be_signalled_otherwise(url: str, folder: Path, ready: Connection) -> None:
    """Another signal that has a handler ends nothing."""
    add_handler(url, folder)
    log.info("one")
    signal.signal(signal.SIGUSR1, lambda *_: log.info("two"))
    signal.raise_signal(signal.SIGUSR1)
    wait_for_ever(ready)


def be_signalled_on_a_foreign_thread(url: str, folder: Path, ready: Connection) -> None:
    """The kernel gives a signal to any thread: one of a library's in C, or one that just begins."""
    add_handler(url, folder)
    log.info("one")
    log.info("two")
    libc, thread = ctypes.CDLL(None), ctypes.c_ulong()
    assert libc.pthread_create(ctypes.byref(thread), None, libc.pause, None) == 0
    libc.pthread_kill(thread, signal.SIGTERM)
    wait_for_ever(ready)


def fork_another(url: str, folder: Path, ready: Connection) -> None:
    """A child of a child is terminated, which is none of its parent's business."""
    add_handler(url, folder)
    log.info("one")
    process = start(log_and_wait)
    process.terminate()
    process.join()
    assert process.exitcode == -signal.SIGTERM
    wait_for_ever(ready)


def log_and_wait(ready: Connection) -> None:
    log.info("two")
    wait_for_ever(ready)


def end_meanwhile(url: str, folder: Path, ready: Connection) -> None:
    """The target returns when all is being closed: a pool also tells its workers to end."""
    add_handler(url, folder, budget=2.0)
    log.info("one")
    ready.send(None)
    while this_process.ending_since is None:
        time.sleep(0.001)


def close_by_hand(url: str, folder: Path, ready: Connection, budget: float) -> None:
    """SIGTERM comes while the program closes its handler."""
    handler = add_handler(url, folder, budget)
    log.info("one")
    log.info("two")
    ready.send(os.getpid())
    handler.close()
    wait_for_ever(ready)


def start(target: Any, *args: Any, daemon: bool = False) -> BaseProcess:
    """A forked child, which has got as far as to say so."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(*args, sending), daemon=daemon)
    process.start()
    receiving.recv()
    return process


def terminate(url: str, folder: Path, target: str) -> None:
    process = start(globals()[target], url, folder)
    process.terminate()
    process.join()
    print(process.exitcode)


def wait_for_the_end(url: str, folder: Path, target: str) -> None:
    """A child that ends itself."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=globals()[target], args=(url, folder, sending))
    process.start()
    process.join()
    receiving.close()
    print(process.exitcode)


def terminate_inheritor(url: str, folder: Path) -> None:
    add_handler(url, folder)
    process = start(talk_by_an_inherited_handler)
    process.terminate()
    process.join()
    print(process.exitcode)


def terminate_often(url: str, folder: Path, target: str) -> None:
    """SIGTERM after SIGTERM, for as long as the child is there."""
    budget = 2.0
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=globals()[target], args=(url, folder, sending, budget))
    process.start()
    receiving.recv()
    while process.is_alive():
        process.terminate()
        process.join(0.05)
    print(process.exitcode)


def leave_a_daemon(url: str, folder: Path) -> None:
    """The parent ends, and multiprocessing terminates the child that is a daemon."""
    start(talk, url, folder, daemon=True)


def terminate_a_pool(url: str, folder: Path, budget: str) -> None:
    """Prints how many seconds terminating took, with nothing that can be delivered."""
    context = multiprocessing.get_context("fork")
    with context.Pool(3, add_handler, (url, folder, float(budget))) as pool:
        pool.map(work, range(20), chunksize=1)
        began = time.monotonic()
    pool.join()
    print(time.monotonic() - began)


# -- what a child knows of itself ------------------------------------------------------------


def count(url: str, folder: Path) -> None:
    """A child prints what became of its records, which its parent's are no part of."""
    with nvoi.CallbackStream("nvoi", url, KEY, "run-1", undelivered=folder, budget=1.0) as stream:
        log.info("parent")
        sys.stdout.flush()
        if (pid := os.fork()) == 0:
            for number in range(3):
                log.info("child %d", number)
            stream.completed()
            stream.handler.close()
            stats = stream.stats()
            print(stats.logged, stats.delivered, stats.dropped, stats.undelivered)
            print(stream.undelivered_file, flush=True)
            os._exit(0)
        os.waitpid(pid, 0)


# -- fork by hand ----------------------------------------------------------------------------


def fork_within_a_log_call(url: str, folder: Path) -> None:
    """A value of a record forks when it is put into the text."""
    add_handler(url, folder)

    class Forking:
        pid = -1

        def __str__(self) -> str:
            # A text may be asked for more than once.
            if self.pid < 0:
                self.pid = os.fork()
            return "child" if self.pid == 0 else "parent"

    value = Forking()
    log.info("%s", value)
    if value.pid:
        os.waitpid(value.pid, 0)


def fork_on_a_thread(url: str, folder: Path) -> None:
    """At its end the child's only thread is none that Python calls exit hooks for."""
    add_handler(url, folder)
    codes = []

    def fork() -> None:
        if (pid := os.fork()) == 0:
            log.info("child")
            sys.exit(0)
        codes.append(os.waitpid(pid, 0)[1])

    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
    log.info("parent")
    assert codes == [0]


def fork_twice(url: str, folder: Path) -> None:
    """A child of a child, each with records of its own."""
    add_handler(url, folder)
    for name in ("parent", "child"):
        log.info("%s before", name)
        if pid := os.fork():
            os.waitpid(pid, 0)
            log.info("%s after", name)
            return
    log.info("grandchild")


def fork_while_closing(url: str, folder: Path) -> None:
    """Children come while another thread closes the handler and logs to it again."""
    handler = add_handler(url, folder)
    stop = threading.Event()

    def close() -> None:
        while not stop.is_set():
            log.info("again")
            handler.close()

    closer = threading.Thread(target=close)
    closer.start()
    for number in range(8):
        if (pid := os.fork()) == 0:
            log.info("child %d", number)
            sys.exit(0)
        os.waitpid(pid, 0)
    stop.set()
    closer.join()
