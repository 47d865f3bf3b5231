"""The account of a run: its records, its requests, and what went wrong, told once a kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Stats:
    """What became of a run's records and requests so far.

    ``logged`` counts the records taken from log calls and a warning for each gap, ``delivered``
    those acknowledged, ``dropped`` those given up, be it for room or because the receiver did not
    take them: ``logged - delivered`` once the run is closed. ``undelivered`` of the dropped are
    kept in a file. ``troubles`` counts failed attempts and faults, by kind.
    """

    logged: int = 0
    delivered: int = 0
    dropped: int = 0
    undelivered: int = 0
    requests: int = 0
    retries: int = 0
    troubles: dict[str, int] = field(default_factory=dict)
    terminal_delivered: bool = False


@dataclass(kw_only=True)
class Counts(Stats):
    """The account itself, which sender, buffer and delivery share. No number ever shrinks.

    ``tell`` is called once for each kind of trouble.
    """

    tell: Callable[[str], None]
    #: The number of the last record that was taken out of the buffer.
    numbered: int = 0

    def note_trouble(self, kind: str, text: str) -> None:
        """Count a trouble, and tell it if it is the first of its kind."""
        self.troubles[kind] = self.troubles.get(kind, 0) + 1
        if self.troubles[kind] == 1:
            self.tell(text)

    def sum_up(self, *, is_closed: bool) -> Stats:
        """A copy as of now; of what ``is_closed`` nothing more is delivered."""
        left = self.logged - self.delivered
        return Stats(
            logged=self.logged,
            delivered=self.delivered,
            # What was given up may have arrived all the same.
            dropped=left if is_closed else min(left, self.dropped),
            undelivered=self.undelivered,
            requests=self.requests,
            retries=self.retries,
            troubles=dict(self.troubles),
            terminal_delivered=self.terminal_delivered,
        )
