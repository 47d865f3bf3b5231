"""What the page of a CI job shows of a run: a section a step, annotations, a summary, outputs.

GitHub's are its workflow commands and environment files ("Workflow commands for GitHub Actions"),
GitLab's its collapsible sections ("Job logs"). Gitea and Forgejo read what GitHub does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from nvoi.ci import find_ci
from nvoi.config.loader import is_plain
from nvoi.errors import ConfigError
from nvoi.log import console, levels, masking
from nvoi.log.console import ConsoleFormatter, Palette
from nvoi.log.ending import describe
from nvoi.log.levels import get_logger
from nvoi.network import strip_auth
from nvoi.outcome import LOGGER, Outcome, format_seconds

log = get_logger("nvoi.cli")

GITHUB = {"github_actions", "gitea_actions", "forgejo_actions"}

#: The programs that read what a step prints, by their names in /proc/PID/comm.
RUNNERS = {"Runner.Worker", "act_runner", "forgejo-runner"}

#: What a callback_url of nvoi's own dashboard ends with: docs/dashboard.md.
RECEIVING = re.compile(r"(.*)/api(/projects/[^/]+)?/deploys/?")


#: What begins and ends a section: GitHub's are closed once they have ended, GitLab's told apart by
#: their numbers, with times.
_GITHUB_MARKS = ("::group::", "::endgroup::")
_GITLAB_MARKS = (
    "\x1b[0Ksection_start:{time:.0f}:nvoi_step_{number}\r\x1b[0K",
    "\x1b[0Ksection_end:{time:.0f}:nvoi_step_{number}\r\x1b[0K",
)


class SectionFormatter(ConsoleFormatter):
    """Puts the lines of each step into a section that a reader may open.

    What ends a run, its reason above all, stands outside of them.
    """

    def __init__(self, palette: Palette, begin: str, end: str) -> None:
        super().__init__(palette)
        self._begin, self._end = begin, end
        self._count = 0
        self._is_open = False

    def format(self, record: logging.LogRecord) -> str:
        line, is_step = super().format(record), record.levelno == levels.STEP
        before = ""
        if self._is_open and (is_step or record.name == LOGGER):
            self._is_open = False
            before = self._mark(self._end, record) + "\n"
        if is_step:
            self._is_open = True
            self._count += 1
            before += self._mark(self._begin, record)
        return before + line

    def _mark(self, template: str, record: logging.LogRecord) -> str:
        return template.format(time=record.created, number=self._count)


def find_formatter(environ: Mapping[str, str], palette: Palette) -> SectionFormatter | None:
    """What shows sections in this CI; None elsewhere."""
    provider, _ = find_ci(environ)
    if provider in GITHUB:
        return SectionFormatter(palette, *_GITHUB_MARKS)
    return SectionFormatter(palette, *_GITLAB_MARKS) if provider == "gitlab_ci" else None


def register_secrets(secrets: Iterable[str], environ: Mapping[str, str]) -> None:
    """Have GitHub mask secrets in the whole job, also in what comes after nvoi.

    It knows those of the environment. The command carries each in the clear: it is given only
    where the runner itself reads it, and no file and no other program does.
    """
    provider, _ = find_ci(environ)
    if provider not in GITHUB or not is_read_by_runner():
        return
    from nvoi.log.secret_forms import SHORTEST_SECRET  # noqa: PLC0415 - for those alone who mask

    known = {line for value in environ.values() for line in value.splitlines()}
    lines = dict.fromkeys(line for secret in secrets for line in secret.splitlines())
    with contextlib.suppress(OSError):
        for line in lines:
            if len(line) >= SHORTEST_SECRET and line not in known:
                sys.stdout.write(f"{format_command('add-mask', line, {})}\n")
        sys.stdout.flush()


def is_read_by_runner() -> bool:
    """Whether standard output is a pipe whose other end a CI's runner holds (proc(5), Linux)."""
    try:
        own = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):
        return False
    if not stat.S_ISFIFO(own.st_mode):
        return False
    return any(os.path.samestat(own, found) for found in list_runner_files())


def list_runner_files() -> Iterator[os.stat_result]:
    """The open files of all runners that this user may look at."""
    for process in Path("/proc").glob("[0-9]*"):
        # It may end at any moment, or be another user's.
        with contextlib.suppress(OSError):
            if (process / "comm").read_text().strip() not in RUNNERS:
                continue
            for file in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    yield file.stat()


