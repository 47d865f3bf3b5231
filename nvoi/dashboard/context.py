"""What the dashboard's routes share."""

from __future__ import annotations

from dataclasses import dataclass

from nvoi.dashboard.feed import Feed
from nvoi.dashboard.keyring import Keyring
from nvoi.dashboard.reader import Reader
from nvoi.dashboard.settings import Settings
from nvoi.dashboard.writer import Writer


@dataclass(frozen=True)
class Dashboard:
    """A dashboard that serves; ``request.app.state.dashboard`` of every request.

    Every module of routes has ``build_routes(dashboard) -> list[BaseRoute]``.

    Args:
        settings: what it was started with.
        writer: the only way to change the database: ``await writer.submit(job)``.
        reader: the way to read it: ``await reader.read(query)``, with ``query(connection)``.
        keyring: opens the projects' keys.
        feed: wakes the open pages; a topic is ``(project name, deploy id)``.
        url: where readers and senders find it, without a slash at its end.
    """

    settings: Settings
    writer: Writer
    reader: Reader
    keyring: Keyring
    feed: Feed
    url: str
