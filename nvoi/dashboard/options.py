"""What the dashboard remembers of how it was started, for the commands beside it."""

from __future__ import annotations

import sqlite3


def find_option(connection: sqlite3.Connection, name: str) -> str | None:
    """What was stored under ``name``."""
    row = connection.execute("SELECT value FROM options WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else None


def store_option(connection: sqlite3.Connection, name: str, value: str | None) -> None:
    """Store ``value`` under ``name``; None removes it."""
    if value is None:
        connection.execute("DELETE FROM options WHERE name = ?", (name,))
        return
    connection.execute(
        "INSERT INTO options (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
