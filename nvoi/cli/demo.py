"""``nvoi demo``: shown at a terminal, in a browser where there is a screen."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from collections.abc import Mapping

from nvoi.demo import story
from nvoi.demo.story import Demo
from nvoi.signals import interruptible


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    opens = options.open
    if opens is None:
        opens = options.wait and sys.stdout.isatty() and has_screen(environ, sys.platform)
    # A second signal changes nothing: what is being taken down is waited for, with deadlines.
    with interruptible(second_ends=False) as signals:
        demo = Demo(
            environ=environ,
            signals=signals,
            say=say,
            open_page=webbrowser.open if opens else None,
            port=options.port,
            wait=options.wait,
        )
        story.show(demo)
    return 0


def has_screen(environ: Mapping[str, str], platform: str) -> bool:
    """Whether a browser would come up in front of the user.

    Over SSH the screen, if any, is another machine's. On macOS no variable tells of it.
    """
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return False
    return platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def say(text: str) -> None:
    """Print lines, at once: what is started next prints to the same place."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
