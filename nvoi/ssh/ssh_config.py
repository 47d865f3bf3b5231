"""``~/.ssh/config`` as lines that know their places, and what they say of a host: ssh_config(5).

Not by paramiko.SSHConfig: it knows no Include, no comment behind a value and no line numbers, runs
the commands of ``Match exec``, takes a criterion that it does not know for met, and tells upper
case from lower where ssh(1) does not. To hide that from it takes more than to decide the blocks.
"""

from __future__ import annotations

import fnmatch
import getpass
import glob
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nvoi.errors import ConfigError, Fault, UsageError
from nvoi.folders import is_writable_by_others, name_user

LINE = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+|$)(.*)", re.ASCII)
WORD = re.compile(r"(?:\"[^\"]*\"|'[^']*'|\S)+")
QUOTED = re.compile(r"\"([^\"]*)\"|'([^']*)'")
#: What a host may be called: it is written into known_hosts, where other signs have a meaning.
NAME = re.compile(r"[\w:][\w.:%-]*", re.ASCII)
TOKEN = re.compile(r"%(.?)|\$\{(\w*)\}")
#: Files inside one another that ssh(1) reads: readconf.c, READCONF_MAX_DEPTH.
DEPTH = 16

FOLLOWED = frozenset(
    {
        "globalknownhostsfile",
        "hostkeyalias",
        "hostname",
        "identitiesonly",
        "identityagent",
        "identityfile",
        "port",
        "proxyjump",
        "stricthostkeychecking",
        "user",
        "userknownhostsfile",
    }
)
#: What must not be passed over, as ssh(1) would go elsewhere or refuse a key; and what to do.
REFUSED = {
    "proxycommand": "nvoi runs no ProxyCommand: write ProxyJump, or ProxyJump none before it",
    "knownhostscommand": "nvoi runs no KnownHostsCommand: write the keys into known_hosts",
    "revokedhostkeys": "nvoi does not read RevokedHostKeys: write @revoked lines into known_hosts",
}
#: Criteria of Match that nvoi decides, and others that have no argument. Those of names know no
#: upper case; the one of Host does: readconf.c, match_cfg_line and oHost.
NAMES = frozenset({"host", "originalhost"})
CRITERIA = NAMES | {"user", "localuser"}
TYPED = "the name as it was typed"
MOMENTS = frozenset({"canonical", "final"})
#: The option of which every value counts.
GATHERED = "identityfile"


@dataclass(frozen=True, eq=False)
class Block:
    """What a Host or Match begins.

    Attributes:
        criteria: each with its patterns, and whether they are to fit; all must be met.
        undecided: a criterion that nvoi cannot tell.
        outer: the block that includes the file of this one.
    """

    criteria: tuple[tuple[str, tuple[str, ...], bool], ...] = ()
    undecided: str = ""
    outer: Block | None = None


@dataclass(frozen=True)
class ConfigLine:
    file: Path
    number: int
    keyword: str
    words: tuple[str, ...]
    block: Block

    @property
    def value(self) -> str:
        return self.words[0]

    @property
    def is_none(self) -> bool:
        return self.value.lower() == "none"

    @property
    def option(self) -> str:
        """What it sets: of ProxyCommand and ProxyJump the first one counts."""
        return "proxyjump" if self.keyword == "proxycommand" else self.keyword

    @property
    def fault(self) -> str:
        """Why it cannot be followed; empty where it can."""
        if self.block.undecided:
            return (
                f"nvoi cannot tell whether `Match {self.block.undecided}` holds, under which this "
                "line is: write Host or Match host"
            )
        return "" if self.is_none else REFUSED.get(self.keyword, "")

    def build_error(self, message: str) -> ConfigError:
        return ConfigError(str(self.file), [Fault(self.number, 1, "", message)])


@dataclass(frozen=True)
class Options:
    """What counts for one host, and the lines that say it by their options."""

    hostname: str
    user: str | None = None
    lines: Mapping[str, Sequence[ConfigLine]] = field(default_factory=dict)

    def find(self, option: str) -> ConfigLine | None:
        return next(iter(self.lines.get(option, ())), None)


