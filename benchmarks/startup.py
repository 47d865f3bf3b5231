"""How long ``nvoi --version`` takes, against ``python -c 'import argparse, logging'``.

Once as nvoi is installed beside this interpreter, and once as a user has it: copied into a
fresh environment of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from goals import Goals, describe, find_median

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 1.3

#: What makes the distribution.
SOURCES = ("nvoi", "setup.cfg", "pyproject.toml", "LICENSE")


def measure(command: Sequence[str]) -> tuple[float, float]:
    """Seconds of wall and of processor time that ``command`` takes."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return elapsed, usage.ru_utime + usage.ru_stime


def compare(goals: Goals, name: str, folder: Path, rounds: int) -> None:
    """Judge the ``nvoi`` in ``folder`` against the ``python`` beside it, in turns."""
    ours = [str(folder / "nvoi"), "--version"]
    plain = [str(folder / "python"), "-c", "import argparse, logging"]
    for command in (ours, plain):
        measure(command)  # writes what is compiled, and warms the disk's cache
    runs = [(measure(ours), measure(plain)) for _ in range(rounds)]
    for title, index in (("wall", 0), ("processor", 1)):
        own, other = ([pair[side][index] for pair in runs] for side in (0, 1))
        figures = f"nvoi {describe(own, 1e3)} ms, argparse and logging {describe(other, 1e3)}"
        goals.note(f"{name}, {title} time: {figures}")
    ratios = [own[0] / other[0] for own, other in runs]
    goals.at_most(f"{name}: time of nvoi --version, ratio", find_median(ratios), LIMIT)


def install(folder: Path) -> Path:
    """Install a copy of nvoi with what it needs into a new environment.

    Returns:
        The folder of its commands.
    """
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    commands = folder / "venv" / "bin"
    pip = [str(commands / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, str(source)], check=True)
    return commands


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    goals = Goals(f"startup, {options.rounds} rounds")
    compare(goals, "beside this interpreter", Path(sys.executable).parent, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        compare(goals, "in an environment of its own", install(Path(folder)), options.rounds)
    goals.leave()


if __name__ == "__main__":
    main()
