"""An account elsewhere: how it is asked and waited for, and what an error says of what it has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from nvoi.errors import NvoiError, RequestError, UsageError
from nvoi.http import ANSWER_SECONDS, PATIENCE, PAUSE, Client, build_connect
from nvoi.protocol import find_url_fault
from nvoi.version import __version__
from nvoi.waiting import NotReadyError, wait_for

T = TypeVar("T")

#: Seconds for which one who does not answer is asked again, where that is only for a look.
GLANCE = 5.0


@dataclass(frozen=True)
class Pace:
    """Seconds.

    Attributes:
        answer: for which the API may be silent.
        patience: for which it is asked again.
        pause: between the first two times.
        poll: from one look at what it does in the background to the next, at first.
        longest_poll: later.
        deadline: that all it does in the background together may take.
    """

    answer: float = ANSWER_SECONDS
    patience: float = PATIENCE
    pause: float = PAUSE
    poll: float = 0.5
    longest_poll: float = 3.0
    deadline: float = 600.0

    def hurry(self) -> Self:
        """The same for one who only looks."""
        return replace(self, patience=min(GLANCE, self.patience))

    def look(
        self, look: Callable[[], T], what: str, log: logging.Logger, seconds: float | None = None
    ) -> T:
        """What ``look`` returns once it does not raise ``NotReadyError`` any more.

        Raises:
            NotReadyError: it still does after ``seconds``, or the deadline.
        """
        return wait_for(
            look,
            what=what,
            seconds=self.deadline if seconds is None else seconds,
            log=log,
            pause=self.poll,
            longest_pause=self.longest_poll,
        )

    def wait(self, look: Callable[[], T], what: str, log: logging.Logger, *, hint: str) -> T:
        """The same until the deadline.

        Raises:
            NvoiError: it is over. It says what was seen last.
        """
        try:
            return self.look(look, what, log)
        except NotReadyError as seen:
            message = f"waited {self.deadline:.0f} s for {what}: {seen}"
            raise NvoiError(message, hint=hint) from seen


@contextmanager
def telling_made(made: Sequence[object]) -> Iterator[None]:
    """Have an error name what was made before it, which stays; ``made`` may grow meanwhile."""
    try:
        yield
    except NvoiError as error:
        if made:
            names = ", ".join(map(str, made))
            told = f"made so far, which the next run goes on from: {names}"
            error.hint = f"{error.hint}; {told}" if error.hint else told
        raise


def get_endpoint(environ: Mapping[str, str], variable: str, usual: str) -> str:
    """The address of an API: what the variable names, or the usual one.

    Raises:
        UsageError: it names none.
    """
    endpoint = environ.get(variable)
    if endpoint and (fault := find_url_fault(endpoint)):
        raise UsageError(f"{variable} {fault}", hint="unset it to use the usual address")
    return endpoint or usual


def build_client(
    name: str,
    url: str,
    environ: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    pace: Pace,
    log: logging.Logger,
    is_temporary: Callable[[RequestError], bool],
    is_undone: Callable[[RequestError], bool],
) -> Client:
    """What asks the API of whom ``name`` says; the log has a line where it is asked again.

    Raises:
        UsageError: a proxy in ``environ`` cannot be used.
    """

    def tell_trouble(error: RequestError | None) -> None:
        if error is not None:
            log.warning(
                "%s's API does not answer as it should, and is asked again: %s", name, error
            )

    return Client(
        build_connect(url, environ),
        headers={**headers, "User-Agent": f"nvoi/{__version__}"},
        pause=pace.pause,
        listen=tell_trouble,
        is_temporary=is_temporary,
        is_undone=is_undone,
    )
