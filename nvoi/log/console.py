"""The log on a terminal or in a CI's output: one coloured StreamHandler."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
        """The line, or lines, of ``record``."""
        prefix = f"[{self.formatTime(record, '%H:%M:%S')}] [{record.levelname}]"
        if colour := self._palette.get(protocol.name_level(record.levelno)):
            prefix = f"{colour}{prefix}\x1b[0m"
        return f"{prefix} {render_masked(record)}"


class JSONFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``message``, ``logger``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of ``record``."""
        return json.dumps(
            {
                "time": protocol.format_time(record.created),
                "level": protocol.name_level(record.levelno),
                "message": render_masked(record),
                "logger": record.name,
            },
            ensure_ascii=False,
        )


def render_masked(record: logging.LogRecord) -> str:
    """The finished text, masked again: a terminal code may have cut a secret in two."""
    return masking.masker.clean_text(rendering.render(record))


class ClosedOutputError(BaseException):
    """The reader of standard output has gone, as in ``nvoi deploy | head -1``.

    Not an ``Exception``: like Ctrl-C it ends the run wherever it is.
    """


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Escapes what the stream's encoding lacks, and ends the run when its reader has gone.

    It then raises :class:`ClosedOutputError`, once, and writes nothing from then on.
    """

    #: Whether a reader that has gone ends the run; see :func:`uninterrupted`.
    interrupts = True

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._closed_output = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write ``record``."""
        if self._closed_output:
            return
        try:
            self._write(self.format(record) + self.terminator)
        except BrokenPipeError:
            # Another thread would only end itself; the main one finds out by its next record.
            if threading.current_thread() is not threading.main_thread():
                return
            self._closed_output = True
            if ConsoleHandler.interrupts:
                raise ClosedOutputError from None
        except Exception:  # noqa: BLE001 - logging's own way to deal with a handler's fault
            self.handleError(record)

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
        except UnicodeEncodeError:
            encoding = self.stream.encoding or "ascii"
            self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self.stream.flush()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Inside, a reader that has gone is let go: what is being undone is undone to its end."""
    before, ConsoleHandler.interrupts = ConsoleHandler.interrupts, False
    try:
        yield
    finally:
        ConsoleHandler.interrupts = before


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
    formatter = JSONFormatter() if as_json else ConsoleFormatter(choose_palette(stream, environ))
    handler.setFormatter(formatter)
    return handler


def set_up(handler: logging.Handler) -> levels.Logger:
    """Make ``handler`` the console of the logger ``nvoi``, for nvoi's own commands."""
    logger = levels.get_logger(levels.ROOT)
    logger.addHandler(handler)
    logger.setLevel(handler.level)
    # The command's output is this handler's alone, whatever the root logger has.
    logger.propagate = False
    return logger
