"""Work that goes on on several hosts side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Protocol, TypeVar

from nvoi.errors import ConnectionLostError, HostsError, NvoiError

T = TypeVar("T")
H = TypeVar("H")

#: Seconds that the threads have to end what runs on their hosts.
CANCEL_SECONDS = 10.0


class Cancellable(Protocol):
    """What can be ended from another thread."""

    def cancel(self) -> None:
        """End it."""
        ...


class Round:
    """What one caller waits for on several threads, and can give up as a whole."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Cancellable] = set()
        self._is_over = False

    @contextmanager
    def hold(self, piece: Cancellable) -> Iterator[None]:
        """``piece`` is a part of it while the context lasts.

        Raises:
            ConnectionLostError: the round was cancelled; nothing is begun any more.
        """
        with self._lock:
            if self._is_over:
                raise ConnectionLostError("cancelled, as the run was")
            self._running.add(piece)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(piece)

    def cancel(self) -> None:
        """End what runs, and let nothing more begin."""
        with self._lock:
            self._is_over = True
            running = tuple(self._running)
        for piece in running:
            piece.cancel()


current: ContextVar[Round | None] = ContextVar("round", default=None)


def work_on_all(hosts: Sequence[H], work: Callable[[H], T]) -> dict[H, T]:
    """``work`` for each of the hosts, on a thread each; all of them end before this returns.

    Ctrl-C ends what runs on the hosts.

    Raises:
        HostsError: several of them failed.
        NvoiError: one of them failed.
    """
    if len(hosts) == 1:
        return {hosts[0]: work(hosts[0])}
    round_ = Round()
    done: dict[H, T] = {}
    failed: dict[H, BaseException] = {}

    def do(host: H) -> None:
        current.set(round_)
        try:
            done[host] = work(host)
        except BaseException as error:  # noqa: BLE001 - raised below, on the caller's thread
            failed[host] = error

    # Each thread sees the caller's context, and changes a copy of its own.
    threads = [
        threading.Thread(target=copy_context().run, args=(do, host), daemon=True) for host in hosts
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        round_.cancel()
        deadline = time.monotonic() + CANCEL_SECONDS
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        raise
    _raise([failed[host] for host in hosts if host in failed])
    return {host: done[host] for host in hosts}


def _raise(errors: Sequence[BaseException]) -> None:
    for error in errors:
        if not isinstance(error, NvoiError):
            raise error
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise HostsError([error for error in errors if isinstance(error, NvoiError)])
