"""The files of a checkout, as far as they were written by people: read, and searched."""

from __future__ import annotations

import os
import re
import tomllib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nvoi.errors import ConfigError, Fault

# Whatever is larger than this was not written by hand.
SIZE_LIMIT = 1 << 20
#: More steps than these tomllib needs for no file in use.
MOST_STEPS = 10_000_000
#: More services than these no app has.
MOST_SERVICES = 200
#: No more files than these are searched, and none deeper.
MOST_FILES, MOST_FOLDERS = 400, 3
#: Folders of others' code, and of tests.
SKIPPED = frozenset({"node_modules", "vendor", "venv", "env", "dist", "build", "tests", "test"})
SUFFIXES = (".py", ".js", ".mjs", ".cjs", ".ts", ".rb", ".go", ".php")
#: A route of a page that tells whether the app is well, in any framework: a text, with a slash.
HEALTH_ROUTE = re.compile(
    r"""["'`](?:GET\ )?(?P<path>/?(?:api/|_)?
        (?:health|healthz|health_?check|health-check|livez|readyz|up|ping|status)/?)["'`]""",
    re.VERBOSE,
)
ROUTE = re.compile(
    r"""(?:route|get|Get|handle|HandleFunc|all|use|path|root)\b\s*(?:\(\s*)?
        ["'](?:GET\ )?(?P<path>/?)["']""",
    re.VERBOSE,
)
#: What stands for bytes of a file that are no text, and for what cannot be shown.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def read_text(path: Path) -> str:
    """The text of a file; "" where it is missing, no file, or too large."""
    try:
        if not path.is_file() or path.stat().st_size > SIZE_LIMIT:
            return ""
        content = path.read_bytes()
        # Windows' PowerShell writes files so.
        encoding = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
        return content.decode(encoding, errors="replace").replace("\0", "")
    except (OSError, ValueError):
        return ""


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that is too long is none's."""
    try:
        return path.is_file()
    except OSError:
        return False


def list_sources(folder: Path) -> Iterator[Path]:
    """Source files, those nearest to ``folder`` first, by name."""
    found: list[tuple[int, str]] = []
    for place, folders, files in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = sorted(
            name
            for name in folders
            if depth < MOST_FOLDERS and name not in SKIPPED and not name.startswith(".")
        )
        found += [(depth, str(Path(place, name))) for name in files if name.endswith(SUFFIXES)]
        if len(found) > MOST_FILES:
            break
    yield from (Path(name) for _, name in sorted(found)[:MOST_FILES])


def holds_files(place: Path) -> bool:
    """Whether a path of the checkout is a file, or a folder with something in it."""
    try:
        return place.is_file() or (place.is_dir() and any(place.iterdir()))
    except OSError:
        return False


def load_toml(text: str) -> dict[str, Any]:
    """The data of a TOML file.

    Raises:
        tomllib.TOMLDecodeError: it is none.
        RecursionError: it is nested too deep. A key of n parts alone costs tomllib n² steps.
        ValueError: it has a number of thousands of digits.
    """
    if sum(line.count(".") ** 2 for line in text.split("\n")) > MOST_STEPS:
        raise RecursionError
    return tomllib.loads(text)


def find_health(folder: Path) -> str:
    """The path of a health page that the app's code has; else of its first page, or ""."""
    texts = [read_text(path) for path in list_sources(folder)]
    for pattern in (HEALTH_ROUTE, ROUTE):
        for text in texts:
            if match := pattern.search(text):
                return f"/{match['path'].lstrip('/')}"
    return ""


def check_count(file: str, count: int, most: int, what: str) -> None:
    """Raises ConfigError where a file has more of something than can be an app's."""
    if count > most:
        message = f"has {count:,} {what}: {most:,} are allowed"
        raise ConfigError(file, [Fault(0, 0, "", message)])
