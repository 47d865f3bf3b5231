"""A host whose ``k3s`` is a fake cluster, reached over a real sshd."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from nvoi.kubernetes.cluster import Cluster
from nvoi.ssh.connections import Connections
from tests.fakes.cluster_state import ClusterState
from tests.integration.ssh.conftest import (  # noqa: F401 - fixtures
    connect,
    connections,
    home,
    keys,
    relay,
    server,
    start_relay,
    start_server,
)
from tests.integration.ssh.server import Server

#: Seconds from one look to the next.
PACE = 0.02


@pytest.fixture
def state(tmp_path: Path, server: Server) -> ClusterState:  # noqa: F811 - a fixture
    """The cluster, with one node of the group ``main``."""
    made = ClusterState(tmp_path / "cluster")
    server.add_program("k3s", made.script)
    made.register_node("main-1", labels={"nvoi.io/server-name": "main"}, master=True)
    return made


@pytest.fixture
def cluster(state: ClusterState, server: Server, connections: Connections) -> Cluster:  # noqa: F811 - fixtures
    """The cluster as a run has it."""
    return Cluster(connections, server.host, pace=PACE)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What nvoi logs, from level debug on."""
    caplog.set_level(logging.DEBUG, logger="nvoi")
    return caplog
