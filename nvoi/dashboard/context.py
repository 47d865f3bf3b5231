"""What a dashboard is started with, and what its routes share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.requests import Request

from nvoi.dashboard.database import Reader, Writer
from nvoi.dashboard.feed import Feed
from nvoi.dashboard.projects import Keyring
from nvoi.secret import Secret

#: Searches at one time: a second each in a log of a million lines.
MOST_SEARCHES = 2


@dataclass(frozen=True)
class Settings:
    """The options of ``nvoi dashboard``, but for where its data is.

    Without a ``password`` no login is asked for. With ``trust_proxy`` a reverse proxy stands
    before it, which decides who may read and whose ``X-Forwarded-*`` headers are true.
    ``public_url`` has no slash at its end; None where readers and senders use its own address.
    None for ``keep`` or ``keep_days`` keeps all deploys, or for ever. ``rate`` is requests a
    second that one project may send for long.
    """

    host: str = "127.0.0.1"
    port: int = 8787
    password: Secret | None = None
    trust_proxy: bool = False
    public_url: str | None = None
    keep: int | None = 200
    keep_days: float | None = None
    rate: float = 200.0


@dataclass(frozen=True)
class Dashboard:
    """A dashboard that serves, as :func:`get_dashboard` gives it to every request.

    Only the writer changes the database. A topic of the feed is ``(project name, deploy id)``;
    ``url``, without a slash at its end, is where readers and senders find the dashboard.
    ``searches`` keeps some of the reader's threads free of those who look through whole logs.
    """

    settings: Settings
    writer: Writer
    reader: Reader
    keyring: Keyring
    feed: Feed
    url: str
    searches: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_SEARCHES))


def get_dashboard(request: Request) -> Dashboard:
    dashboard: Dashboard = request.app.state.dashboard
    return dashboard
