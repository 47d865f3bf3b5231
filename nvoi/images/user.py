"""The user whom an image names to run as, in numbers: nobody outside can tell whose a name is.

The numbers are in the image's own passwd(5) and group(5), which are read from a container that is
made and never runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from nvoi.images.engines import Engine
from nvoi.process import ask

PASSWD, GROUP = "/etc/passwd", "/etc/group"


def find_numbers(
    engine: Engine, tag: str, platform: str, user: str, environ: Mapping[str, str]
) -> str:
    """``1000:1000`` for ``app``; what is a number already, or not known there, as it was."""
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
