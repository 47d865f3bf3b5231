"""A log in sections: each ``step`` line begins one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from nvoi.dashboard.records import Gap, Status, StoredLine


@dataclass(slots=True)
class Section:
    """A step's line and what follows it.

    ``head`` is None for what comes before the first step, which cannot be folded. ``began`` and
    ``ended`` are Unix milliseconds of the sender's clock; ``ended`` is None while it is running.
    """

    head: StoredLine | None
    items: list[StoredLine | Gap] = field(default_factory=list)
    began: int = 0
    ended: int | None = None
    open: bool = True
    running: bool = False
    failed: bool = False

    @property
    def errors(self) -> int:
        """How many of its lines are errors."""
        return self.count("error")

    @property
    def warnings(self) -> int:
        """How many of its lines are warnings."""
        return self.count("warning")

    @property
    def missing(self) -> int:
        """How many lines were never received."""
        return sum(item.last - item.first + 1 for item in self.items if isinstance(item, Gap))

    @property
    def duration(self) -> int:
        """From its first line to its end, in milliseconds."""
        return max(0, (self.began if self.ended is None else self.ended) - self.began)

    def count(self, level: str) -> int:
        """How many of its lines have this level."""
        return sum(1 for item in self.items if isinstance(item, StoredLine) and item.level == level)


def build_sections(
    lines: Iterable[StoredLine], gaps: Sequence[Gap], status: Status, *, complete: bool = True
) -> list[Section]:
    """The sections of ``lines``, ordered for reading.

    Args:
        lines: of one attempt, in any order.
        gaps: of the same attempt; those outside of ``lines`` are left out.
        status: of the attempt: it decides which sections are open.
        complete: whether ``lines`` go up to the attempt's last one.
    """
    ordered = sorted(lines, key=lambda line: (line.place, line.number))
    sections = [Section(None)]
    for item in _merge(ordered, gaps, complete=complete):
        if isinstance(item, StoredLine) and item.level == "step":
            sections.append(Section(item))
        else:
            sections[-1].items.append(item)
    sections = [section for section in sections if section.head or section.items]
    _set_times(sections)
    if sections:
        _set_states(sections, status)
    return sections


def _merge(
    lines: Sequence[StoredLine], gaps: Sequence[Gap], *, complete: bool
) -> Iterable[StoredLine | Gap]:
    """Lines and gaps, each gap before the first line whose place is above its own."""
    waiting = sorted(gaps, key=lambda gap: gap.first)
    if lines and lines[0].number > 1:
        waiting = [gap for gap in waiting if gap.first > lines[0].place]
    for line in lines:
        while waiting and waiting[0].first < line.place:
            yield waiting.pop(0)
        yield line
    if complete:
        yield from waiting


def _set_times(sections: Sequence[Section]) -> None:
    end: int | None = None
    for section in reversed(sections):
        known = [item for item in section.items if isinstance(item, StoredLine)]
        times = [line.logged_at for line in chain([section.head] if section.head else [], known)]
        section.began = times[0] if times else end or 0
        section.ended = end if end is not None else max(times, default=section.began)
        end = section.began


def _set_states(sections: Sequence[Section], status: Status) -> None:
    last = sections[-1]
    last.running, last.failed = status == "running", status == "failed"
    if last.running:
        last.ended = None
    else:
        for section in sections[:-1]:
            section.open = False
