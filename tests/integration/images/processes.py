"""Who runs on this machine."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil


def find_processes(*signs: str) -> list[int]:
    """The other processes that have one of ``signs`` in their arguments or their environment."""
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            text = "\0".join([*one.cmdline(), *one.environ().values()])
            if one.pid != os.getpid() and any(sign in text for sign in signs):
                found.append(one.pid)
    return found
