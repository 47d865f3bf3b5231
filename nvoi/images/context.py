"""What an image is built from: the Dockerfile, and what the engine sees of the checkout.

Dockerfile reference: an instruction's name is not case-sensitive, a line that ends in a
backslash goes on in the next, comment lines count for nothing, and ``<<WORD`` begins lines that
end with ``WORD`` (here-documents).
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from nvoi import parallel
from nvoi.errors import CommandError, UsageError
from nvoi.folders import remove_tree
from nvoi.source import Source, copy_entry, is_key_name

INSTRUCTION = re.compile(r"\s*([A-Za-z]+)\s+(.*)", re.DOTALL)
HEREDOC = re.compile(r"<<-?([\"']?)(\w+)\1")
FLAG = re.compile(r"--(\w++)\S*+\s+")

#: In the order in which they are looked for. ``-f`` makes every engine take either.
NAMES = ("Dockerfile", "Containerfile")

#: For large files that are needed for a while (FHS 3.0, 5.15): on a disk, where /tmp may be in
#: memory, and cleaned by the system, should a run be killed.
PLACE = "/var/tmp"  # noqa: S108 - what is made there has a random name and mode 0700

#: The engine reads them in the context's root, also where git ignores them.
IGNORE_FILES = (".dockerignore", ".containerignore")


def find_dockerfile(directory: Path, dockerfile: str | Path | None = None) -> Path:
    """The file that builds the app's image; ``dockerfile`` is what ``--dockerfile-path`` names."""
    option = "--dockerfile-path: " if dockerfile is not None else ""
    names = NAMES if dockerfile is None else (str(dockerfile),)
    found = [directory / name for name in names if (directory / name).is_file()]
    if found and os.access(found[0], os.R_OK):
        return found[0].resolve()
    if found:
        raise UsageError(f"{option}{found[0]} cannot be read", hint="see its permissions")
    if dockerfile is None:
        raise UsageError(
            f"the image cannot be built: {directory} has no Dockerfile",
            hint="write one, name it with --dockerfile-path, or name a finished image for "
            "each app service: image",
        )
    what = "is a folder" if (directory / dockerfile).is_dir() else "is not there"
    raise UsageError(
        f"{option}{directory / dockerfile} {what}",
        hint="name a file, from the checkout on, or name a finished image for each app "
        "service: image",
    )


class Instruction(NamedTuple):
    """One instruction: the number of its first line, its name in capitals, and what follows."""

    line: int
    name: str
    arguments: str


def find_instructions(text: str) -> Iterator[Instruction]:
    """Each instruction of a Dockerfile, without the lines of its here-documents."""
    ends: deque[str] = deque()
    parts: list[str] = []
    first = 0
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if ends:
            if line.lstrip("\t") == ends[0]:
                ends.popleft()
            continue
        if line.lstrip().startswith("#"):
            continue
        first = first if parts else number
        parts.append(line.strip().removesuffix("\\"))
        if line.rstrip().endswith("\\"):
            continue
        whole = " ".join(parts)
        parts = []
        if match := INSTRUCTION.fullmatch(whole):
            ends.extend(word for _, word in HEREDOC.findall(whole))
            yield Instruction(first, match[1].upper(), match[2].strip())


def check_copies(dockerfile: Path, source: Source) -> None:
    """Make sure that no instruction names a key, or a pattern that nothing but keys matches."""
    text = dockerfile.read_text(encoding="utf-8", errors="replace")
    for line, name, arguments in find_instructions(text):
        for pattern in _find_copied(arguments) if name in {"COPY", "ADD"} else ():
            if _takes_key(pattern, source):
                raise UsageError(
                    f"{dockerfile}, line {line}: {name} {pattern} would put a key into the image",
                    hint="remove it from that line; put the app's secrets under "
                    "`secrets` in the config: services get them as environment variables",
                )


def _find_copied(arguments: str) -> list[str]:
    """What ``COPY`` or ``ADD`` takes from the build's context, from its root on."""
    begin = 0
    while flag := FLAG.match(arguments, begin):
        if flag[1].lower() == "from":
            return []
        begin = flag.end()
    arguments = arguments[begin:]
    try:
        words = json.loads(arguments) if arguments.startswith("[") else arguments.split()
    except (ValueError, RecursionError):
        return []
    sources = [word for word in words[:-1] if isinstance(word, str)]
    # No pattern leaves the context: `/` and what is above it are its root.
    return [
        posixpath.normpath(f"/{word}").lstrip("/")
        for word in sources
        if "://" not in word and not word.startswith("<<")
    ]


def _takes_key(pattern: str, source: Source) -> bool:
    """Whether a pattern of ``COPY`` is for a key: it is in its name, or it matches nothing else."""
    if any(_matches(pattern, name) for name in source.names):
        return False
    return is_key_name(pattern) or any(_matches(pattern, name) for name in source.keys)


def _matches(pattern: str, name: str) -> bool:
    """Whether a pattern of ``COPY`` takes a file: itself, or a folder that it is in."""
    wanted = pattern.split("/") if pattern else []
    parts = name.split("/")
    return len(wanted) <= len(parts) and all(map(fnmatchcase, parts, wanted))


@contextmanager
def stage(source: Source, environ: Mapping[str, str]) -> Iterator[Path]:
    """A private folder that has what is deployed of a checkout, for as long as it is needed.

    It is made in ``$TMPDIR``. The files are the checkout's own under a second name where the disk
    allows that, else copies; ``.dockerignore`` is left to the engine.
    """
    place = environ.get("TMPDIR") or PLACE
    try:
        private = Path(tempfile.mkdtemp(prefix="nvoi-context-", dir=place))
    except OSError as error:
        raise _build_error(place, error) from error
    try:
        # Inside a private one, as this one has the mode of the checkout's.
        folder = private / "context"
        try:
            _fill(folder, source)
        except OSError as error:
            raise _build_error(place, error) from error
        yield folder
    finally:
        with suppress(OSError):
            remove_tree(private)


def _fill(folder: Path, source: Source) -> None:
    """Make ``folder`` hold what is deployed, with the modes and times of the checkout."""
    folder.mkdir()
    ignored = [name for name in IGNORE_FILES if (source.directory / name).is_file()]
    for name in dict.fromkeys([*source.names, *ignored]):
        parallel.check()
        copy_entry(source.directory / name, folder / name, is_linked=True)
    # From below: what is put into a folder changes its time, and its mode may forbid that.
    for path, _, _ in os.walk(folder, topdown=False):
        with suppress(FileNotFoundError):
            shutil.copystat(source.directory / os.path.relpath(path, folder), path)


def _build_error(place: str, error: OSError) -> CommandError:
    return CommandError(
        f"the image cannot be built: its files cannot be put into {place}: {error.strerror}",
        hint="make room there, or name another folder in $TMPDIR",
    )
