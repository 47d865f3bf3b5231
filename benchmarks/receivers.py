"""The far end of a callback, for benchmarks: one that takes all, one that hangs, none at all."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parent.parent

#: The deploy key's text: as long as a real one.
KEY = "5e" * 32


@contextlib.contextmanager
def start_receiver() -> Iterator[str]:
    """The URL of a receiver that takes everything, in a process of its own."""
    command = [sys.executable, "-m", "tests.fakes.receiver"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield read_url(process)
        finally:
            process.terminate()
            process.communicate()


def read_url(process: subprocess.Popen[str]) -> str:
    """The first line of a receiver's output.

    Raises:
        RuntimeError: it ended before it had one.
    """
    line = process.stdout.readline().strip() if process.stdout else ""
    if not line:
        raise RuntimeError("the receiver did not start")
    return line


@contextlib.contextmanager
def hold_dead_port() -> Iterator[str]:
    """A URL at which every connection is refused: its port is bound and does not listen."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        yield f"http://{HOST}:{sock.getsockname()[1]}/api/deploys"


@contextlib.contextmanager
def hold_silent_port() -> Iterator[str]:
    """A URL at which connections are taken and nothing is ever answered.

    The system takes connections for a listening socket by itself, up to its backlog.
    """
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        sock.listen(128)
        yield f"http://{HOST}:{sock.getsockname()[1]}/api/deploys"
