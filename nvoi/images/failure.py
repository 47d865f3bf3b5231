"""What a build's output says of where it failed. No input or output of its own.

The forms are those of ``docker buildx build --progress plain`` (BuildKit), of the builder
before it, and of podman.
"""

from __future__ import annotations

import re
from collections import deque

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
        "log in to the base image's registry with docker login or podman login",
    ),
)


class BuildLog:
    """Remembers of a build's lines what an error needs. Feed it every line."""

    def __init__(self) -> None:
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._vertices: dict[str, str] = {}
        self._step = ""
        self._reason = ""

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last 20, oldest first."""
        return tuple(self._last)

    def feed(self, line: str) -> None:
        """Take the next line."""
        line = line.rstrip()
        if line:
            self._last.append(line)
        if found := STEP.fullmatch(line):
            self._step = found[0]
        elif found := VERTEX.fullmatch(line):
            self._vertices[found["number"]] = f"[{found['place']}] {found['what']}"
        elif found := VERTEX_ERROR.fullmatch(line):
            self._step = self._vertices.get(found["number"], self._step)
            self._reason = clean_reason(found["reason"])
        elif found := RETURNED.fullmatch(line):
            self._reason = f"exit code {found['code']}"
        elif not self._reason and (found := ERROR.fullmatch(line)):
            self._reason = clean_reason(found["reason"])

    def describe(self, status: int) -> str:
        """Which instruction failed and how, as it reads after "the image cannot be built: "."""
        reason = self._reason or describe_status(status)
        return f"{shorten(self._step)}: {reason}" if self._step else reason

    def find_hint(self) -> str:
        """What to do next, empty where the lines do not say it."""
        text = "\n".join(self._last).lower()
        for signs, hint in HINTS:
            if any(sign in text for sign in signs):
                return hint
        return ""


def clean_reason(reason: str) -> str:
    """A reason without what it says of the instruction, which is told before it."""
    reason = reason.removeprefix(SOLVE)
    reason = PROCESS.sub("", AT_STEP.sub("", reason))
    return shorten(reason.replace("exit code: ", "exit code ").replace("exit status", "exit code"))


def describe_status(status: int) -> str:
    """How a command ended, in words."""
    return f"exit code {status}" if status >= 0 else f"ended by signal {-status}"


def shorten(text: str) -> str:
    """At most 200 characters of it."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
