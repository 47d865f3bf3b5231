"""Work side by side, on threads that are cancelled together.

Whoever works long asks :func:`check` now and then, pauses by :func:`sleep`, and lends what blocks
to :meth:`CancelScope.hold`, so that another thread can end it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future
from concurrent.futures import wait as wait_for_futures
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from typing import Generic, Protocol, TypeVar

from nvoi.errors import HostsError, NvoiError
from nvoi.signals import LOOK_SECONDS

T = TypeVar("T")
H = TypeVar("H")

#: Seconds that cancelled tasks have to end what they run, on other hosts too.
CANCEL_SECONDS = 10.0
#: The same for the other tasks where one has failed: one that hangs holds up nobody.
ABANDON_SECONDS = 1.0


class CancelledError(NvoiError):
    """The run ended this piece of work: another piece failed, or the run was interrupted."""


class Cancellable(Protocol):
    def cancel(self) -> None: ...


class CancelScope:
    """What is cancelled as one. Usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._held: set[Cancellable] = set()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End what is held, and let nothing more begin."""
        with self._lock:
            self._cancelled.set()
            held = tuple(self._held)
        for one in held:
            one.cancel()

    def check(self) -> None:
        """Raise :class:`CancelledError` once the scope is cancelled."""
        if self.is_cancelled:
            raise CancelledError("cancelled, as the run was")

    def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until the scope is cancelled."""
        self._cancelled.wait(seconds)
        self.check()

    @contextmanager
    def hold(self, one: Cancellable) -> Iterator[None]:
        """Cancel ``one`` with the scope while the context lasts."""
        with self._lock:
            self.check()
            self._held.add(one)
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(one)


#: What nothing cancels, where no task is worked on.
_current: ContextVar[CancelScope] = ContextVar("nvoi_cancel_scope", default=CancelScope())  # noqa: B039 - one for all


def is_cancelled() -> bool:
    """Whether the task that this thread works on is cancelled."""
    return _current.get().is_cancelled


def check() -> None:
    """Raise :class:`CancelledError` if the task that this thread works on is cancelled."""
    _current.get().check()


def sleep(seconds: float) -> None:
    """Sleep, but no longer than until the task that this thread works on is cancelled.

    Raises:
        CancelledError: it is.
    """
    _current.get().sleep(seconds)


def hold(one: Cancellable) -> AbstractContextManager[None]:
    """Cancel ``one`` with the task that this thread works on, while the context lasts.

    Raises:
        CancelledError: the task is cancelled already.
    """
    return _current.get().hold(one)


class Task(Generic[T]):
    """Work on a thread of its own, which sees the caller's context and changes a copy.

    The scope that the caller works in cancels it too.
    """

    def __init__(self, work: Callable[[], T], name: str = "nvoi-task") -> None:
        self._work = work
        self._scope = CancelScope()
        #: What the work returned or raised.
        self.future: Future[T] = Future()
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._run,), name=name, daemon=True
        )

    def start(self) -> None:
        """Begin, and return at once."""
        self._thread.start()

    def cancel(self) -> None:
        """Tell the work to end, from any thread; do not wait for it."""
        self._scope.cancel()

    def join(self, seconds: float) -> bool:
        """Wait for the end of the work, ``seconds`` at most; whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with hold(self):
                _current.set(self._scope)
                result = self._work()
        except BaseException as error:  # noqa: BLE001 - raised again where the future is asked
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


def work_on_all(hosts: Sequence[H], work: Callable[[H], T]) -> dict[H, T]:
    """``work`` for each of the hosts side by side; all of them end before this returns.

    Ctrl-C ends what runs on the hosts.

    Raises:
        HostsError: several of them failed.
        NvoiError: one of them failed.
    """
    if len(hosts) == 1:
        return {hosts[0]: work(hosts[0])}
    # Bound by a default, as a closure would see the last host alone.
    tasks = [Task(lambda host=host: work(host)) for host in hosts]  # type: ignore[misc]
    with _started(tasks, CANCEL_SECONDS):
        while any(not task.future.done() for task in tasks):
            wait_for_futures([task.future for task in tasks], LOOK_SECONDS)
    _raise([error for task in tasks if (error := task.future.exception())])
    return {host: task.future.result() for host, task in zip(hosts, tasks, strict=True)}


def run_together(works: Iterable[Callable[[], object]]) -> None:
    """Do each of the works on a thread of its own, and return when all have ended.

    The first that fails, or an interruption of the caller, cancels the others. They are daemon
    threads and get one second for that.

    Raises:
        Exception: what the first work to fail has raised.
    """
    tasks = [Task(work) for work in works]
    with _started(tasks, ABANDON_SECONDS):
        left = {task.future for task in tasks}
        while left:
            done, left = wait_for_futures(left, LOOK_SECONDS, FIRST_EXCEPTION)
            for future in done:
                future.result()


@contextmanager
def _started(tasks: Sequence[Task[T]], seconds: float) -> Iterator[None]:
    """Start all tasks; when this ends by an error, cancel them and wait ``seconds`` at most."""
    try:
        for task in tasks:
            task.start()
        yield
    except BaseException:
        for task in tasks:
            task.cancel()
        deadline = time.monotonic() + seconds
        for task in tasks:
            task.join(max(0.0, deadline - time.monotonic()))
        raise


def _raise(errors: Sequence[BaseException]) -> None:
    for error in errors:
        if not isinstance(error, NvoiError):
            raise error
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise HostsError([error for error in errors if isinstance(error, NvoiError)])
