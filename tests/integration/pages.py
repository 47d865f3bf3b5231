"""The documentation's pages and the fenced blocks in them."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import run_program

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
)
WORKFLOWS = sorted((ROOT / "examples" / "ci").glob("*.yml"))

BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the comment above it, if any."""

    page: Path
    number: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}-{self.number}"


def list_blocks(page: Path) -> list[Block]:
    return [
        Block(page, number, match["language"], match["mark"] or "", match["text"])
        for number, match in enumerate(BLOCK.finditer(page.read_text()), 1)
    ]


BLOCKS = [block for page in PAGES for block in list_blocks(page)]


def find_blocks(language: str, page: str = "") -> list[Block]:
    return [
        block
        for block in BLOCKS
        if block.language == language and page in ("", str(block.page.relative_to(ROOT)))
    ]


def run_python(text: str, *arguments: str, environ: Mapping[str, str]) -> str:
    """What a script prints that ends well."""
    environ = {**environ, "PYTHONPATH": str(ROOT)}
    return run_program(sys.executable, "-W", "error", "-c", text, *arguments, environ=environ)
