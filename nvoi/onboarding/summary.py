"""The answers as a table; as a list where the terminal is too narrow for one. Pure."""

from __future__ import annotations

import textwrap

from nvoi.config.sensitive import find_embedded
from nvoi.log.masking import REDACTED, Masker
from nvoi.onboarding.answers import Answers, build_config
from nvoi.onboarding.prompts import DOTS
from nvoi.onboarding.sections import SECTIONS

# Below this a second column holds no line that makes sense.
NARROW = 60
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

Row = tuple[str, list[str]]


def build_summary(answers: Answers, width: int) -> str:
    """All sections and what was answered, in ``width`` columns."""
    rows = [
        (section.title, [clean(line, answers) for line in section.describe(answers)])
        for section in SECTIONS
    ]
    return build_list(rows, width) if width < NARROW else build_table(rows, width)


def build_table(rows: list[Row], width: int) -> str:
    """Two columns between lines."""
    first = max(len(title) for title, _ in rows)
    most = width - first - len("│  │  │")
    folded = [
        (title, [part for line in lines for part in fold(line, most)]) for title, lines in rows
    ]
    second = max(len(line) for _, lines in folded for line in lines)

    def rule(left: str, middle: str, right: str) -> str:
        return f"{left}{'─' * (first + 2)}{middle}{'─' * (second + 2)}{right}"

    parts = [rule("┌", "┬", "┐")]
    for number, (title, lines) in enumerate(folded):
        parts += [rule("├", "┼", "┤")] if number else []
        parts += [
            f"│ {title if not index else '':{first}} │ {line:{second}} │"
            for index, line in enumerate(lines)
        ]
    return "\n".join([*parts, rule("└", "┴", "┘")])


def build_list(rows: list[Row], width: int) -> str:
    """A title, and below it its lines, indented."""
    parts = []
    for title, lines in rows:
        parts.append(title)
        parts += [f"  {part}" for line in lines for part in fold(line, width - 2)]
    return "\n".join(parts)


def fold(line: str, width: int) -> list[str]:
    """``line`` in as many as it needs, those that follow indented."""
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(line, width, subsequent_indent=f"{indent}  ", break_on_hyphens=False) or [
        ""
    ]


def clean(line: str, answers: Answers) -> str:
    """``line`` without the passwords of its URLs, and without control characters."""
    passwords = list(find_embedded(build_config(answers)))
    for password in passwords:
        # Short ones too, which are words that occur elsewhere.
        line = line.replace(f":{password}@", f":{DOTS}@")
    line = Masker(passwords).mask_text(line).replace(REDACTED, DOTS)
    return "".join(letter if letter.isprintable() else REPLACEMENT for letter in line)
