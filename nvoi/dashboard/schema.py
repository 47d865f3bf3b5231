"""The tables of the database, and their version. Pure.

``PRAGMA user_version`` has the version. A release that changes them gives them the next one, and
has ``_prepare`` (database.py) bring a database of the version before to it, with all it stores.
"""

from __future__ import annotations

#: Marks the file as a dashboard's: "nvoi" in ASCII.
APPLICATION_ID = 0x6E766F69

#: 1 to 4 were those of checkouts before the first release.
VERSION = 5

STATEMENTS = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    # AUTOINCREMENT: an id is part of what a sealed key is bound to, so it is never given twice.
    # A project that has once sent webhook headers needs them from then on.
    """
    CREATE TABLE projects (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        token TEXT UNIQUE,
        created_at INTEGER NOT NULL,
        needs_webhook INTEGER NOT NULL DEFAULT 0
    )
    """,
    # The current key of a project has no end.
    """
    CREATE TABLE keys (
        id INTEGER PRIMARY KEY,
        project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
        sealed BLOB NOT NULL,
        expires_at INTEGER
    )
    """,
    "CREATE INDEX keys_of_project ON keys (project_id)",
    # An attempt without a project has been given up, and waits for its deletion. A run's own id
    # tells apart the attempts of a deploy id; NULL where its sender gives none. What the page of
    # a run needs of its log at once is kept here: when its first and its last line were logged,
    # and how often lines came between others.
    """
    CREATE TABLE attempts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        project_id INTEGER REFERENCES projects,
        deploy_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        run_id TEXT,
        app TEXT,
        command TEXT,
        has_started INTEGER NOT NULL DEFAULT 0,
        outcome TEXT,
        reason TEXT,
        error TEXT,
        started_at INTEGER NOT NULL,
        last_seen_at INTEGER NOT NULL,
        ended_at INTEGER,
        duration_seconds INTEGER,
        git_sha TEXT,
        git_ref TEXT,
        commit_title TEXT,
        commit_author TEXT,
        dirty INTEGER NOT NULL DEFAULT 0,
        ci_provider TEXT,
        ci_run_url TEXT,
        tunnels TEXT NOT NULL DEFAULT '[]',
        lines INTEGER NOT NULL DEFAULT 0,
        last_place INTEGER NOT NULL DEFAULT 0,
        last_sequence INTEGER NOT NULL DEFAULT 0,
        late INTEGER NOT NULL DEFAULT 0,
        first_logged_at INTEGER,
        last_logged_at INTEGER,
        log_count INTEGER,
        log_dropped INTEGER,
        UNIQUE (project_id, deploy_id, number)
    )
    """,
    "CREATE INDEX attempts_of_project ON attempts (project_id, id)",
    "CREATE INDEX attempts_of_app ON attempts (project_id, app, id)",
    """
    CREATE TABLE gaps (
        attempt_id INTEGER NOT NULL REFERENCES attempts,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (attempt_id, first)
    ) WITHOUT ROWID
    """,
    # With its rowid: without it one over 1 KB has a page of 4 KB to itself. That an attempt's
    # lines go before it is for retention to see to; a foreign key costs each line.
    """
    CREATE TABLE lines (
        attempt_id INTEGER NOT NULL,
        number INTEGER NOT NULL,
        place INTEGER NOT NULL,
        sequence INTEGER,
        level TEXT NOT NULL,
        message TEXT NOT NULL,
        logged_at INTEGER NOT NULL,
        PRIMARY KEY (attempt_id, number)
    )
    """,
    # Finds a sequence number, and gives the order of reading. It grows at the end of each
    # attempt's part, as the table does, so it does not become slower as it grows.
    "CREATE INDEX lines_in_place ON lines (attempt_id, place, number)",
    """
    CREATE INDEX lines_of_note ON lines (attempt_id, place, number, level)
    WHERE level IN ('step', 'warning', 'error')
    """,
    # What was taken, to know it again: 16 bytes of SHA-256 of the webhook-id and of the body.
    """
    CREATE TABLE deliveries (
        id INTEGER PRIMARY KEY,
        project_id INTEGER NOT NULL,
        attempt_id INTEGER NOT NULL REFERENCES attempts,
        webhook BLOB,
        digest BLOB NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX deliveries_by_webhook ON deliveries (project_id, webhook)",
    "CREATE INDEX deliveries_by_digest ON deliveries (project_id, digest)",
    "CREATE INDEX deliveries_of_attempt ON deliveries (attempt_id)",
    "CREATE TABLE options (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE sessions (
        digest BLOB PRIMARY KEY,
        used_at INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
)
