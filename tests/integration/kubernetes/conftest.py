"""A host whose ``k3s`` is a fake cluster, reached over a real sshd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nvoi.config.schema import SSHKeys
from nvoi.kubernetes.cluster import Cluster
from nvoi.ssh.connections import Connections
from nvoi.ssh.keys import Identities
from nvoi.ssh.known_hosts import KnownHosts
from tests.fakes.cluster_state import ClusterState
from tests.integration.ssh.conftest import (  # noqa: F401 - fixtures
    keys,
    logged,
    relay,
    start_relay,
)
from tests.integration.ssh.server import Server

#: Seconds until a cluster that does not answer is asked again.
PACE = 0.02


@pytest.fixture(scope="session")
def server(keys: SSHKeys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:  # noqa: F811 - a fixture
    """The master. Starting one takes as long as a test; each has a cluster of its own on it."""
    made = Server(tmp_path_factory.mktemp("host"), [keys.public_key])
    yield made
    made.stop()


@pytest.fixture(scope="session")
def connections(keys: SSHKeys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connections]:  # noqa: F811 - a fixture
    """The connections of several runs: to agree on keys takes as long as a test, too."""
    known = KnownHosts(tmp_path_factory.mktemp("state") / "known_hosts")
    with Connections(Identities(keys), known) as made:
        yield made


@pytest.fixture
def commands_run(server: Server) -> Callable[[], int]:
    """How many commands the master was given since the test began."""
    before = server.command_count
    return lambda: server.command_count - before


@pytest.fixture
def state(tmp_path: Path, server: Server) -> Iterator[ClusterState]:
    """The cluster, with one node of the group ``main``."""
    made = ClusterState(tmp_path / "cluster")
    server.add_program("k3s", made.script)
    made.register_node("main-1", labels={"nvoi.io/server-name": "main"}, master=True)
    yield made
    made.close()


@pytest.fixture
def cluster(state: ClusterState, server: Server, connections: Connections) -> Iterator[Cluster]:
    """The cluster as a run has it."""
    with Cluster(connections, server.host, pace=PACE) as made:
        yield made


def get_messages(told: pytest.LogCaptureFixture, level: str = "INFO") -> list[str]:
    """What was said at a level."""
    return [record.getMessage() for record in told.records if record.levelname == level]
