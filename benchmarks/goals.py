"""Figures with their goals, printed as they are found."""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Sequence


class Goals:
    """What a benchmark found, and whether all of it is good enough."""

    def __init__(self, title: str) -> None:
        self._missed = 0
        implementation = f"{platform.python_implementation()} {platform.python_version()}"
        print(f"{title} · {implementation} · {platform.system()} {platform.machine()}", flush=True)

    def note(self, text: str) -> None:
        """Print what explains a figure and has no goal of its own."""
        print(f"        {text}", flush=True)

    def at_most(self, name: str, figure: float, limit: float, unit: str = "") -> None:
        """Judge a figure that should be small."""
        self._judge(name, figure, f"at most {limit:g}", unit, met=figure <= limit)

    def at_least(self, name: str, figure: float, limit: float, unit: str = "") -> None:
        """Judge a figure that should be large."""
        self._judge(name, figure, f"at least {limit:g}", unit, met=figure >= limit)

    def leave(self) -> None:
        """End the benchmark: exit code 1 where a goal was missed."""
        sys.exit(1 if self._missed else 0)

    def _judge(self, name: str, figure: float, limit: str, unit: str, *, met: bool) -> None:
        self._missed += not met
        unit = f" {unit}" if unit else ""
        print(f"{'PASS' if met else 'FAIL'}    {name}: {figure:.2f}{unit}, goal {limit}{unit}")
        sys.stdout.flush()


def find_median(figures: Sequence[float]) -> float:
    """The median, which a few disturbed rounds do not move."""
    return statistics.median(figures)


def describe(figures: Sequence[float], factor: float = 1.0, digits: int = 1) -> str:
    """Median and range of ``figures``, each times ``factor``."""
    low, middle, high = (f(figures) * factor for f in (min, statistics.median, max))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
