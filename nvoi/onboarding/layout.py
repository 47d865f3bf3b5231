"""Text laid out for a terminal's width."""

from __future__ import annotations

import sys
import textwrap

# Narrower than this and nothing is folded any more; wider, and lines are tiring to read.
NARROWEST, WIDEST = 20, 100


def clamp_width(columns: int) -> int:
    """The width that text is folded to on a terminal of so many columns."""
    return max(NARROWEST, min(columns, WIDEST))


def fold_lines(text: str, width: int) -> str:
    """``text`` with its long lines in several, each indented as the line was."""
    return "\n".join(fold(line, width) for line in text.split("\n"))


def fold(line: str, width: int) -> str:
    """``line`` in as many as it needs."""
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def write(text: str) -> None:
    """Prints ``text``; a character that the terminal's encoding lacks shows as ``?``."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(f"{text}\n".encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()
