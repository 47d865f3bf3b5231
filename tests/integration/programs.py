"""Programs for tests of how a process ends: each is a process, and none outlives its test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nvoi.targets.local.processes import find_marked
from tests.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]


@contextmanager
def start(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Python with ``arguments``; nothing that it started is left when the block ends."""
    with subprocess.Popen(
        # From Python 3.12 on a fork beside threads is warned of; it happens all the same.
        [sys.executable, "-X", "faulthandler", "-W", "ignore::DeprecationWarning", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def run(folder: Path, *arguments: str, timeout: float = PATIENCE) -> tuple[int, str, str]:
    """The exit code, the output and the errors of Python with ``arguments``.

    Raises:
        AssertionError: it hangs, and where.
    """
    with start(folder, *arguments) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            # By this signal each of them shows where it hangs.
            os.killpg(process.pid, signal.SIGABRT)
            raise AssertionError(f"{arguments} hangs: {process.communicate()[1]}") from None
    return process.returncode, output, errors


def end_marked(**marks: str) -> None:
    """Kill all that was started with ``marks`` in its environment, until nothing of it is left."""

    def kill_all() -> bool:
        pids = find_marked(marks)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    wait_until(kill_all, "all processes to end")
