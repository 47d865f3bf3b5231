"""Who runs on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def find_processes(*signs: str) -> list[int]:
    """The processes that have one of ``signs`` in their arguments or their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if any(sign.encode() in text for sign in signs):
            found.append(int(folder.name))
    return found
