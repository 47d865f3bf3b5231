"""The build, which goes on in the background while the servers are being prepared.

What its output says of a failure has the forms of ``docker buildx build --progress plain``
(BuildKit), of the builder before it, and of podman.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from nvoi import parallel
from nvoi.config.schema import Login
from nvoi.errors import CommandError, NvoiError
from nvoi.images.context import stage
from nvoi.images.engines import BuiltImage, Engine, end_command, find_newest, strip_digest
from nvoi.images.registries import NO_LOGINS, Registry, log_in
from nvoi.log.levels import get_logger
from nvoi.process import Words, ask, follow
from nvoi.signals import LOOK_SECONDS
from nvoi.source import Source
from nvoi.waiting import Reminder

log = get_logger("nvoi.images")

#: Seconds that a cancelled build may take to end; more than what its processes are given.
END_SECONDS = 15.0

LAST_LINES = 20
#: Characters of an instruction that are told in an error.
LONGEST = 200

# `STEP 2/5: RUN make` and `[1/2] STEP 2/5: RUN make` (podman), `Step 2/5 : RUN make` (docker).
STEP = re.compile(r"(?:\[\d+/\d+\] )?step \d+/\d+ ?: (?P<what>.+)", re.IGNORECASE)
# `#7 [build 2/5] RUN make`, with the number by which later lines tell of it (BuildKit).
VERTEX = re.compile(r"#(?P<number>\d+) \[(?P<place>[^\]]+)\] (?P<what>.+)")
VERTEX_ERROR = re.compile(r"#(?P<number>\d+) ERROR: (?P<reason>.+)")
ERROR = re.compile(r"(?:error|error response from daemon): (?P<reason>.+)", re.IGNORECASE)
# `The command '/bin/sh -c make' returned a non-zero code: 2` (docker without BuildKit).
RETURNED = re.compile(r"The command .* returned a non-zero code: (?P<code>\d+)")
# `building at STEP "RUN make": while running runtime: exit status 2` (podman).
AT_STEP = re.compile(r'(?:error )?building at STEP ".*": (?:(?:error )?while running runtime: )?')
# `process "/bin/sh -c make" did not complete successfully: exit code: 2` (BuildKit).
PROCESS = re.compile(r'process ".*" did not complete successfully: ')
SOLVE = "failed to solve: "

PASSWD, GROUP = "/etc/passwd", "/etc/group"

HINTS = (
    (
        ("exec format error",),
        (
            "the servers' processors differ from this machine's: let QEMU run their programs here, "
            "as with docker run --privileged tonistiigi/binfmt --install all"
        ),
    ),
    (
        ("no space left on device",),
        "make room on this machine: docker system prune, or podman system prune",
    ),
    (
        ("no such host", "i/o timeout", "connection refused", "network is unreachable"),
        "this machine does not reach the registry of a base image, or what the build fetches",
    ),
    (
        ("unable to prepare context: path",),
        "a Docker that was installed as a snap sees the home folder alone: set TMPDIR to one in it",
    ),
    (
        ("pull access denied", "unauthorized:", "requested access to the resource is denied"),
        (
            "name the base image's registry under `registries` in the config, or log in to it "
            "with docker login or podman login"
        ),
    ),
)


@dataclass(eq=False, kw_only=True)
class Build:
    """One build, on a thread of its own. Whoever starts one waits for it or cancels it.

    Attributes:
        source: what of the checkout may be in it.
        platform: such as ``linux/amd64``; the build begins when it is known.
        cache: gives the cluster's registry, None while it cannot be reached. Asked once, when the
            build begins.
        logins: those of the registries that base images are in.
    """

    engine: Engine
    source: Source
    dockerfile: Path
    tag: str
    platform: Future[str]
    environ: Mapping[str, str]
    cache: Callable[[], Registry | None] = lambda: None
    logins: Mapping[str, Login] = field(default_factory=lambda: NO_LOGINS)

    def __post_init__(self) -> None:
        self._environ = {**self.environ, **self.engine.environment}
        self._task = parallel.Task(self._build, "nvoi-build")

    def start(self) -> Self:
        self._task.start()
        return self

    @property
    def is_done(self) -> bool:
        return self._task.future.done()

    def wait(self) -> BuiltImage:
        """The image, once it is built. A CommandError of a failed build has the last 20 lines."""
        reminder = Reminder(f"the build of {self.tag}", log)
        while not self.is_done:
            wait_for_futures([self._task.future], LOOK_SECONDS)
            reminder.tell()
        return self._task.future.result()

    def cancel(self) -> None:
        """End it at once, with all that it runs; return when it has. Does nothing after the end."""
        self._task.cancel()
        self._task.join(END_SECONDS)

    def _build(self) -> BuiltImage:
        with stage(self.source, self._environ) as folder:
            platform = self._get_platform()
            cache = self._find_cache()
            log.info("building %s for %s with %s", self.tag, platform, self.engine.name)
            began = time.monotonic()
            with log_in(self.engine, cache, self._environ, self.logins) as environ:
                self._build_with(folder, platform, cache, environ)
        # An engine that was ended by a signal may say that all is well: the image tells.
        found = ask(self.engine.inspect(self.tag), self._environ)
        if not found:
            raise CommandError(f"the image cannot be built: {self.engine.name} made no {self.tag}")
        log.ok("built %s in %.1f s", self.tag, time.monotonic() - began)
        image_id, _, name = found.strip().partition(" ")
        user = find_numbers(self.engine, self.tag, platform, name, self._environ)
        return BuiltImage(self.tag, strip_digest(image_id), user)

    def _build_with(
        self, folder: Path, platform: str, cache: Registry | None, environ: Mapping[str, str]
    ) -> None:
        source = self._fetch_cache(cache, environ) if cache else None
        try:
            self._run_build(folder, platform, source, environ)
        except CommandError as error:
            if cache is None or source is None or cache.is_up():
                raise
            log.warning(
                "%s; the layer cache was lost meanwhile, building without it", error.message
            )
            self._run_build(folder, platform, None, environ)
        finally:
            forget = self.engine.forget(source) if source else None
            if source and forget and self.engine.fetch_cache(source):
                ask(forget, self._environ)

    def _get_platform(self) -> str:
        while not self.platform.done():
            parallel.check()
            wait_for_futures([self.platform], LOOK_SECONDS)
        try:
            return self.platform.result()
        except FutureCancelledError as error:
            raise parallel.CancelledError("the build was cancelled") from error

    def _find_cache(self) -> Registry | None:
        """The registry, where it can be reached now and has an image of the app."""
        if not self.engine.can_use_cache:
            return None
        try:
            registry = self.cache()
        except NvoiError as error:
            log.debug("no layer cache: %s", error)
            return None
        return registry if registry is not None and registry.is_up() else None

    def _fetch_cache(self, registry: Registry, environ: Mapping[str, str]) -> str | None:
        """The last image of the app there; None where there is none, or it does not come."""
        repository = self.tag.rpartition(":")[0]
        try:
            newest = find_newest(registry.list_tags(repository))
        except NvoiError as error:
            log.debug("no layer cache: %s", error)
            return None
        if newest is None:
            return None
        reference = f"{registry.address}/{repository}:{newest}"
        words = self.engine.fetch_cache(reference)
        # Who has built here before has the layers here, and more of them.
        own = (ask(self.engine.list_tags(repository), self._environ) or "").split() if words else ()
        if words and (own or self._follow(words, EngineLog(), environ) != 0):
            return None
        log.debug("layers may come from %s", reference)
        return reference

    def _run_build(
        self, folder: Path, platform: str, cache: str | None, environ: Mapping[str, str]
    ) -> None:
        output = EngineLog()
        words = self.engine.build(folder, self.dockerfile, self.tag, platform, cache)
        status = self._follow(words, output, environ)
        if status != 0:
            raise CommandError(
                f"the image cannot be built: {output.describe(status)}",
                hint=output.find_hint(),
                output=output.last_lines,
            )

    def _follow(self, words: Words, output: EngineLog, environ: Mapping[str, str]) -> int:
        return follow(words, environ, output.feed, end=end_command)


class EngineLog:
    """Logs the lines of a command behind ``what``, and remembers of them what an error needs."""

    def __init__(self, what: str = "build") -> None:
        self._what = what
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._vertices: dict[str, str] = {}
        self._step = ""
        self._reason = ""

    @property
    def last_lines(self) -> tuple[str, ...]:
        return tuple(self._last)

    def feed(self, line: str) -> None:
        log.debug("%s: %s", self._what, line)
        line = line.rstrip()
        if line:
            self._last.append(line)
        if found := STEP.fullmatch(line):
            self._step = found[0]
        elif found := VERTEX.fullmatch(line):
            self._vertices[found["number"]] = f"[{found['place']}] {found['what']}"
        elif found := VERTEX_ERROR.fullmatch(line):
            self._step = self._vertices.get(found["number"], self._step)
            self._reason = _clean_reason(found["reason"])
        elif found := RETURNED.fullmatch(line):
            self._reason = f"exit code {found['code']}"
        elif not self._reason and (found := ERROR.fullmatch(line)):
            self._reason = _clean_reason(found["reason"])

    def describe(self, status: int) -> str:
        """Which instruction failed and how, as it reads after "cannot be built: "."""
        reason = self._reason or (
            f"exit code {status}" if status >= 0 else f"ended by signal {-status}"
        )
        return f"{_shorten(self._step)}: {reason}" if self._step else reason

    def find_hint(self) -> str:
        """What to do next, empty where the lines do not say it."""
        text = "\n".join(self._last).lower()
        for signs, hint in HINTS:
            if any(sign in text for sign in signs):
                return hint
        return ""


def _clean_reason(reason: str) -> str:
    """A reason without what it says of the instruction, which is told before it."""
    reason = reason.removeprefix(SOLVE)
    reason = PROCESS.sub("", AT_STEP.sub("", reason))
    return _shorten(reason.replace("exit code: ", "exit code ").replace("exit status", "exit code"))


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def find_numbers(
    engine: Engine, tag: str, platform: str, user: str, environ: Mapping[str, str]
) -> str:
    """``1000:1000`` for ``app``; what is a number already, or not known there, as it was.

    Nobody outside can tell whose a name is: the numbers are in the image's own passwd(5) and
    group(5), which are read from a container that is made and never runs.
    """
    name, _, group = user.partition(":")
    if all(part.isdecimal() for part in (name, group) if part):
        return user
    container = (ask(engine.create(tag, platform), environ) or "").strip()
    if not container:
        return user
    try:
        texts = {path: ask(engine.read(container, path), environ) or "" for path in (PASSWD, GROUP)}
    finally:
        ask(engine.remove_container(container), environ)
    return resolve(name, group, texts[PASSWD], texts[GROUP]) or user


def resolve(name: str, group: str, passwd: str, groups: str) -> str | None:
    """``UID:GID``; None where one of them is not known. Both texts are within archives."""
    user, own = find_entry(name, passwd)
    number = find_entry(group, groups)[0] if group else own
    return f"{user}:{number}" if user and number else None


def find_entry(name: str, text: str) -> tuple[str | None, str | None]:
    """The one or two numbers of a name's line; a number has itself alone."""
    if name.isdecimal():
        return name, None
    found = re.search(rf"(?:^|\0){re.escape(name)}:[^:\n]*:(\d+)(?::(\d+))?", text, re.MULTILINE)
    return (found[1], found[2]) if found else (None, None)
