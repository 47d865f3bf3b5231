"""What a dashboard is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nvoi.secret import Secret

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8787


@dataclass(frozen=True)
class Settings:
    """All options of ``nvoi dashboard``.

    Args:
        database: the SQLite file; the key of its keys lies beside it.
        host: the address to listen on.
        port: the port; 0 lets the system choose.
        password: what a reader has to know; None where no login is asked for.
        trust_proxy: whether a reverse proxy stands before it, which decides who may read and
            whose ``X-Forwarded-*`` headers are true.
        public_url: where readers and senders find it, without a slash at its end; None where
            that is its own address.
        keep: deploys kept of each project; None keeps all.
        keep_days: days that a deploy is kept; None keeps it for ever.
        rate: requests a second that one project may send for long; twice as many in a burst.
    """

    database: Path
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    password: Secret | None = None
    trust_proxy: bool = False
    public_url: str | None = None
    keep: int | None = 200
    keep_days: float | None = None
    rate: float = 200.0
