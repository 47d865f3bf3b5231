"""Several hosts at once, and several commands on one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nvoi.command import Command, script
from nvoi.config.schema import SSHKeys
from nvoi.errors import HostsError, RemoteError
from nvoi.parallel import work_on_all
from nvoi.process import find_process
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host
from tests.integration.ssh.conftest import StartServer
from tests.integration.ssh.server import Server
from tests.ports import find_port
from tests.waiting import PATIENCE, wait_until


@pytest.fixture
def servers(start_server: StartServer) -> list[Server]:
    """Hosts with addresses of their own."""
    return [start_server(f"web-{one}", address=f"127.0.0.{one}") for one in (2, 3, 4)]


def test_hosts_run_a_command_at_the_same_time(
    servers: list[Server], connections: Connections, tmp_path: Path
) -> None:
    # Each waits until all have begun.
    meet = script(
        f"touch {tmp_path}/met-$$; "
        f"while [ $(ls {tmp_path} | grep -c met-) -lt 3 ]; do sleep 0.05; done; echo $HOME"
    )
    results = work_on_all(
        [server.host for server in servers],
        lambda host: connections.run(host, meet, timeout=PATIENCE),
    )
    assert list(results) == [server.host for server in servers]
    assert [result.stdout.strip() for result in results.values()] == [
        str(server.home) for server in servers
    ]


def test_all_that_fail_are_told_and_the_others_end_well(
    servers: list[Server], connections: Connections
) -> None:
    hosts = [server.host for server in servers]
    away = Host("web-9", "127.0.0.1", find_port())
    servers[0].add_program("check", "#!/bin/sh\necho too little memory >&2\nexit 3\n")
    for server in servers[1:]:
        server.add_program("check", '#!/bin/sh\ntouch "$HOME/ok"\n')
    with pytest.raises(HostsError) as caught:
        work_on_all([*hosts, away], lambda host: connections.run(host, Command("check")))
    assert len(caught.value.errors) == 2
    assert isinstance(caught.value.errors[0], RemoteError)
    assert "web-2" in str(caught.value)
    assert "web-9" in str(caught.value)
    assert caught.value.output == ("too little memory",)
    assert all((server.home / "ok").exists() for server in servers[1:])


def test_commands_that_leave_their_input_alone_end_nothing_but_themselves(
    server: Server, connections: Connections
) -> None:
    def work(_: int) -> None:
        connections.run(server.host, Command("true"), stdin="unread")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(100)))
    assert server.connection_count == 1


PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from nvoi.command import script
from nvoi.config.schema import SSHKeys
from nvoi.parallel import work_on_all
from nvoi.process import find_process
from nvoi.secret import Secret
from nvoi.ssh.connections import build_connections
from nvoi.ssh.host import Host
home, user, *places = sys.argv[1:]
keys = SSHKeys(Secret(sys.stdin.read()), "")
hosts = [Host(place, place.split(":")[0], int(place.split(":")[1]), user) for place in places]
with build_connections(keys, Path(home), {}) as connections:
    try:
        command = script('echo $$ >"$HOME/pid"; exec sleep 1000')
        work_on_all(hosts, lambda host: connections.run(host, command))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        # What is left to be undone still can be.
        for host in hosts:
            print(connections.run(host, script("echo undone")).stdout, flush=True)
"""


def test_an_interruption_ends_what_runs_on_every_host(
    servers: list[Server], keys: SSHKeys, tmp_path: Path
) -> None:
    places = [f"{server.address}:{server.port}" for server in servers]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "state"), servers[0].user, *places],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(keys.private_key.reveal())
    process.stdin.close()
    process.stdin = None
    files = [server.home / "pid" for server in servers]
    wait_until(
        lambda: all(file.exists() and file.read_text() for file in files), "all to have begun"
    )
    pids = [int(file.read_text()) for file in files]
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert output.split() == ["interrupted", "undone", "undone", "undone"]
    assert process.returncode == 0
    wait_until(lambda: not any(map(find_process, pids)), "the commands to end")
