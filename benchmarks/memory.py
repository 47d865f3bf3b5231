"""What two million log calls leave in memory while nothing can be delivered.

Each case runs in a process of its own: the peak of its resident memory, closing included,
less what it had before the first call.
"""

from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from goals import Goals
from receivers import KEY, hold_dead_port, hold_silent_port

import nvoi

LIMIT_MIB = 48
MESSAGE_BYTES = 200

#: Seconds for closing: as it is set for a run, nearly all of it would be waiting.
BUDGET_SECONDS = 2.0

RECEIVERS = {"down": hold_dead_port, "hanging": hold_silent_port}
LEVELS = {"info": logging.INFO, "ok": nvoi.OK}


def read_kib(name: str) -> int:
    """A figure of this process from the kernel (proc_pid_status(5)): VmRSS or its peak, VmHWM."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    match = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"/proc/self/status has no {name}")
    return int(match[1])


def fill(receiver: str, level: int, records: int) -> None:
    """Log, close, and print the growth in KiB and what became of the records."""
    logger = logging.getLogger("nvoi.web")
    with tempfile.TemporaryDirectory() as folder, RECEIVERS[receiver]() as url:
        stream = nvoi.CallbackStream(
            "nvoi", url, KEY, "benchmark", budget=BUDGET_SECONDS, undelivered=folder
        )
        stream.started()
        logger.log(level, "the first request brings in what sending needs")
        before, began = read_kib("VmRSS"), time.perf_counter()
        for number in range(records):
            # Made anew each time: a text that all records share would take no memory.
            logger.log(level, f"{number:0{MESSAGE_BYTES}d}")  # noqa: G004 - the text is the load
        logged, peak = time.perf_counter(), read_kib("VmHWM")
        stream.completed()
        closed, stats = time.perf_counter(), stream.stats()
    print(peak - before, read_kib("VmHWM") - before)
    print(f"{(logged - began) / records * 1e6:.1f} µs a call, closed in {closed - logged:.1f} s")
    print(f"{stats.logged} logged, {stats.delivered} delivered, {stats.undelivered} kept in a file")


def judge(goals: Goals, receiver: str, level: str, records: int) -> None:
    """Run one case and judge it."""
    command = [sys.executable, __file__, "--fill", receiver, level, "--records", str(records)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures, *notes = output.splitlines()
    logging_kib, all_kib = map(int, figures.split())
    name = f"receiver {receiver}, level {level}"
    goals.at_most(f"{name}, while logging", logging_kib / 1024, LIMIT_MIB, "MiB")
    goals.at_most(f"{name}, closing included", all_kib / 1024, LIMIT_MIB, "MiB")
    for note in notes:
        goals.note(note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--fill", nargs=2, metavar=("RECEIVER", "LEVEL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill:
        receiver, level = options.fill
        fill(receiver, LEVELS[level], options.records)
        return
    goals = Goals(f"memory, {options.records} records of {MESSAGE_BYTES} bytes")
    for receiver in RECEIVERS:
        for level in LEVELS:
            judge(goals, receiver, level, options.records)
    goals.leave()


if __name__ == "__main__":
    main()
