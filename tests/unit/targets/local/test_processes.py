from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from nvoi.targets.local.processes import (
    describe_process,
    find_running,
    is_port_free,
    list_lineage,
    list_listeners,
    look_for_end,
    name_pids,
    stop_processes,
)

PIDS = "pid 0, 1, 2, 3, 4 and 395 more"


@pytest.fixture
def port() -> Iterator[int]:
    """A port on which this process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def refuse(kind: str) -> None:
    raise psutil.AccessDenied


@pytest.mark.parametrize("is_told", [True, False])
def test_who_listens_is_found_also_where_only_root_is_told_of_all(
    port: int, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    if not is_told:
        monkeypatch.setattr(psutil, "net_connections", refuse)
    assert list_listeners(port) == [os.getpid()]
    assert not is_port_free(port)


@pytest.mark.parametrize(
    ("pids", "named"),
    [([812], "pid 812"), ([1, 2, 3, 4, 5], "pid 1, 2, 3, 4, 5"), (range(400), PIDS)],
)
def test_of_many_processes_the_first_are_named(pids: Sequence[int], named: str) -> None:
    assert name_pids(pids) == named


def test_a_process_that_has_gone_is_named_by_its_number() -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    assert describe_process(process.pid) == f"pid {process.pid}"


def test_nothing_but_a_run_on_this_machine_needs_the_extra() -> None:
    modules = "targets.local, targets.cluster, images.build, cli.editor, cli.onboard, demo.story"
    named = ", ".join(f"nvoi.{name}" for name in modules.split(", "))
    script = f"import sys; sys.modules['psutil'] = sys.modules['supervisor'] = None; import {named}"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has processes as files")
def test_a_later_process_with_the_number_of_one_that_has_ended_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """proc_pid_stat(5): the 22nd field says when a process began."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as later:
        fields = Path(f"/proc/{later.pid}/stat").read_text().split(" ")
        fields[21] = "1"
        (tmp_path / f"{later.pid}").mkdir()
        (tmp_path / f"{later.pid}" / "stat").write_text(" ".join(fields))
        with monkeypatch.context() as patch:
            patch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
            earlier = find_running(later.pid)
        assert earlier
        assert find_running(later.pid)
        look_for_end([earlier])
    stop_processes([later.pid], what="nothing")


def test_who_started_a_process_is_told_as_far_as_it_is_known() -> None:
    assert list_lineage(os.getpid())[:2] == [os.getpid(), os.getppid()]
    with subprocess.Popen(["true"]) as process:
        pass
    assert list_lineage(process.pid) == []
