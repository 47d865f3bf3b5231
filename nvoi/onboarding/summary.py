"""The answers as a table; as a list where the terminal is too narrow for one. Pure."""

from __future__ import annotations

from prompt_toolkit.utils import get_cwidth

from nvoi.config.sensitive import find_embedded
from nvoi.log.masking import REDACTED, Masker
from nvoi.onboarding.answers import Answers, build_config
from nvoi.onboarding.layout import find_head, fold, pad
from nvoi.onboarding.prompts import DOTS
from nvoi.onboarding.sections import SECTIONS

# Below this a second column holds no line that makes sense.
NARROW = 60
# Longer lines are cut: nobody reads a value of thousands of letters here.
LONGEST = 240
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
        (title, [part for line in lines for part in fold(line, most, "  ", cut=True)])
        for title, lines in rows
    ]
    second = max(get_cwidth(line) for _, lines in folded for line in lines)

    def rule(left: str, middle: str, right: str) -> str:
        return f"{left}{'─' * (first + 2)}{middle}{'─' * (second + 2)}{right}"

    parts = [rule("┌", "┬", "┐")]
    for number, (title, lines) in enumerate(folded):
        parts += [rule("├", "┼", "┤")] if number else []
        parts += [
            f"│ {pad('' if index else title, first)} │ {pad(line, second)} │"
            for index, line in enumerate(lines)
        ]
    return "\n".join([*parts, rule("└", "┴", "┘")])


def build_list(rows: list[Row], width: int) -> str:
    """A title, and below it its lines, indented."""
    parts = []
    for title, lines in rows:
        parts.append(title)
        parts += [f"  {part}" for line in lines for part in fold(line, width - 2, "  ", cut=True)]
    return "\n".join(parts)


def clean(line: str, answers: Answers) -> str:
    """``line`` without the passwords of its URLs and control characters, and not too long."""
    passwords = list(find_embedded(build_config(answers)))
    for password in passwords:
        # Short ones too, which are words that occur elsewhere.
        line = line.replace(f":{password}@", f":{DOTS}@")
    line = Masker(passwords).mask_text(line).replace(REDACTED, DOTS)
    shown = "".join(letter if letter.isprintable() else REPLACEMENT for letter in line)
    return shown if len(shown) <= LONGEST else f"{find_head(shown, LONGEST)}…"
