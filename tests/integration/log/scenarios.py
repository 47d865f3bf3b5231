"""Programs for tests of how a process ends: functions of a module, each in a process of its own.

The process is forked from one that has imported nvoi, and ends as any interpreter does.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.fakes.receiver import Receiver
from tests.integration.forkserver import ForkedProcess
from tests.integration.streams import KEY
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[3]

#: ``nvoi`` is imported as programs that embed the callback have it, without the commands.
PACKAGES = (
    "nvoi.log",
    *(f"tests.integration.log.{name}" for name in ("children", "embedder", "signals")),
)


def call(module: str, scenario: str, url: str, folder: str, *rest: str) -> None:
    """A scenario, in its process."""
    getattr(importlib.import_module(module), scenario)(url, Path(folder), *rest)


@contextmanager
def start(
    scenario: Callable[..., None],
    url: str,
    folder: Path,
    *rest: str,
    output: IO[bytes],
    errors: IO[bytes],
) -> Iterator[ForkedProcess]:
    """A scenario, of which nothing that it started is left when the block ends."""
    process = ForkedProcess(
        [scenario.__module__, scenario.__name__, url, str(folder), *rest],
        output,
        errors,
        {"PATH": os.environ["PATH"], "HOME": str(folder)},
        ROOT,
        target=(__name__, "call"),
        packages=PACKAGES,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(
    scenario: Callable[..., None], receiver: Receiver, folder: Path, *rest: str
) -> tuple[int, str, str]:
    """The exit code, the output and the errors of a scenario.

    Raises:
        AssertionError: it hangs, and where.
    """
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
        start(scenario, receiver.url, folder, *rest, output=output, errors=errors) as process,
    ):
        try:
            code = process.wait(PATIENCE)
        except TimeoutError:
            # By this signal each of them shows where it hangs.
            os.killpg(process.pid, signal.SIGABRT)
            process.wait()
            raise AssertionError(f"{scenario.__name__} hangs: {read(errors)}") from None
        return code, read(output), read(errors)


def run_well(scenario: Callable[..., None], receiver: Receiver, folder: Path, *rest: str) -> str:
    """The output of a scenario that ends well."""
    code, output, errors = run(scenario, receiver, folder, *rest)
    assert (code, "Traceback" in errors) == (0, False), errors
    return output


def read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def run_program(program: str, *arguments: object) -> tuple[int, str, str]:
    """The same of a program of its own, for what an interpreter does when it begins."""
    done = subprocess.run(
        [sys.executable, "-c", program.replace("KEY", KEY), *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
