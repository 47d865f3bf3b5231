"""The kill table: a fault at each single call of a cloud's API in turn, and what becomes of it.

    python -m tests.integration.clouds.kill_table [CLOUD…] [RUN…]
    python -m tests.integration.clouds.kill_table CLOUD RUN NUMBER FAULT

The first runs all of it, which takes minutes, or what these are named of it, and prints the table
of docs/providers.md; the second one cell, as a test that failed names it. Every cell is a run of
its own, on a stand-in of its own: the run with the fault, which is a deploy into an empty account,
a change of what another deploy has made, or a delete; then the next run, which has to heal it,
then a delete, after which nothing may be left; and once more with the delete right after the
broken run. What is of others stays as it is.
"""

from __future__ import annotations

import copy
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import product

from nvoi.config.schema import Application
from nvoi.errors import NvoiError
from tests.fakes.clouds.server import Cloud, Fault, Refused
from tests.integration.clouds import aws_case, cloudflare_case, hetzner_case, scaleway_case
from tests.integration.clouds.case import Case

CASES = {
    case.name.lower(): case
    for case in (hetzner_case.CASE, cloudflare_case.CASE, aws_case.CASE, scaleway_case.CASE)
}
RUNS = DEPLOY, CHANGE, DELETE = "deploy", "change", "delete"


def fail(fault: Fault) -> Callable[[Cloud, int], None]:
    return lambda cloud, number: cloud.fail_call(number, fault)


def stop(fault: Fault) -> Callable[[Cloud, int], None]:
    return lambda cloud, number: cloud.stop_at(number, fault)


#: What happens at a call. The last two end the run there, as a machine that is switched off.
FAULTS: dict[str, Callable[[Cloud, int], None]] = {
    "error": fail(Fault(Refused(500, "server_error", "something went wrong"))),
    "time-out": fail(Fault(hangs=True)),
    "cut after it acted": fail(Fault(acts=True)),
    "killed before it acted": stop(Fault()),
    "killed after it acted": stop(Fault(acts=True)),
}


@dataclass(frozen=True)
class Cell:
    """The `number`-th call of an operation, counted from 1, and what happens to it."""

    cloud: str
    operation: str
    number: int
    fault: str

    def __str__(self) -> str:
        return f"{self.cloud} {self.operation} {self.number} {self.fault}"


def count_calls(case: Case) -> dict[str, int]:
    """The calls of a deploy into an empty account, of a delete after it, and of a change."""
    with case.start() as cloud:
        with cloud.record() as calls:
            case.deploy(cloud, case.whole)
        case.check_whole(cloud, case.whole)
        with cloud.record() as deletions:
            case.delete(cloud, case.whole)
        assert not case.list_left(cloud)
    with case.start() as cloud:
        case.deploy(cloud, case.before)
        case.check_whole(cloud, case.before)
        with cloud.record() as changes:
            case.change(cloud, case.after)
        case.check_whole(cloud, case.after)
    return {DEPLOY: len(calls), CHANGE: len(changes), DELETE: len(deletions)}


def list_cells(case: Case) -> Iterator[Cell]:
    for operation, count in count_calls(case).items():
        for number, fault in product(range(1, count + 1), FAULTS):
            yield Cell(case.name.lower(), operation, number, fault)


def sample(cells: Sequence[Cell], count: int, turn: int) -> list[Cell]:
    """So many of a deploy and one of each other run; as turns follow they meet all of them."""
    chosen: list[Cell] = []
    for operation, size in ((DEPLOY, count), (CHANGE, 1), (DELETE, 1)):
        those = [cell for cell in cells if cell.operation == operation]
        step = len(those) // size
        chosen += [those[(turn + number * step) % len(those)] for number in range(size)]
    return chosen


def play(cell: Cell) -> None:
    """Play a cell through; raises AssertionError or the error of a run where it does not heal."""
    case = CASES[cell.cloud]
    if cell.operation == DELETE:
        with start(case) as (cloud, others):
            case.deploy(cloud, case.whole)
            break_run(partial(case.delete, cloud, case.whole), cloud, cell)
            finish(case, cloud, case.whole, others)
        return
    is_change = cell.operation == CHANGE
    run, app = (case.change, case.after) if is_change else (case.deploy, case.whole)
    for is_repeated in (True, False):
        with start(case) as (cloud, others):
            if is_change:
                case.deploy(cloud, case.before)
            break_run(partial(run, cloud, app), cloud, cell)
            if is_repeated:
                run(cloud, app)
                case.check_whole(cloud, app)
            finish(case, cloud, app, others)


class start:  # noqa: N801 - reads as what it does
    """A stand-in, and what of others is in it."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def __enter__(self) -> tuple[Cloud, object]:
        self.cloud = self.case.start()
        return self.cloud, copy.deepcopy(self.case.show_others(self.cloud))

    def __exit__(self, *_: object) -> None:
        self.cloud.close()


def break_run(run: Callable[[], None], cloud: Cloud, cell: Cell) -> None:
    """A run that meets the fault, whether it gets over it by itself or fails in nvoi's words."""
    FAULTS[cell.fault](cloud, cell.number)
    with suppress(NvoiError):
        run()
    cloud.heal()


def finish(case: Case, cloud: Cloud, app: Application, others: object) -> None:
    case.delete(cloud, app)
    left = case.list_left(cloud)
    assert not left, f"left: {', '.join(left)}"
    assert case.show_others(cloud) == others, "what is of others was touched"


def judge(cell: Cell) -> str | None:
    """Why a cell is not healed; None where it is."""
    try:
        play(cell)
    except Exception as error:  # noqa: BLE001 - whatever it is, it stands in the report
        return f"{cell}: {type(error).__name__}: {error}"
    return None


def build_row(case: Case, operation: str, cells: Sequence[Cell], failed: int) -> str:
    calls = len(cells) // len(FAULTS)
    healed = f"{len(cells) - failed} of {len(cells)}"
    return f"| {case.name} | {operation} | {calls} | {len(FAULTS)} | {healed} | {failed} |"


def main(names: Sequence[str]) -> int:
    """Print the table, or what is wrong with one cell; 0 where all is healed."""
    logging.disable()
    if names[2:] and names[2].isdecimal():
        cloud, operation, number, *fault = names
        told = judge(Cell(cloud.lower(), operation, int(number), " ".join(fault)))
        print(told or "healed")
        return 1 if told else 0
    clouds, runs = [one for one in names if one not in RUNS], [one for one in names if one in RUNS]
    faults: list[str] = []
    rows = [
        "| cloud | run | calls | faults at each | healed | not healed |",
        "|---|---|---|---|---|---|",
    ]
    with ProcessPoolExecutor(2 * (os.cpu_count() or 1), initializer=logging.disable) as pool:
        for name in clouds or CASES:
            case = CASES[name.lower()]
            cells = [cell for cell in list_cells(case) if cell.operation in (runs or RUNS)]
            results = dict(zip(cells, pool.map(judge, cells), strict=True))
            for operation in runs or RUNS:
                chosen = [cell for cell in cells if cell.operation == operation]
                bad = [text for cell in chosen if (text := results[cell])]
                rows.append(build_row(case, operation, chosen, len(bad)))
                faults += bad
    print("\n".join([*rows, *faults]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
