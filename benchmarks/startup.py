"""How long ``nvoi --version`` takes, against ``python -c 'import argparse, logging'``.

And ``nvoi deploy --help`` against ``nvoi --version``. Once as nvoi is installed beside this
interpreter, and once as a user has it: copied into a fresh environment of its own.
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
VERSION_LIMIT, HELP_LIMIT = 1.3, 1.5

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
    nvoi = str(folder / "nvoi")
    commands = {
        "argparse and logging": [str(folder / "python"), "-c", "import argparse, logging"],
        "--version": [nvoi, "--version"],
        "deploy --help": [nvoi, "deploy", "--help"],
    }
    for command in commands.values():
        measure(command)  # writes what is compiled, and warms the disk's cache
    runs = [[measure(command) for command in commands.values()] for _ in range(rounds)]
    for title, index in (("wall", 0), ("processor", 1)):
        figures = [
            describe([run[each][index] for run in runs], 1e3) for each in range(len(runs[0]))
        ]
        told = ", ".join(f"{each} {figure}" for each, figure in zip(commands, figures, strict=True))
        goals.note(f"{name}, {title} time in ms: {told}")
    ratios = [version[0] / plain[0] for plain, version, _ in runs]
    goals.at_most(f"{name}: nvoi --version / plain", find_median(ratios), VERSION_LIMIT)
    ratios = [help_[0] / version[0] for _, version, help_ in runs]
    goals.at_most(f"{name}: nvoi deploy --help / --version", find_median(ratios), HELP_LIMIT)


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
