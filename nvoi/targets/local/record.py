"""What a release that has served ran: its services and their ports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from nvoi.config.schema import Application
from nvoi.targets.local.state import State, list_names, make_private, remove_tree, write_private

#: The services of a release, each with its port, or None without one.
Record = Mapping[str, int | None]


def build_record(application: Application) -> Record:
    """The record of what this config asks for."""
    return {name: service.port for name, service in application.app.items()}


def get_path(state: State, release: str) -> Path:
    """Where a release's record is kept."""
    return state.get_launchers(release) / "services.json"


def save_record(state: State, release: str, record: Record) -> None:
    """Mark ``release`` as one that has served."""
    path = get_path(state, release)
    # A release without services has no launchers, and so no folder for them yet.
    make_private(path.parent)
    write_private(path, json.dumps(record))


def find_record(state: State, release: str | None) -> Record | None:
    """The record of ``release``, None where it never served or the record cannot be read."""
    if release is None:
        return None
    try:
        record = json.loads(get_path(state, release).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def list_unfinished(state: State) -> list[str]:
    """Releases that never served: what a run that was killed has left."""
    names = {*state.list_releases(), *(name for name in list_names(state.run) if name.isdigit())}
    current = state.find_current()
    return sorted(
        name
        for name in names
        if name != current
        and (find_record(state, name) is None or not (state.releases / name).is_dir())
    )


def remove_release(state: State, release: str) -> None:
    """Remove the snapshot and the launchers of ``release``."""
    remove_tree(state.releases / release)
    remove_tree(state.get_launchers(release))
