"""What nvoi itself takes of a second ``nvoi deploy`` of examples/hello.

The app is started twice in a deploy, on trial and in its place, and waited for. How long that
takes is measured by hand, without nvoi, and taken off; all the rest is nvoi's, the start of
its interpreter and the example's ``pre_run_command`` included.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from goals import Goals, describe, find_median

HELLO = Path(__file__).resolve().parent.parent / "examples" / "hello"
HOST = "127.0.0.1"
LIMIT_SECONDS = 1.0

#: Seconds for the app to become healthy, and between two looks.
DEADLINE_SECONDS, LOOK_SECONDS = 10.0, 0.002


def find_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


def is_healthy(port: int) -> bool:
    """Whether the app answers on its health page."""
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    with contextlib.closing(connection), contextlib.suppress(OSError):
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    return False


def measure_start(folder: Path) -> float:
    """Seconds from the start of the app until it is healthy.

    Raises:
        TimeoutError: it does not become healthy.
    """
    port = find_port()
    began = time.perf_counter()
    command = ["/bin/sh", "-c", "exec python3 app.py"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as app:
        try:
            while not is_healthy(port):
                if time.perf_counter() - began > DEADLINE_SECONDS:
                    raise TimeoutError("examples/hello does not become healthy")
                time.sleep(LOOK_SECONDS)
            return time.perf_counter() - began
        finally:
            app.terminate()


def copy_hello(folder: Path) -> Path:
    """A copy of the example that listens on a free port."""
    target = folder / "hello"
    shutil.copytree(HELLO, target)
    config = target / "deploy.yml"
    text = config.read_text(encoding="utf-8")
    # Without the seconds that it must stay up on trial: they are no work of nvoi's.
    own = f"port: {find_port()}\n      min_ready: 0"
    changed = re.sub(r"\bport: \d+", own, text, count=1)
    config.write_text(changed, encoding="utf-8")
    return target


def run_nvoi(app: Path, home: Path, *arguments: str) -> tuple[float, list[str]]:
    """Seconds that the installed command takes, and the messages that it logs."""
    command = [str(Path(sys.executable).parent / "nvoi"), *arguments]
    place = ["--config", "deploy.yml", "--log-format", "json"]
    began = time.perf_counter()
    result = subprocess.run(
        [*command, *place],
        cwd=app,
        env={**os.environ, "NVOI_HOME": str(home)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    elapsed = time.perf_counter() - began
    return elapsed, [json.loads(line)["message"] for line in result.stdout.splitlines()]


def find_table(messages: list[str]) -> list[str]:
    """The lines of the run that say where its time went; none where no step took long."""
    if "Where the time went:" not in messages:
        return []
    start = messages.index("Where the time went:") + 1
    return [line.strip() for line in messages[start:] if line.startswith("  ")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    goals = Goals(f"deploy, {options.rounds} rounds")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        app, home = copy_hello(folder), folder / "home"
        try:
            run_nvoi(app, home, "deploy")
            starts = [measure_start(app) for _ in range(options.rounds)]
            runs = [run_nvoi(app, home, "deploy") for _ in range(options.rounds)]
        finally:
            run_nvoi(app, home, "delete", "--yes")
    totals = [seconds for seconds, _ in runs]
    for line in find_table(runs[-1][1]):
        goals.note(line)
    goals.note(f"the app's own start, by hand: {describe(starts, digits=2)} s")
    goals.note(f"a second deploy, from the command to its end: {describe(totals, digits=2)} s")
    goals.at_most(
        "a second deploy without two starts of the app",
        find_median(totals) - 2 * find_median(starts),
        LIMIT_SECONDS,
        "s",
    )
    goals.leave()


if __name__ == "__main__":
    main()
