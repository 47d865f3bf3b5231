"""What the tests on a real cluster have found, as the table of docs/cluster.md."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Findings:
    """Rows of a table: the fault, what was run, and with what result."""

    #: Which Kubernetes it was.
    cluster: str = ""
    _rows: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, fault: str, run: str, *results: str) -> None:
        """A row; a fault that has one already gets another."""
        self._rows.append((fault, run, "; ".join(results)))

    def list_lines(self) -> list[str]:
        """The table, as Markdown; empty where nothing was found."""
        if not self._rows:
            return []
        head = ["| fault | what was run | result |", "|---|---|---|"]
        return [self.cluster, "", *head, *(f"| {' | '.join(row)} |" for row in self._rows)]