def read_lines(
    file: Path, home: Path, block: Block | None = None, depth: int = 0
) -> Iterator[ConfigLine]:
    """The lines that nvoi follows or refuses, with those of included files in their places.

    Raises:
        ConfigError: a file cannot be read, others may change it, or a line is broken.
    """
    outer = current = block or Block()
    for number, text in enumerate(_read_text(file).split("\n"), start=1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        line = _parse(file, number, text, current)
        if line.keyword in {"host", "match"}:
            current = _build_block(outer, line)
        elif line.keyword == "include":
            if depth == DEPTH:
                raise line.build_error("files include one another too deeply, or in a circle")
            for path in _list_included(line, home):
                yield from read_lines(path, home, current, depth + 1)
        elif line.keyword in FOLLOWED or line.keyword in REFUSED:
            yield line


def look_up(lines: Sequence[ConfigLine], address: str, user: str | None) -> Options:
    """What ``lines`` say of a host that is called ``address``; ``user`` is set before them.

    The first value of an option counts. A block's criteria are held against what was set before it.

    Raises:
        ConfigError: a line counts that nvoi cannot follow.
    """
    if not lines:
        return Options(address, user)
    local, name, hostname = get_local_user(), address.lower(), address
    known = {TYPED: address, "originalhost": name, "host": name, "localuser": local}
    known["user"] = user or local
    found: dict[str, list[ConfigLine]] = {"user": []} if user else {}
    met: dict[Block, bool] = {}
    for line in lines:
        is_new = line.option == GATHERED or line.option not in found
        if not _is_met(line.block, known, met) or not is_new:
            continue
        if line.fault:
            raise line.build_error(line.fault)
        found.setdefault(line.option, []).append(line)
        if line.keyword == "hostname":
            hostname = check_name(line, expand(line, line.value, {"h": address}, {}))
            known["host"] = hostname.lower()
        elif line.keyword == "user":
            known["user"] = line.value
    return Options(hostname, known["user"] if "user" in found else None, found)


def _is_met(block: Block, known: Mapping[str, str], met: dict[Block, bool]) -> bool:
    """Whether what is ``known`` meets the criteria; ``met`` keeps what was found of each block."""
    if block not in met:
        met[block] = (block.outer is None or _is_met(block.outer, known, met)) and all(
            is_match(patterns, known[name]) is wanted for name, patterns, wanted in block.criteria
        )
    return met[block]


def is_match(patterns: Iterable[str], name: str) -> bool:
    """Whether one of them fits, and none of those behind a ``!``: ssh_config(5), PATTERNS."""
    found = [pattern for pattern in patterns if fits(pattern.removeprefix("!"), name)]
    return bool(found) and not any(pattern.startswith("!") for pattern in found)


def fits(pattern: str, name: str) -> bool:
    """Whether the pattern, with ``*`` and ``?``, is one of the name."""
    # Brackets are of [host]:port there, and not a choice of characters.
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def expand(
    line: ConfigLine, text: str, tokens: Mapping[str, str], environ: Mapping[str, str]
) -> str:
    """``text`` with what its ``%x`` and ``${NAME}`` stand for.

    Raises:
        ConfigError: one stands for nothing.
    """

    def replace(match: re.Match[str]) -> str:
        token, name = match.groups()
        value = environ.get(name) if token is None else {"%": "%", **tokens}.get(token)
        if value is None:
            raise line.build_error(f"{match[0]} in {line.keyword} stands for nothing here")
        return value

    return TOKEN.sub(replace, text)


def check_name(line: ConfigLine, text: str) -> str:
    if not NAME.fullmatch(text):
        raise line.build_error(f"`{text}` cannot be the name of a host")
    return text


def get_local_user() -> str:
    """The name of who runs nvoi.

    Raises:
        UsageError: this machine does not know it.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise UsageError(
            f"~/.ssh/config needs the name of this machine's user {os.getuid()}, who has none",
            hint="set USER",
        ) from error


def _parse(file: Path, number: int, text: str, block: Block) -> ConfigLine:
    match = LINE.fullmatch(text)
    keyword, rest = match.groups() if match else ("", "")
    line = ConfigLine(file, number, keyword.lower(), tuple(_split(rest)), block)
    if not match:
        raise line.build_error("is no line of ssh_config(5): write KEYWORD VALUE")
    # A command that is not followed may have any signs.
    is_read = line.keyword in FOLLOWED | {"host", "match", "include"}
    if is_read and re.search("[\"']", QUOTED.sub("", " ".join(line.words))):
        raise line.build_error(f"a quote of {keyword} is not closed")
    words = tuple(QUOTED.sub(r"\1\2", word) for word in line.words)
    if not any(words):
        raise line.build_error(f"{keyword} has no value")
    return ConfigLine(file, number, line.keyword, words, block)


def _split(text: str) -> Iterator[str]:
    """Words, still in their quotes, up to a comment."""
    words = (match[0] for match in WORD.finditer(text))
    return itertools.takewhile(lambda word: not word.startswith("#"), words)


def _build_block(outer: Block, line: ConfigLine) -> Block:
    """The block that a Host or Match begins, inside the one of an Include."""
    if line.keyword == "host":
        return Block(((TYPED, line.words, True),), outer.undecided, outer)
    criteria, undecided = [], outer.undecided
    words = iter(line.words)
    for word in words:
        name, has_value, given = word.removeprefix("!").partition("=")
        name = name.lower()
        if name in MOMENTS:
            undecided = undecided or name
        elif word.lower() != "all":
            given = given if has_value else next(words, "")
            if not given:
                raise line.build_error(f"`Match {word}` has no argument")
            if name in CRITERIA:
                patterns = (given.lower() if name in NAMES else given).split(",")
                criteria.append((name, tuple(patterns), not word.startswith("!")))
            else:
                undecided = undecided or name
    return Block(tuple(criteria), undecided, outer)


def _list_included(line: ConfigLine, home: Path) -> Iterator[Path]:
    for word in line.words:
        pattern = expand(line, word, {"d": str(home)}, {})
        # A name without a folder is beside ~/.ssh/config.
        path = home / ".ssh" / expand_home(pattern, home)
        found = glob.glob(str(path))  # noqa: PTH207 - it leaves hidden files out, as glob(3) does
        yield from map(Path, sorted(found))


def expand_home(path: str, home: Path) -> Path:
    return home / path[2:] if path.startswith("~/") else Path(path)


def _read_text(file: Path) -> str:
    """What is in the file, which is the user's or root's alone to change, as ssh(1) wants it."""
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            status = os.fstat(opened.fileno())
            text = opened.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        fault = Fault(0, 0, "", f"cannot be read: {error.strerror}")
        raise ConfigError(str(file), [fault], hint=f"try `ls -l {file}`") from error
    if status.st_uid not in {0, os.getuid()}:
        fault = Fault(0, 0, "", f"belongs to {name_user(status.st_uid)}, who could change it")
        raise ConfigError(str(file), [fault], hint=f"run `chown {os.getuid()} {file}`")
    if is_writable_by_others(status):
        fault = Fault(0, 0, "", "others may write to it, and so change where nvoi connects to")
        raise ConfigError(str(file), [fault], hint=f"run `chmod go-w {file}`")
    return text
