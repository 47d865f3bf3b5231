from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from nvoi.targets.local.processes import describe_process, is_port_free, list_listeners


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
