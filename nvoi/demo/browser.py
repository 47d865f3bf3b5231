"""Opens a page in the user's browser, where there is somebody to see it."""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping


def has_screen(environ: Mapping[str, str], platform: str) -> bool:
    """Whether a browser would come up in front of the user.

    Args:
        environ: the environment. Over SSH the screen, if any, is another machine's.
        platform: ``sys.platform``. On macOS no variable tells of the screen.
    """
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return False
    return platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def open_page(url: str) -> bool:
    """Open ``url`` in the user's browser; whether there was one."""
    return webbrowser.open(url)
