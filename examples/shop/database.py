"""How the app reaches its database."""

import os

import psycopg

#: Seconds.
CONNECT_TIMEOUT = 5


def connect() -> psycopg.Connection:
    """A new connection to ``$DATABASE_URL``. As a context manager it commits and closes."""
    return psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=CONNECT_TIMEOUT)
