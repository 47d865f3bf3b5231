"""Takes open orders, one at a time, and marks them done. Any number of workers may run."""

import os
import signal
import tempfile
import threading
from pathlib import Path

import psycopg
from database import connect

#: Seconds between two looks where there is nothing to do, or the database is away.
PAUSE = 1.0

#: Its time is that of the last look; the healthcheck of deploy.yml asks for it.
ALIVE = Path(tempfile.gettempdir(), "alive")

# Another worker passes over an order that this one has locked. Where this one dies before the
# end of its transaction the order is open again.
TAKE = """
SELECT id, customer, item FROM orders WHERE done_at IS NULL
ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
"""
FINISH = "UPDATE orders SET done_at = now(), done_by = %s WHERE id = %s"


def work_once(connection: psycopg.Connection, name: str) -> bool:
    """Do one open order; False where there is none."""
    with connection.transaction():
        order = connection.execute(TAKE).fetchone()
        if order is None:
            return False
        number, customer, item = order
        # Here a real shop would pack a parcel.
        connection.execute(FINISH, [name, number])
    print(f"order {number}: {item} for {customer}", flush=True)
    return True


def work(stopping: threading.Event, name: str) -> None:
    """Do all orders that are open, and those that come; return after a database error."""
    with connect() as connection:
        while not stopping.is_set():
            ALIVE.touch()
            if not work_once(connection, name):
                stopping.wait(PAUSE)


def main() -> None:
    """Work until SIGTERM or Ctrl-C; an order that was begun is finished."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    print("waiting for orders", flush=True)
    while not stopping.is_set():
        ALIVE.touch()
        try:
            work(stopping, name=os.uname().nodename)
        except psycopg.OperationalError as error:
            print(f"the database: {error}", flush=True)
            stopping.wait(PAUSE)
    print("stopped", flush=True)


if __name__ == "__main__":
    main()
