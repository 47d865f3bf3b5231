"""Deletes old runs in the background, a little at a time, so that nothing waits for it.

A run that is to go is first taken from its project, which nobody can see half of, and then
deleted in small jobs of the writer. What a killed process left undone is done by the next.

The machine's clock may be wrong for a while, and what was deleted is gone: time goes on here by
what retention has seen pass itself, and by the order of the runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from sqlite3 import Connection

from nvoi.dashboard.database import StorageError, Writer, read_clock
from nvoi.dashboard.projects import find_option, store_option
from nvoi.dashboard.queries import LOST_AFTER

#: The most rows and pages that one job deletes and gives back.
MOST_ROWS = 2000
MOST_PAGES = 500
#: Free pages that stay in the file, for what comes next: 8 MB of the usual 4 KiB.
SPARE_PAGES = 2000
#: Seconds between two sweeps.
PAUSE_SECONDS = 60.0

_HOUR = 60 * 60 * 1000
_DAY = 24 * _HOUR
#: How far the clock may have gone on while the dashboard did not run, in milliseconds; and how
#: many times as fast as time passes retention follows a clock that is further ahead than that.
_BELIEVED, _PACE = _DAY, 2
#: The option that keeps retention's time for the next start.
_TIME = "retention_time"

log = logging.getLogger(__name__)


class Retention:
    """Keeps the newest runs of each project, and never deletes one that goes on.

    Every attempt counts as a run, so an id that is used again and again does not grow for ever.
    None for ``keep`` or ``keep_days`` keeps all, or for ever.
    ``clock`` gives Unix milliseconds, and may be wrong; ``passed`` monotonic seconds.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        keep: int | None = None,
        keep_days: float | None = None,
        clock: Callable[[], int] = read_clock,
        passed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._keep = keep
        self._keep_days = keep_days
        self._clock = clock
        self._passed = passed
        self._time: int | None = None
        self._moment = 0.0
        self._stored = 0
        self._is_told = False

    async def run(self) -> None:
        """Sweep now and after every pause, until it is cancelled."""
        while True:
            try:
                await self.sweep()
            except StorageError as error:
                log.warning("old deploys are not deleted for now: %s", error)
            except Exception:
                log.exception("old deploys are not deleted for now")
            await asyncio.sleep(PAUSE_SECONDS)

    async def sweep(self) -> None:
        """Delete what is to go, and give the space back; after a StorageError the next goes on."""
        now = await self._follow_clock()
        before = None if self._keep_days is None else now - round(self._keep_days * _DAY)
        for job in (
            partial(give_up_runs, keep=self._keep, before=before, now=now),
            delete_rows,
            partial(give_back_pages, spare=SPARE_PAGES),
        ):
            while await self._writer.write(job):
                pass

    async def _follow_clock(self) -> int:
        """Now, as far as the clock is believed; never later than it says."""
        clock, moment = self._clock(), self._passed()
        if self._time is None:
            found = await self._writer.write(find_time)
            most = clock if found is None else found + _BELIEVED
        else:
            most = self._time + round(_PACE * (moment - self._moment) * 1000)
        self._time, self._moment = min(clock, most), moment
        self._tell(clock - self._time)
        if abs(self._time - self._stored) >= _HOUR:
            text = str(self._time)
            await self._writer.write(lambda sql: store_option(sql, _TIME, text))
            self._stored = self._time
        return self._time

    def _tell(self, ahead: int) -> None:
        """Say once that the clock has jumped, where that matters."""
        jumped = ahead > _BELIEVED
        if jumped and not self._is_told and self._keep_days is not None:
            log.warning(
                "the clock is %d days ahead of when old deploys were looked for last: in case it"
                " is wrong, --keep-days follows it slowly, by two days a day",
                ahead // _DAY,
            )
        self._is_told = jumped


def find_time(sql: Connection) -> int | None:
    """Retention's time as it was, else when the newest run was heard of; None without runs."""
    stored = find_option(sql, _TIME)
    if stored is not None:
        return int(stored)
    row = sql.execute("SELECT last_seen_at FROM attempts ORDER BY id DESC LIMIT 1").fetchone()
    return int(row[0]) if row else None


def give_up_runs(sql: Connection, *, keep: int | None, before: int | None, now: int) -> bool:
    """Take old runs from their projects; whether there may be more of them.

    Of each project the ``keep`` newest stay, and of those what was heard of since ``before``;
    what is running was heard of within ten minutes before ``now``. A run is as new as any that
    came before it: where it seems older, the clock was wrong when it was heard of.
    """
    cursor = sql.execute(
        "UPDATE attempts SET project_id = NULL WHERE id IN (SELECT id FROM ("
        " SELECT id, last_seen_at, outcome,"
        " row_number() OVER (PARTITION BY project_id ORDER BY id DESC) AS newest,"
        " max(CASE WHEN last_seen_at <= :now THEN last_seen_at ELSE 0 END)"
        " OVER (PARTITION BY project_id ORDER BY id) AS latest"
        " FROM attempts WHERE project_id IS NOT NULL)"
        " WHERE (max(last_seen_at, latest) < :before OR newest > :keep)"
        " AND (outcome IS NOT NULL OR last_seen_at <= :silent) LIMIT :most)",
        {"before": before, "keep": keep, "now": now, "silent": now - LOST_AFTER, "most": MOST_ROWS},
    )
    return cursor.rowcount == MOST_ROWS


#: What hangs on an attempt, and the column by which its rows are deleted in parts.
_PARTS = (("lines", "number"), ("deliveries", "id"), ("gaps", "first"))


def delete_rows(sql: Connection) -> bool:
    """Delete a part of a run that was given up; whether there may be more to delete."""
    row = sql.execute("SELECT id FROM attempts WHERE project_id IS NULL LIMIT 1").fetchone()
    if row is None:
        return False
    for table, column in _PARTS:
        deleted = sql.execute(
            f"DELETE FROM {table} WHERE attempt_id = :id AND {column} IN ("  # noqa: S608 - constants
            f"SELECT {column} FROM {table} WHERE attempt_id = :id ORDER BY {column} LIMIT :most)",
            {"id": row[0], "most": MOST_ROWS},
        ).rowcount
        if deleted:
            return True
    sql.execute("DELETE FROM attempts WHERE id = ?", row)
    return True


def give_back_pages(sql: Connection, *, spare: int) -> bool:
    """Give some free pages back to the file system; whether more than ``spare`` are left."""
    free = sql.execute("PRAGMA freelist_count").fetchone()[0]
    if free <= spare:
        return False
    # Each step of the statement frees one page, and Python makes one step: it has no columns.
    for _ in range(min(free - spare, MOST_PAGES)):
        sql.execute("PRAGMA incremental_vacuum(1)")
    return True
