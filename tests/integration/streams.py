"""A callback stream in the test's own process, on a logger of its own."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nvoi.log.levels import Logger, get_logger
from nvoi.log.stream import CallbackStream

KEY = "0123456789abcdef" * 4

#: What a busy machine may add to a time that has no bound but what is tested; far under the ten
#: that a request may take, and the seven of a budget of ten that lines may.
SLACK_SECONDS = 6.0


class Run:
    """A run whose log goes to ``url``; it ends well, unless its block does not.

    Args:
        url: the callback URL.
        folder: where its undelivered records go.
        budget: seconds that closing may take.
        settings: of the stream.
    """

    def __init__(self, url: str, folder: Path, *, budget: float = 1.0, **settings: Any) -> None:
        self.log: Logger = get_logger(f"nvoi.tests.{uuid.uuid4().hex}")
        deploy_id = settings.pop("deploy_id", "run-1")
        self.stream = CallbackStream(
            self.log, url, KEY, deploy_id, budget=budget, undelivered=folder, **settings
        )
        #: How long the end took.
        self.closing_seconds = 0.0

    def __enter__(self) -> Self:
        # Thousands of lines are of no use to the report of a test that fails. Not before:
        # pytest adds its own handler to the loggers that do not propagate when a test begins.
        self.log.propagate = False
        self.stream.started()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        began = time.monotonic()
        self.stream.__exit__(kind, error, traceback)
        self.closing_seconds = time.monotonic() - began

    @property
    def file(self) -> Path | None:
        """What was not delivered."""
        return self.stream.undelivered_file

    def get_file(self) -> Path:
        """The same, where there must be one."""
        assert self.file is not None
        return self.file


def log_numbers(run: Run, first: int, last: int) -> list[str]:
    """Log a line for each number, and return the lines."""
    lines = [f"line {number}" for number in range(first, last + 1)]
    for line in lines:
        run.log.info("%s", line)
    return lines


def measure(make: Callable[[], float], most: float, runs: int = 20) -> None:
    """See to it that a time stays within its limit; a busy machine gets further tries.

    Raises:
        AssertionError: it was over ``most`` seconds each time.
    """
    seconds: list[float] = []
    for _ in range(runs):
        seconds.append(make())
        if seconds[-1] <= most:
            return
    raise AssertionError(f"at most {most} s are allowed: {json.dumps(seconds)}")
