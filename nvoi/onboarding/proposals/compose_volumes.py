"""The volumes of a Compose file's services; folders of this machine are judged one by one."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from nvoi.config.nodes import Mapping, Node
from nvoi.onboarding.checkout import build_slug
from nvoi.onboarding.proposals.tree import Section, find_text

if TYPE_CHECKING:
    from nvoi.onboarding.proposals.compose_services import Stack

#: Folders of this machine whose content no server has.
SYSTEM = re.compile(r"/(?:var/run|run|etc|dev|proc|sys|tmp|usr|lib|boot)(?:/|$)")
#: Where an image's settings go, or what begins with a database: files, and no data.
SETTINGS = re.compile(r"/(?:etc|docker-entrypoint[\w.-]*|usr|opt/[\w-]+/(?:conf|etc)\w*)(?:/|$)")


def read_volumes(stack: Stack, section: Section, *, is_app: bool) -> dict[str, str]:
    """The paths of a service's volumes by their names; folders of this machine are told of."""
    mounts: dict[str, str] = {}
    for item in section.items("volumes"):
        kind, source, target = read_volume(item)
        target = target.rstrip("/") or target
        if not target.startswith("/") or kind not in {"volume", "bind"}:
            section.add_note(item, f"volume {source or target or '?'}: {kind} is not kept")
        elif kind == "bind":
            message, name = judge_bind(stack, source, target, is_app=is_app)
            section.add_note(item, message)
            if name:
                mounts.setdefault(name, target)
        elif not source:
            section.add_note(
                item, f"volume at {target} has no name: what is there goes with a release"
            )
        elif clean_volume(source) in mounts:
            section.add_note(item, f"volume {source} at {target}: a volume has one path here")
        elif target not in mounts.values():
            mounts[clean_volume(source)] = target
    section.tell("tmpfs", "what is kept in memory is not mounted")
    return mounts


def read_volume(node: Node) -> tuple[str, str, str]:
    """The kind, source and target of a volume, of the short or the long form."""
    if isinstance(node, Mapping):
        source, target = (
            find_text(node, key) or find_text(node, short)
            for key, short in (("source", "src"), ("target", "dst"))
        )
        return find_text(node, "type") or "volume", source, target
    parts = find_text(node).split(":")
    if len(parts) == 1:
        return "volume", "", parts[0]
    source, target = parts[:2]
    is_folder = source.startswith((".", "/", "~")) or target.startswith("\\")
    return "bind" if is_folder else "volume", source, target


def judge_bind(stack: Stack, source: str, target: str, *, is_app: bool) -> tuple[str, str]:
    """What becomes of a folder of this machine in a service, and its volume's name or nothing."""
    shown = f"{source} at {target}"
    if is_app:
        return (
            f"{shown}: is not mounted: a release has the checkout's files, "
            "and data needs a volume (`mounts`)"
        ), ""
    path = posixpath.normpath(posixpath.join(stack.folder, source))
    has_suffix = bool(re.search(r"\.\w{1,5}$", posixpath.basename(target)))
    is_outside = path.startswith("..") or source.startswith(("/", "~"))
    is_file = bool(has_suffix or SYSTEM.match(source) or SETTINGS.match(target))
    if is_file or (not is_outside and holds_files(stack.reading.folder / path)):
        return f"{shown}: files of this machine cannot be put into an image here", ""
    name = clean_volume(path if not is_outside else posixpath.basename(source.rstrip("/")))
    return f"{shown}: is volume {name}, which begins empty", name


def holds_files(place: Path) -> bool:
    """Whether a path of the checkout is a file, or a folder with something in it."""
    try:
        return place.is_file() or (place.is_dir() and any(place.iterdir()))
    except OSError:
        return False


def clean_volume(name: str) -> str:
    """``name`` as a volume may be called."""
    return build_slug(name) or "data"
