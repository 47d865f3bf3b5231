"""Makes the database what this release needs.

It runs with every deploy, before the new release serves, while the old one still does. So each
statement may run again, and takes nothing away that the old release uses.
"""

from database import connect

#: Any number that nothing else locks: two migrations at once wait for each other.
LOCK = 20_261_123

STATEMENTS = (
    """
    CREATE TABLE IF NOT EXISTS orders (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        customer text NOT NULL,
        item text NOT NULL,
        placed_at timestamptz NOT NULL DEFAULT now(),
        done_at timestamptz
    )
    """,
    "ALTER TABLE orders ADD COLUMN IF NOT EXISTS done_by text",
    "CREATE INDEX IF NOT EXISTS open_orders ON orders (id) WHERE done_at IS NULL",
)


def main() -> None:
    """Run all statements, or none."""
    with connect() as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        for statement in STATEMENTS:
            connection.execute(statement)
    print("the database is as this release needs it", flush=True)


if __name__ == "__main__":
    main()
