"""The tables, and how those of an older version become those of this one. Pure.

The database's version is the number of migrations it has had, in ``PRAGMA user_version``.
"""

from __future__ import annotations

#: Marks the file as a dashboard's: "nvoi" in ASCII.
APPLICATION_ID = 0x6E766F69

_FIRST = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    # AUTOINCREMENT: an id is part of what a sealed key is bound to, so it is never given twice.
    """
    CREATE TABLE projects (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        token TEXT UNIQUE,
        created_at INTEGER NOT NULL
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
    # An attempt without a project has been given up, and waits for its deletion.
    """
    CREATE TABLE attempts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        project_id INTEGER REFERENCES projects,
        deploy_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        has_started INTEGER NOT NULL DEFAULT 0,
        outcome TEXT,
        started_at INTEGER NOT NULL,
        last_seen_at INTEGER NOT NULL,
        ended_at INTEGER,
        duration_seconds INTEGER,
        git_sha TEXT,
        git_ref TEXT,
        ci_provider TEXT,
        ci_run_url TEXT,
        lines INTEGER NOT NULL DEFAULT 0,
        last_place INTEGER NOT NULL DEFAULT 0,
        last_sequence INTEGER NOT NULL DEFAULT 0,
        debug_count INTEGER NOT NULL DEFAULT 0,
        info_count INTEGER NOT NULL DEFAULT 0,
        step_count INTEGER NOT NULL DEFAULT 0,
        ok_count INTEGER NOT NULL DEFAULT 0,
        success_count INTEGER NOT NULL DEFAULT 0,
        warning_count INTEGER NOT NULL DEFAULT 0,
        error_count INTEGER NOT NULL DEFAULT 0,
        log_count INTEGER,
        log_dropped INTEGER,
        tunnels TEXT NOT NULL DEFAULT '[]',
        error TEXT,
        UNIQUE (project_id, deploy_id, number)
    )
    """,
    "CREATE INDEX attempts_of_project ON attempts (project_id, id)",
    """
    CREATE TABLE gaps (
        attempt_id INTEGER NOT NULL REFERENCES attempts,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (attempt_id, first)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE lines (
        attempt_id INTEGER NOT NULL REFERENCES attempts,
        number INTEGER NOT NULL,
        place INTEGER NOT NULL,
        sequence INTEGER,
        level TEXT NOT NULL,
        message TEXT NOT NULL,
        logged_at INTEGER NOT NULL,
        PRIMARY KEY (attempt_id, number)
    ) WITHOUT ROWID
    """,
    # Finds a sequence number, and gives the order of reading. It grows at the end of each
    # attempt's part, as the table does, so it does not become slower as it grows.
    "CREATE INDEX lines_in_place ON lines (attempt_id, place)",
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
        created_at INTEGER NOT NULL,
        used_at INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
)

#: A run's own id tells apart the attempts of a deploy id; NULL where its sender gives none.
_RUN_IDS = ("ALTER TABLE attempts ADD COLUMN run_id TEXT",)

#: What the headers say of a run, and what its page needs of its log at once: when its first and
#: its last line were logged, how often lines came between others, and the lines of note.
_PAGES = (
    *(
        f"ALTER TABLE attempts ADD COLUMN {column}"
        for column in (
            "app TEXT",
            "command TEXT",
            "commit_title TEXT",
            "commit_author TEXT",
            "dirty INTEGER NOT NULL DEFAULT 0",
            "reason TEXT",
            "first_logged_at INTEGER",
            "last_logged_at INTEGER",
            "late INTEGER NOT NULL DEFAULT 0",
        )
    ),
    """
    UPDATE attempts SET
        first_logged_at = (
            SELECT logged_at FROM lines WHERE attempt_id = attempts.id AND number = 1
        ),
        last_logged_at = (
            SELECT logged_at FROM lines WHERE attempt_id = attempts.id AND number = attempts.lines
        ),
        late = EXISTS (
            SELECT 1 FROM lines AS one JOIN lines AS next
            ON next.attempt_id = one.attempt_id AND next.number = one.number + 1
            WHERE one.attempt_id = attempts.id AND next.place < one.place
        )
    """,
    "CREATE INDEX attempts_of_app ON attempts (project_id, app, id)",
)

#: Lines as rows of their own table: one over 1 KB had a page of 4 KB to itself in WITHOUT ROWID.
#: That an attempt's lines go before it is for retention to see to; a foreign key costs each line.
_ROWS = (
    "ALTER TABLE lines RENAME TO earlier_lines",
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
    """
    INSERT INTO lines SELECT attempt_id, number, place, sequence, level, message, logged_at
    FROM earlier_lines ORDER BY attempt_id, number
    """,
    "DROP TABLE earlier_lines",
    # Finds a sequence number, and gives the order of reading.
    "CREATE INDEX lines_in_place ON lines (attempt_id, place, number)",
    """
    CREATE INDEX lines_of_note ON lines (attempt_id, place, number, level)
    WHERE level IN ('step', 'warning', 'error')
    """,
    # A project that has once sent webhook headers needs them from then on.
    "ALTER TABLE projects ADD COLUMN needs_webhook INTEGER NOT NULL DEFAULT 0",
    """
    UPDATE projects SET needs_webhook = EXISTS (
        SELECT 1 FROM deliveries WHERE project_id = projects.id AND webhook IS NOT NULL
    )
    """,
)

#: Each migration's statements; a released one never changes.
MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _RUN_IDS, _PAGES, _ROWS)
