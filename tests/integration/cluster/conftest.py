"""What the tests of clusters share: machines, and connections to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nvoi.config.schema import SSHKeys
from tests.integration.cluster.machine import Machine
from tests.integration.ssh.conftest import (  # noqa: F401 - fixtures
    connect,
    connections,
    home,
    keys,
    logged,
    start_relay,
)

StartMachine = Callable[..., Machine]


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
