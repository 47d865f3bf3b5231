"""What the tests over SSH share."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from nvoi.config.schema import SSHKeys
from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, Timeouts
from nvoi.ssh.keys import Identities
from nvoi.ssh.known_hosts import KnownHosts
from tests.integration.ssh.relay import Relay
from tests.integration.ssh.server import Server


@cache
def make_pair(kind: str) -> tuple[str, str]:
    """A key pair of a process' tests, private and public: an RSA key takes half a second."""
    # The smaller one of the usual sizes of RSA.
    size = ["-b", "2048"] if kind == "rsa" else []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "key"
        words = ["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-f", str(path)]
        subprocess.run(words, check=True)
        return path.read_text(), path.with_suffix(".pub").read_text()


def write_pair(path: Path, kind: str) -> str:
    """A key pair in a file and the one beside it; returns the public half."""
    private, public = make_pair(kind)
    path.touch(0o600)
    path.write_text(private)
    path.with_suffix(".pub").write_text(public)
    return public


StartServer = Callable[..., Server]
StartRelay = Callable[[Host], Relay]
Connect = Callable[..., Connections]


@pytest.fixture(scope="session")
def keys() -> SSHKeys:
    """The config's pair."""
    return generate_ssh_keys("deploy")


@pytest.fixture
def start_server(tmp_path: Path, keys: SSHKeys) -> Iterator[StartServer]:
    """Starts hosts that let the config's key in."""
    started: list[Server] = []

    def start(name: str = "web-1", *options: str, address: str = "127.0.0.1") -> Server:
        folder = tmp_path / "hosts" / name
        server = Server(folder, [keys.public_key], name=name, address=address, options=options)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A host that is well until a test says otherwise."""
    return start_server()


@pytest.fixture
def start_relay() -> Iterator[StartRelay]:
    """Puts a network that can fail before a host."""
    started: list[Relay] = []

    def start(host: Host) -> Relay:
        started.append(Relay(host))
        return started[-1]

    yield start
    for relay in started:
        relay.close()


@pytest.fixture
def relay(start_relay: StartRelay, server: Server) -> Relay:
    """The network before ``server``."""
    return start_relay(server.host)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of nvoi's own state."""
    return tmp_path / "state"


@pytest.fixture
def connect(keys: SSHKeys, home: Path) -> Iterator[Connect]:
    """Makes the connections of a run."""
    made: list[Connections] = []

    def connect(**timeouts: float) -> Connections:
        connections = Connections(
            Identities(keys), KnownHosts(home / "known_hosts"), Timeouts(**timeouts)
        )
        made.append(connections)
        return connections

    yield connect
    for connections in made:
        connections.close()


@pytest.fixture
def connections(connect: Connect) -> Connections:
    """The connections of a run."""
    return connect()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What nvoi logs, from level debug on."""
    caplog.set_level(logging.DEBUG, logger="nvoi")
    return caplog
