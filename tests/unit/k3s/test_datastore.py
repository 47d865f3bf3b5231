"""Copies of a datastore that is written to all the time."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nvoi.k3s import read_script
from nvoi.k3s.datastore import build_datastore_copies
from tests.unit.kubernetes.schemas import VERSIONS, find_errors


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """k3s' folder, with a datastore whose two tables always have as many rows."""
    folder = tmp_path / "server"
    for name in ("db", "cred"):
        (folder / name).mkdir(parents=True)
    (folder / "token").write_text("K10::server:t")
    (folder / "cred/encryption-config.json").write_text("{}")
    with closing(connect(folder)) as database:
        database.execute("create table one (text)")
        database.execute("create table two (text)")
    return folder


def connect(folder: Path) -> sqlite3.Connection:
    database = sqlite3.connect(folder / "db/state.db", isolation_level=None)
    database.execute("pragma journal_mode=wal")
    database.execute("pragma synchronous=off")
    return database


@pytest.fixture
def writer(server: Path) -> Iterator[Callable[[], int]]:
    """Writes without a pause; tells how often so far."""
    ends, written = threading.Event(), [0]

    def write() -> None:
        with closing(connect(server)) as database:
            while not ends.is_set():
                database.execute("begin")
                for table in ("one", "two"):
                    database.execute(f"insert into {table} values (hex(randomblob(600)))")
                database.execute("commit")
                written[0] += 1
                # A copy is to come between two of them, now and then.
                ends.wait(0.002)

    thread = threading.Thread(target=write)
    thread.start()
    yield lambda: written[0]
    ends.set()
    thread.join()


def copy(server: Path, copies: Path, keep: int = 7) -> Path:
    copies.mkdir(exist_ok=True)
    words = ["sh", "-c", read_script("datastore.sh"), "copy", server, copies, keep, 0]
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
    return max(copies.iterdir())


def count_rows(folder: Path) -> list[int]:
    with closing(sqlite3.connect(folder / "state.db")) as database:
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
        counts = [database.execute(f"select count(*) from {one}") for one in ("one", "two")]
        return [row for count in counts for (row,) in count]


def test_a_copy_holds_together_though_it_was_written_to(
    server: Path, tmp_path: Path, writer: Callable[[], int]
) -> None:
    for number in range(5):
        before = writer()
        made = copy(server, tmp_path / f"copies-{number}")
        first, second = count_rows(made)
        assert first == second
        assert before <= first <= writer()


#: A cp(1) after whose first copy SQLite moves all of its log into the file and begins it anew.
CP = """\
#!/bin/sh
/bin/cp "$@" || exit
[ ! -e {mark} ] || exit 0
: >{mark}
exec {python} -c 'import sqlite3, sys
base = sqlite3.connect(sys.argv[1])
for count in (99, 1):
    for table in ("one", "two") * count:
        base.execute(f"insert into {{table}} values (hex(randomblob(600)))")
    base.commit()
    count == 1 or base.execute("pragma wal_checkpoint(restart)")' {database}
"""


def test_a_copy_during_which_the_datastore_was_put_in_order_is_made_again(
    server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, mark = tmp_path / "bin", tmp_path / "mark"
    programs.mkdir()
    words = {"mark": mark, "python": sys.executable, "database": server / "db/state.db"}
    (programs / "cp").write_text(CP.format(**words))
    (programs / "cp").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    # Its log is there as long as somebody has it open, as k3s has.
    with closing(connect(server)) as database:
        database.execute("insert into one values (0)")
        database.execute("insert into two values (0)")
        made = copy(server, tmp_path / "copies")
    assert mark.exists()
    assert count_rows(made) == [101, 101]


def test_a_copy_has_what_it_takes_to_read_it_and_is_root_s_alone(
    server: Path, tmp_path: Path
) -> None:
    copies = tmp_path / "copies"
    made = copy(server, copies)
    names = {path.name for path in made.iterdir()} - {"state.db-wal"}
    assert names == {"state.db", "encryption-config.json", "token"}
    for path in (copies, made, *made.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_the_oldest_copies_go_and_what_is_no_copy_stays(server: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    old = [copies / f"2026010{day}T031700Z" for day in range(1, 9)]
    for folder in (*old, copies / "mine", copies / ".new"):
        folder.mkdir(parents=True)
    copy(server, copies)
    left = sorted(path.name for path in copies.iterdir())
    assert left[:6] == [folder.name for folder in old[2:]]
    assert len(left) == 8
    assert left[-1] == "mine"


def test_a_copy_that_cannot_be_made_leaves_the_others_alone(server: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    kept = copy(server, copies, keep=1)
    (server / "db/state.db").unlink()
    with pytest.raises(subprocess.CalledProcessError):
        copy(server, copies, keep=1)
    assert [*copies.iterdir()] == [kept]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_copies_are_made_on_the_master_by_the_cluster_itself(version: str) -> None:
    job: Any = build_datastore_copies("id", node="shop-main-1", keep=7)
    assert find_errors(job, version) == []
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"]["kubernetes.io/hostname"] == "shop-main-1"
    (container,) = pod["containers"]
    source, target = container["volumeMounts"]
    assert source["readOnly"] is True
    assert container["command"][4:] == [source["mountPath"], target["mountPath"], "7", "3"]
    # Kubernetes makes one dollar of two.
    assert container["command"][2].replace("$$", "$") == read_script("datastore.sh")
