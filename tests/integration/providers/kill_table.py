"""The kill table: a fault at each single call of a cloud's API in turn, and what becomes of it.

    python -m tests.integration.providers.kill_table [CLOUD…] [RUN…]
    python -m tests.integration.providers.kill_table CLOUD RUN NUMBER FAULT

The first runs all of it, which takes minutes, or what these are named of it, and prints the table
of docs/providers.md; the second one cell, as a test that failed names it. Every cell is a run of
its own, on a stand-in of its own: the run with the fault, which is a deploy into an empty account,
a change of what another deploy has made, or a delete; then the next run, which has to heal it,
then a delete, after which nothing may be left; and once more with the delete right after the
broken run. What is of others stays as it is.
"""

from __future__ import annotations

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
from tests.integration.providers.aws_site import AWSSite
from tests.integration.providers.cloudflare_case import CloudflareCase
from tests.integration.providers.hetzner_site import HetznerSite
from tests.integration.providers.scaleway_site import ScalewaySite
from tests.integration.providers.site import Case, start

CASES: dict[str, type[Case]] = {
    case.title.lower(): case for case in (HetznerSite, CloudflareCase, AWSSite, ScalewaySite)
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


def count_calls(kind: type[Case]) -> dict[str, int]:
    """The calls of a deploy into an empty account, of a delete after it, and of a change."""
    with start(kind) as case:
        with case.cloud.record() as calls:
            case.deploy(case.whole)
        case.check_whole(case.whole)
        with case.cloud.record() as deletions:
            delete(case, case.whole)
    with start(kind) as case:
        case.deploy(case.before)
        case.check_whole(case.before)
        with case.cloud.record() as changes:
            case.change(case.after)
        case.check_whole(case.after)
    return {DEPLOY: len(calls), CHANGE: len(changes), DELETE: len(deletions)}


def list_cells(kind: type[Case]) -> Iterator[Cell]:
    for operation, count in count_calls(kind).items():
        for number, fault in product(range(1, count + 1), FAULTS):
            yield Cell(kind.title.lower(), operation, number, fault)


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
    kind = CASES[cell.cloud]
    if cell.operation == DELETE:
        with start(kind) as case:
            case.deploy(case.whole)
            break_run(case, partial(case.delete, case.whole), cell)
            delete(case, case.whole)
        return
    for is_repeated in (True, False):
        with start(kind) as case:
            run, app = case.deploy, case.whole
            if cell.operation == CHANGE:
                case.deploy(case.before)
                run, app = case.change, case.after
            break_run(case, partial(run, app), cell)
            if is_repeated:
                run(app)
                case.check_whole(app)
            delete(case, app)


def break_run(case: Case, run: Callable[[], None], cell: Cell) -> None:
    """A run that meets the fault, whether it gets over it by itself or fails in nvoi's words."""
    FAULTS[cell.fault](case.cloud, cell.number)
    with suppress(NvoiError):
        run()
    case.cloud.heal()


def delete(case: Case, app: Application) -> None:
    case.delete(app)
    left = case.list_left()
    assert not left, f"left: {', '.join(left)}"


def judge(cell: Cell) -> str | None:
    """Why a cell is not healed; None where it is."""
    try:
        play(cell)
    except Exception as error:  # noqa: BLE001 - whatever it is, it stands in the report
        return f"{cell}: {type(error).__name__}: {error}"
    return None


def build_row(case: type[Case], operation: str, cells: Sequence[Cell], failed: int) -> str:
    calls = len(cells) // len(FAULTS)
    healed = f"{len(cells) - failed} of {len(cells)}"
    return f"| {case.title} | {operation} | {calls} | {len(FAULTS)} | {healed} | {failed} |"


def main(names: Sequence[str]) -> int:
    """Print the table, or what is wrong with one cell; 0 where all is healed."""
    logging.disable()
    if "--help" in names:
        print(__doc__)
        return 0
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
