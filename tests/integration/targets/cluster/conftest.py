"""What the tests of clusters share: machines, and connections to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nvoi.config.schema import SSHKeys
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host
from tests.fakes.real_cluster import RealCluster
from tests.integration.ssh.conftest import (  # noqa: F401 - fixtures
    connect,
    connections,
    home,
    keys,
    logged,
    start_relay,
)
from tests.integration.ssh.relay import Relay
from tests.integration.targets.cluster.findings import Findings
from tests.integration.targets.cluster.fleet import Fleet
from tests.integration.targets.cluster.machine import Machine

StartMachine = Callable[..., Machine]
StartFleet = Callable[..., Fleet]
StartRelay = Callable[[Host], Relay]
Connect = Callable[..., Connections]
FINDINGS = pytest.StashKey[Findings]()


@pytest.fixture
def start_machine(tmp_path: Path, keys: SSHKeys) -> Iterator[StartMachine]:  # noqa: F811
    """Starts machines that let the config's key in."""
    started: list[Machine] = []

    def start(name: str = "main-1", **settings: object) -> Machine:
        machine = Machine(
            tmp_path / "machines" / name,
            [keys.public_key],
            name=name,
            **settings,  # type: ignore[arg-type]
        )
        started.append(machine)
        return machine

    yield start
    for machine in started:
        machine.stop()


@pytest.fixture
def start_fleet(tmp_path: Path, keys: SSHKeys) -> Iterator[StartFleet]:  # noqa: F811
    """Starts clusters of machines, an installer and a registry, with an app to deploy."""
    started: list[Fleet] = []

    def start(*groups: str, **settings: Any) -> Fleet:
        folder = tmp_path / f"fleet-{len(started)}"
        started.append(Fleet(folder, keys, groups or ("main",), **settings))
        return started[-1]

    yield start
    for fleet in started:
        fleet.close()


@pytest.fixture
def fleet(start_fleet: StartFleet) -> Fleet:
    """One server, on which nothing is yet."""
    return start_fleet()


@pytest.fixture(scope="session")
def findings(pytestconfig: pytest.Config) -> Findings:
    """What is told at the end of the tests on a real cluster."""
    return pytestconfig.stash.setdefault(FINDINGS, Findings())


@pytest.fixture
def start_real_fleet(start_fleet: StartFleet, findings: Findings) -> StartFleet:
    """Starts machines of the nodes of a real cluster."""

    def start(*groups: str, nodes: int = 1) -> Fleet:
        fleet = start_fleet(*groups)
        assert isinstance(fleet.cluster, RealCluster), "NVOI_TEST_KUBECONFIG names no real cluster"
        found = len(fleet.cluster.list_nodes())
        assert found >= nodes, f"this needs a cluster of {nodes} nodes: there is {found}"
        findings.cluster = fleet.cluster.describe()
        return fleet

    return start


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what a real cluster has shown."""
    for line in config.stash.get(FINDINGS, Findings()).list_lines():
        terminalreporter.write_line(line)
