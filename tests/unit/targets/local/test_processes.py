from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
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
    stop_processes,
)

LAST_NUMBER = Path("/proc/sys/kernel/ns_last_pid")


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


def test_a_process_that_has_gone_is_named_by_its_number() -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    assert describe_process(process.pid) == f"pid {process.pid}"


def test_nothing_but_a_run_on_this_machine_needs_the_extra() -> None:
    modules = "targets.local, targets.cluster, images.build, cli.editor, cli.onboard, demo.story"
    named = ", ".join(f"nvoi.{name}" for name in modules.split(", "))
    script = f"import sys; sys.modules['psutil'] = sys.modules['supervisor'] = None; import {named}"
    subprocess.run([sys.executable, "-c", script], check=True)


def start_as(pid: int) -> subprocess.Popen[bytes]:
    """A process with this number, which others may be given before."""
    while True:
        LAST_NUMBER.write_text(str(pid - 1))
        process = subprocess.Popen(["sleep", "1000"])
        if process.pid == pid:
            return process
        process.kill()
        process.wait()


@pytest.mark.skipif(not os.access(LAST_NUMBER, os.W_OK), reason="numbers cannot be chosen here")
def test_a_later_process_with_the_number_of_one_that_has_ended_is_another() -> None:
    """pid_namespaces(7): the number after ns_last_pid is given next, unless it is taken."""
    with subprocess.Popen(["sleep", "1000"]) as first:
        earlier = find_running(first.pid)
        first.kill()
    assert earlier
    with start_as(first.pid) as later:
        assert find_running(later.pid)
        look_for_end([earlier])
        later.kill()
    stop_processes([later.pid], what="nothing")


def test_who_started_a_process_is_told_as_far_as_it_is_known() -> None:
    assert list_lineage(os.getpid())[:2] == [os.getpid(), os.getppid()]
    with subprocess.Popen(["true"]) as process:
        pass
    assert list_lineage(process.pid) == []
