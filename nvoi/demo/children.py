"""The processes that the demo starts: nvoi itself, each in a session of its own.

Ctrl-C in a terminal then reaches the demo alone, which ends them in their order.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

#: Seconds that one has for its end before it is killed. A deploy takes back what it did, and
#: waits for its services to stop: 10 s each time.
STOP_SECONDS = 45.0


class Guard(Protocol):
    """Decides when a signal may interrupt."""

    def hold(self) -> AbstractContextManager[None]:
        """Inside, no signal interrupts; one that came is raised at the end."""

    def settle(self) -> None:
        """From now on no signal interrupts."""


def build_command(words: Sequence[str]) -> list[str]:
    """The command as it runs here, whatever lies in the folder that it is started in."""
    return [sys.executable, "-P", "-m", "nvoi", *words]


@contextmanager
def start(
    words: Sequence[str],
    environ: Mapping[str, str],
    guard: Guard,
    *,
    output: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A command of nvoi's that runs for no longer than the ``with`` block.

    Args:
        words: its arguments.
        environ: its whole environment.
        guard: keeps signals away until it can be ended.
        output: the file for what it prints; None lets it print to where the demo does.
    """
    with ExitStack() as stack:
        with guard.hold():
            target = stack.enter_context(output.open("wb")) if output else None
            process = subprocess.Popen(  # noqa: S603 - our own words, no shell
                build_command(words),
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=subprocess.STDOUT if target else None,
                start_new_session=True,
            )
            stack.callback(stop, process, guard)
        yield process


def stop(process: subprocess.Popen[bytes], guard: Guard) -> None:
    """SIGTERM, and SIGKILL to one that does not end; one that has ended is left alone."""
    if process.poll() is not None:
        return
    with guard.hold():
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
