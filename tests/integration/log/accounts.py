"""Where a run's records went: those a receiver took and those a file keeps, by their numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.fakes.receiver import Receiver

Record = dict[str, Any]
Entry = dict[str, Any]


def read_entries(file: Path | None) -> list[Entry]:
    """The requests that a file of undelivered ones still has to send, in its order."""
    if file is None:
        return []
    _, *entries = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    done = {entry["acknowledged"] for entry in entries if "acknowledged" in entry}
    return [part for entry in entries if "id" in entry for part in find_left(entry, done)]


def find_left(entry: Entry, done: set[str]) -> Iterator[Entry]:
    """What is left of a request: halves have its id with ``a`` or ``b``, a cut line with ``c``."""
    parts = {name for name in done if name.startswith(entry["id"])}
    logs = entry.get("logs", ())
    if not parts:
        yield entry
    elif entry["id"] not in parts and len(logs) > 1:
        middle = len(logs) // 2
        for mark, first, lines in (("a", 0, logs[:middle]), ("b", middle, logs[middle:])):
            half = {"id": entry["id"] + mark, "first": entry["first"] + first, "logs": lines}
            yield from find_left(half, parts)


def read_records(file: Path | None) -> list[Record]:
    """The log records that wait in a file, in its order."""
    return [record for entry in read_entries(file) for record in entry.get("logs", ())]


def read_states(file: Path | None) -> list[str]:
    """The statuses that wait in a file, in its order."""
    return [entry["status"]["status"] for entry in read_entries(file) if "status" in entry]


def gather(receiver: Receiver, file: Path | None = None) -> list[Record]:
    """All records of the receiver's one run, by number: each is at one place, and none missing.

    A request that the receiver took without the sender's knowing may wait in the file too,
    under the id that it had.

    Raises:
        AssertionError: a record came twice, or a number is nowhere.
    """
    known: dict[int, tuple[str, Record]] = {}
    for webhook_id, first, records in [*find_taken(receiver), *find_kept(file)]:
        for number, record in enumerate(records, first):
            before = known.setdefault(number, (webhook_id, record))
            assert before == (webhook_id, record), f"record {number} is at two places"
    assert sorted(known) == list(range(1, len(known) + 1)), "records are missing"
    return [known[number][1] for number in sorted(known)]


def find_taken(receiver: Receiver) -> Iterator[tuple[str, int, list[Record]]]:
    """The id, the first number and the records of each batch that was taken."""
    for request in receiver.accepted:
        if request.kind == "logs":
            assert request.sequence is not None, request.describe()
            yield request.webhook_id, request.sequence[0], request.records


def find_kept(file: Path | None) -> Iterator[tuple[str, int, list[Record]]]:
    """The same of each batch that waits in the file."""
    for entry in read_entries(file):
        if "logs" in entry:
            yield entry["id"], entry["first"], entry["logs"]


def get_messages(records: Iterable[Record]) -> list[str]:
    """The messages alone."""
    return [str(record["message"]) for record in records]