def annotate(error: BaseException, environ: Mapping[str, str]) -> None:
    """Show on GitHub's pages what ended a command; its own cancellation GitHub shows itself."""
    provider, _ = find_ci(environ)
    if provider in GITHUB and isinstance(error, Exception):
        with contextlib.suppress(OSError):
            for line in build_annotations(error, environ):
                console.write(sys.stdout, f"{line}\n")


def build_annotations(error: Exception, environ: Mapping[str, str]) -> Iterator[str]:
    """The workflow commands that show ``error`` on GitHub's page of the run and beside its file."""
    if not isinstance(error, ConfigError):
        yield build_command("error", describe(error), title="nvoi")
        return
    file = Path(error.filename)
    for fault in error.faults:
        place = {"file": find_path(file, environ)}
        # Lines of what is encrypted are none that the page could show.
        if fault.line and is_plain(file):
            place |= {"line": str(fault.line), "col": str(fault.column)}
        yield build_command("error", fault.describe(error.filename), **place)


def find_path(file: Path, environ: Mapping[str, str]) -> str:
    """A file as the repository has it."""
    workspace = Path(environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    path = file.resolve()
    return str(path.relative_to(workspace) if path.is_relative_to(workspace) else file)


def build_command(name: str, text: str, **properties: str) -> str:
    """A workflow command whose ``text`` shows no secret."""
    return format_command(name, masking.masker.clean_text(text), properties)


def format_command(name: str, text: str, properties: Mapping[str, str]) -> str:
    """A workflow command, with the escapes of GitHub's own toolkit."""
    data = {"%": "%25", "\r": "%0D", "\n": "%0A"}
    in_data, in_property = str.maketrans(data), str.maketrans(data | {":": "%3A", ",": "%2C"})
    pairs = [f"{key}={value.translate(in_property)}" for key, value in properties.items()]
    head = f"{name} {','.join(pairs)}" if pairs else name
    return f"::{head}::{text.translate(in_data)}"


def write_files(outcome: Outcome, environ: Mapping[str, str], page: str) -> None:
    """Write GitHub's summary of the run, and the outputs ``url`` and ``release``.

    ``page`` is the run's on the dashboard, empty where it is not known.
    """
    write("GITHUB_STEP_SUMMARY", "\n".join(build_summary(outcome, page)), environ)
    outputs = {"url": next(iter(outcome.urls), ""), "release": outcome.release}
    write("GITHUB_OUTPUT", "\n".join(f"{name}={value}" for name, value in outputs.items()), environ)


def write(variable: str, text: str, environ: Mapping[str, str]) -> None:
    """Add a text to the file that GitHub names. Where it cannot be, that changes no outcome."""
    path = environ.get(variable)
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{masking.masker.clean_text(text)}\n")
    except OSError as error:
        log.warning("%s cannot be written: %s", variable, error.strerror)


def build_summary(outcome: Outcome, page: str) -> Iterator[str]:
    how = "failed after" if outcome.error else "done in"
    yield f"### {outcome.title} of {outcome.app}: {how} {format_seconds(outcome.seconds)}"
    yield ""
    if outcome.error:
        yield from (
            "```",
            *outcome.reason.replace("```", "'''").splitlines(),
            "```",
            outcome.hint,
            "",
        )
    facts = [f"- {url}" for url in outcome.urls]
    facts += [f"- release {outcome.release}"] if outcome.release else []
    facts += [f"- commit {outcome.commit}"] if outcome.commit else []
    facts += [f"- [the log on the dashboard]({page})"] if page else []
    yield from (*facts, "")
    timings = [one for one in outcome.timings if one.told]
    if timings:
        yield from ("| step | time |", "|---|---:|")
    for one in timings:
        name = one.name.replace("|", "\\|")
        yield f"| {name}{': failed' if one.failed else ''} | {format_seconds(one.seconds)} |"


def find_page(callback_url: str | None, deploy_id: str) -> str:
    """The page of a run on nvoi's own dashboard; empty for another one, or none."""
    parts = urlsplit(strip_auth(callback_url or ""))
    found = RECEIVING.fullmatch(parts.path)
    if not (parts.hostname and found):
        return ""
    base = f"{parts.scheme}://{parts.netloc}{found[1]}"
    return f"{base}{found[2]}/deploys/{quote(deploy_id, safe='')}" if found[2] else f"{base}/"
