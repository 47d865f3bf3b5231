"""Where data is, and what of it a release would leave behind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nvoi.kubernetes.placement import Move, list_moves
from tests.unit.config.texts import ssh
from tests.unit.kubernetes.configs import build

SERVERS = """\
servers:
  main: {master: true, host: 10.0.0.1, volumes: {data: {}, pgdata: {}}}
  work: {host: 10.0.0.2, volumes: {data: {}}}
  more: {hosts: [10.0.0.3, 10.0.0.4]}
"""
DATABASE = """\
database:
  servers: [GROUPS]
  adapter: postgres
  secrets: {POSTGRES_USER: shop, POSTGRES_PASSWORD: p, POSTGRES_DB: shop}
"""
SEARCH = "services: {search: {servers: [main], image: 'search:1', mount: {data: /data}}}\n"
UPLOADS = "app: {web: {servers: [main], port: 80, mounts: {data: /uploads}}}\n"
SQLITE = "database: {servers: [main], adapter: sqlite3, mount: {data: /data}}\n"
WEB = "app: {web: {servers: [main], port: 80}}\n"
MAIN, PGDATA = "/opt/nvoi/volumes/shop-main-data", "/opt/nvoi/volumes/shop-main-pgdata"


def database(groups: str = "main", mount: str = "") -> str:
    return DATABASE.replace("GROUPS", groups) + (f"  mount: {mount}\n" if mount else "")


def find(before: str, after: str, lacking: Any = ()) -> list[Move]:
    """The moves from one config to another."""
    live: Any = json.loads(json.dumps(build(ssh(SERVERS + before)).all))
    return list_moves(live, build(ssh(SERVERS + after)).all, lacking)


MOUNTED = database(mount="{data: /var/lib/postgresql/data}")
DISK = "on persistentvolumeclaim/data-db-shop-0, a disk that the cluster found, on a server of main"
REACHED = f"in {MAIN}, on a server of main"


def told(service: str, folder: str, group: str) -> str:
    return (
        f"the data of {service} is {REACHED}; the config has it in {folder}, on a server of {group}"
    )


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            MOUNTED,
            database(mount="{pgdata: /var/lib/postgresql/data}"),
            told("the database", PGDATA, "main"),
        ),
        (MOUNTED, database(), f"the data of the database is {REACHED}; the config has it {DISK}"),
        (database(), MOUNTED, f"the data of the database is {DISK}; the config has it {REACHED}"),
        (
            MOUNTED,
            database("work", "{data: /var/lib/postgresql/data}"),
            told("the database", "/opt/nvoi/volumes/shop-work-data", "work"),
        ),
        (
            database(mount="{data: /a, pgdata: /b}"),
            database(mount="{pgdata: /b, data: /a}"),
            told("the database", PGDATA, "main"),
        ),
        (
            WEB + SEARCH,
            WEB + SEARCH.replace("data: /", "pgdata: /"),
            told("search", PGDATA, "main"),
        ),
        (UPLOADS, WEB, f"the data of web is {REACHED}; the config mounts it nowhere"),
        (WEB + SQLITE, WEB + SQLITE.replace("data: /", "pgdata: /"), told("web", PGDATA, "main")),
    ],
)
def test_data_that_would_be_left_behind_is_told_with_both_places(
    before: str, after: str, sentence: str
) -> None:
    (move,) = find(before, after)
    assert str(move) == sentence
    assert move.is_possible


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (MOUNTED, MOUNTED),
        (database(), database()),
        # The same folder, which the container sees elsewhere.
        (MOUNTED, database(mount="{data: /elsewhere}")),
        (MOUNTED, database(mount="{data: /var/lib/postgresql/data, pgdata: /more}")),
        # Wherever its disk is, it still may run there.
        (database(), database("main, more")),
        (UPLOADS + SEARCH, UPLOADS),
        (UPLOADS, UPLOADS + SEARCH),
        (WEB, WEB.replace("main", "work")),
        (MOUNTED, WEB),
    ],
)
def test_what_stays_where_it_is_or_is_removed_is_no_move(before: str, after: str) -> None:
    assert find(before, after) == []


def test_a_disk_cannot_follow_to_another_group() -> None:
    (move,) = find(database(), database("more"))
    assert not move.is_possible
    assert str(move) == (
        f"the data of the database is {DISK}; it cannot follow to more: "
        "give the database a `mount` there"
    )


def test_a_folder_that_is_not_there_is_told() -> None:
    (move,) = find(MOUNTED, MOUNTED, {MAIN})
    assert str(move) == f"the data of the database should be {REACHED}; that folder is not there"
    assert find(WEB, MOUNTED + WEB, {MAIN}) == []
