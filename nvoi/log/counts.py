"""The account of a run: its records, its requests, and what went wrong, told once a kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Counts:
    """What became of a run's records and requests so far. No number ever shrinks.

    ``tell`` is called once for each kind of trouble.
    """

    tell: Callable[[str], None]
    #: Records taken from log calls, and a warning for each gap.
    logged: int = 0
    #: The number of the last record that was taken out of the buffer.
    numbered: int = 0
    delivered: int = 0
    #: Records that were given up, be it for room or because the receiver did not take them.
    given_up: int = 0
    requests: int = 0
    retries: int = 0
    terminal_delivered: bool = False
    #: Failed attempts and faults, by kind.
    troubles: Counter[str] = field(default_factory=Counter)

    def note_trouble(self, kind: str, text: str) -> None:
        """Count a trouble, and tell it if it is the first of its kind."""
        self.troubles[kind] += 1
        if self.troubles[kind] == 1:
            self.tell(text)
