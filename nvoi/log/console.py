"""The log on a terminal or in a CI's output: one coloured StreamHandler."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from nvoi import protocol
from nvoi.log import levels, masking, rendering

#: Of CIs that show ANSI colours though their output is no terminal, by their own pages on it.
COLOUR_CIS = (
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "CIRCLECI",
    "BUILDKITE",
    "BITBUCKET_BUILD_NUMBER",
    "TRAVIS",
    "DRONE",
    "GITEA_ACTIONS",
    "FORGEJO_ACTIONS",
)

#: The ANSI code before a prefix, by the protocol's levels.
Palette = Mapping[str, str]

PLAIN: Palette = {}
COLOURFUL: Palette = {
    "debug": "\x1b[2m",
    "info": "\x1b[34m",
    "step": "\x1b[1;36m",
    "ok": "\x1b[32m",
    "success": "\x1b[1;32m",
    "warning": "\x1b[33m",
    "error": "\x1b[1;31m",
}


class ConsoleFormatter(logging.Formatter):
    """``[HH:MM:SS] [LEVEL] message``, the prefix coloured by level, a traceback below."""

    def __init__(self, palette: Palette = PLAIN) -> None:
        super().__init__()
        self._palette = palette

    def format(self, record: logging.LogRecord) -> str:
        created = time.strftime("%H:%M:%S", self.converter(protocol.read_time(record.created)))
        prefix = f"[{created}] [{record.levelname}]"
        if colour := self._palette.get(protocol.name_level(record.levelno)):
            prefix = f"{colour}{prefix}\x1b[0m"
        return f"{prefix} {masking.masker.clean_text(rendering.render(record), rendering.escape)}"


class JSONFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``message``, ``logger``."""

    def __init__(self, encoding: str | None = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    def format(self, record: logging.LogRecord) -> str:
        return encode_json(
            {
                "time": protocol.format_time(protocol.read_time(record.created)),
                "level": protocol.name_level(record.levelno),
                "message": masking.masker.clean_text(rendering.render(record)),
                "logger": record.name,
            },
            self._encoding,
        )


def encode_json(content: Mapping[str, Any], encoding: str | None) -> str:
    """``content`` as a line that no CI takes for a command of its own, for such a stream."""
    # What the stream's encoding lacks is left to no other escapes than JSON's own.
    is_whole = (encoding or "").lower().replace("-", "") == "utf8"
    # Read as JSON it is the same.
    return re.sub("#(?=#)", r"\\u0023", json.dumps(content, ensure_ascii=not is_whole))


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Escapes what the stream's encoding lacks, and lets a reader go that reads no further.

    ``nvoi deploy | head -1`` is no reason to stop a deploy: it goes on, and nothing is written
    any more. What else keeps the stream from being written to is told once on standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._is_lost = False

    def emit(self, record: logging.LogRecord) -> None:
        if self._is_lost:
            return
        try:
            write(self.stream, self.format(record) + self.terminator)
        except OSError as error:
            self._is_lost = True
            discard(self.stream)
            if not isinstance(error, BrokenPipeError):
                with contextlib.suppress(OSError):
                    sys.stderr.write(f"nvoi: the log cannot be written any more: {error}\n")
        except Exception:  # noqa: BLE001 - logging's own way to deal with a handler's fault
            self.handleError(record)


def write(stream: TextIO, text: str) -> None:
    """Write ``text`` at once, with escapes for what the stream's encoding lacks."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    try:
        stream.flush()
    except BlockingIOError:
        # A program that shares the stream wants it so; what did not fit waits in its buffer.
        os.set_blocking(stream.fileno(), True)
        stream.flush()


def discard(stream: TextIO) -> None:
    """Have all that is written to ``stream`` from now on, and what it still holds, go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def choose_palette(stream: Any, environ: Mapping[str, str]) -> Palette:
    """Colours or none, by what the user asked for and what ``stream`` can show.

    ``NO_COLOR`` (no-color.org), then ``FORCE_COLOR`` and ``CLICOLOR_FORCE``
    (bixense.com/clicolors), then ``TERM=dumb``, the terminal and known CIs.
    """
    if environ.get("NO_COLOR"):
        return PLAIN
    if any(environ.get(name, "0") not in {"", "0"} for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return COLOURFUL
    if environ.get("TERM") == "dumb":
        return PLAIN
    colourful = stream.isatty() or any(environ.get(name) for name in COLOUR_CIS)
    return COLOURFUL if colourful else PLAIN


def build_handler(
    stream: TextIO,
    environ: Mapping[str, str],
    *,
    level: int = logging.INFO,
    as_json: bool = False,
) -> ConsoleHandler:
    """The console's handler, ready to be added to a logger."""
    handler = ConsoleHandler(stream)
    handler.setLevel(level)
    if as_json:
        handler.setFormatter(JSONFormatter(stream.encoding))
    else:
        handler.setFormatter(ConsoleFormatter(choose_palette(stream, environ)))
    return handler


def set_up(handler: logging.Handler) -> levels.Logger:
    """Make ``handler`` the console of the logger ``nvoi``, for nvoi's own commands."""
    logger = levels.get_logger(levels.ROOT)
    logger.addHandler(handler)
    logger.setLevel(handler.level)
    # The command's output is this handler's alone, whatever the root logger has.
    logger.propagate = False
    return logger
