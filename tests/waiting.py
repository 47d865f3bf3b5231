"""Waits for what happens elsewhere, and fetches, for all tests; each says what it waited for."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol
from urllib.request import ProxyHandler, build_opener

#: Seconds that anything a test waits for may take on a loaded machine.
PATIENCE = 120.0


def wait_until(is_so: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """Poll until ``is_so``; raises AssertionError that says what was waited for."""
    deadline = time.monotonic() + timeout
    pause = 0.01
    while not is_so():
        assert time.monotonic() < deadline, f"waited {timeout:.0f} s for {what}"
        threading.Event().wait(pause)
        # To look costs: what takes long is looked for less often.
        pause = min(1.3 * pause, 0.1)


def wait_for_text(path: Path, timeout: float = PATIENCE) -> str:
    """The text of a file once there is some."""
    wait_until(lambda: path.exists() and path.stat().st_size, f"a text in {path}", timeout)
    return path.read_text("utf-8")


class Process(Protocol):
    """What was started."""

    def kill(self) -> None: ...

    def wait(self) -> int: ...


def wait_for_end(process: Process, timeout: float = PATIENCE) -> int:
    """The exit code of a process; its own wait would look twenty times a second."""
    ended = threading.Event()

    def end() -> None:
        if not ended.wait(timeout):
            process.kill()

    threading.Thread(target=end, daemon=True).start()
    deadline = time.monotonic() + timeout
    code = process.wait()
    ended.set()
    assert code != -signal.SIGKILL or time.monotonic() < deadline, f"waited {timeout:.0f} s"
    return code


def run_program(
    *words: str | Path,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    given: str = "",
) -> str:
    """What a program prints that ends well; it reads ``given``."""
    done = subprocess.run(
        words,
        env=environ,
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fetch(url: str) -> str:
    """The text that is at ``url``, with no proxy between; raises OSError where there is none."""
    with build_opener(ProxyHandler({})).open(url, timeout=PATIENCE) as answer:
        return str(answer.read().decode())


def fetch_from(port: int, path: str = "") -> str:
    """The text that a server on this machine has at ``path``."""
    return fetch(f"http://127.0.0.1:{port}/{path}")
