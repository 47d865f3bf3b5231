"""What a terminal shows beside the log: how long the current step has been going, and links."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import threading
import time
from collections.abc import Mapping
from typing import TextIO

from nvoi.log import levels
from nvoi.log.console import ConsoleFormatter, ConsoleHandler
from nvoi.outcome import LOGGER, format_seconds

#: Seconds that a step takes before its time is shown.
PATIENCE_SECONDS = 2.0
ERASE = "\r\x1b[2K"

URL = re.compile(r"https?://[^\s,;'\"<>)]+[^\s,;'\"<>).:]")
#: What terminals set that show OSC 8 as links, by their own pages on it.
LINKING = ("KITTY_WINDOW_ID", "WT_SESSION", "KONSOLE_VERSION", "DOMTERM", "ALACRITTY_WINDOW_ID")
LINKING_PROGRAMS = {"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "rio"}
#: The first release of VTE, GNOME Terminal's widget, whose links cannot crash it.
LINKING_VTE = 5001


class LinkFormatter(ConsoleFormatter):
    """Makes URLs hyperlinks (OSC 8)."""

    def format(self, record: logging.LogRecord) -> str:
        return URL.sub("\x1b]8;;\\g<0>\x1b\\\\\\g<0>\x1b]8;;\x1b\\\\", super().format(record))


def shows_links(environ: Mapping[str, str]) -> bool:
    """Whether the terminal takes hyperlinks; others print something of them."""
    if any(environ.get(name) for name in LINKING):
        return True
    version = environ.get("VTE_VERSION", "")
    return environ.get("TERM_PROGRAM") in LINKING_PROGRAMS or (
        version.isdecimal() and int(version) >= LINKING_VTE
    )


class LiveHandler(ConsoleHandler):
    """Below the log, while a step takes long, a line with its name and time, once a second."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._step = ""
        self._began = 0.0
        self._is_shown = False
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Write ``record`` where the live line stood."""
        self._erase()
        super().emit(record)
        if record.levelno == levels.STEP:
            self._step, self._began = record.getMessage(), time.monotonic()
            self._start()
        elif record.name == LOGGER:
            self._step = ""

    def close(self) -> None:
        self._ended.set()
        self.acquire()
        try:
            self._erase()
        finally:
            self.release()
        super().close()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._tick, name="nvoi-live", daemon=True)
            self._thread.start()

    def _tick(self) -> None:
        while not self._ended.wait(1):
            self.acquire()
            try:
                self._draw()
            finally:
                self.release()

    def _draw(self) -> None:
        seconds = time.monotonic() - self._began
        if not self._step or seconds < PATIENCE_SECONDS or self._is_lost:
            return
        text = f"{self._step}, {format_seconds(int(seconds))}"
        # A line that is folded could not be erased.
        self._is_shown = True
        width = shutil.get_terminal_size().columns - 1
        self._show(f"{ERASE}\x1b[2m{text[:width]}\x1b[0m")

    def _erase(self) -> None:
        if self._is_shown:
            self._is_shown = False
            self._show(ERASE)

    def _show(self, text: str) -> None:
        # The next record finds out about a terminal that has gone.
        with contextlib.suppress(OSError, UnicodeEncodeError):
            self.stream.write(text)
            self.stream.flush()
