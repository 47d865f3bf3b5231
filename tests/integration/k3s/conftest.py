"""What the tests of k3s share: machines that it can be installed on."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from nvoi.config.schema import SSHKeys
from nvoi.k3s.drain import hold_nodes, remove_nodes
from nvoi.k3s.facts import Facts
from nvoi.k3s.install import Installer, Patience
from nvoi.k3s.nodes import find_left, forget_app, format_address, list_nodes
from nvoi.k3s.plan import K3sSettings
from nvoi.k3s.survey import check_servers, survey
from nvoi.kubernetes.cluster import Cluster
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections
from tests.fakes.cluster_state import ClusterState
from tests.fakes.k3s_host import InstallerSite, K3sHost
from tests.integration.ssh.conftest import (  # noqa: F401 - fixtures
    connect,
    connections,
    home,
    keys,
    logged,
)
from tests.integration.targets.cluster.machine import Machine

APP = "shop"
OLD, NEW = "v1.35.5+k3s1", "v1.36.5+k3s1"


class Fleet:
    """Machines, the first of which is the master, and the runs that make them a cluster."""

    def __init__(self, folder: Path, keys: SSHKeys) -> None:  # noqa: F811
        self.cluster = ClusterState(folder / "cluster")
        self.site = InstallerSite()
        self.settings = K3sSettings(version=NEW, install_url=self.site.url)
        self.machines: list[Machine] = []
        self.hosts: list[K3sHost] = []
        self.servers: list[Server] = []
        self.architectures: dict[str, str] = {}
        self._folder = folder
        self._keys = keys
        self._opened = ExitStack()

    def add(self, *, user: str = "root", sudo: bool = True, group: str = "main") -> K3sHost:
        """Add a machine."""
        number = len(self.machines) + 1
        name = f"{APP}-{group}-{number}"
        machine = self._start(name, name, user=user, sudo=sudo)
        self.machines.append(machine)
        self.hosts.append(K3sHost(machine.root, self.cluster, f"10.0.0.{10 + number}"))
        self.servers.append(Server(name, group, machine.host, is_master=number == 1))
        return self.hosts[-1]

    def replace(self, index: int) -> K3sHost:
        """Have a server be gone at its cloud, and another one of its name be made there."""
        self.machines[index].stop()
        name = self.servers[index].name
        machine = self.machines[index] = self._start(f"{name}-again", name)
        self.hosts[index] = K3sHost(machine.root, self.cluster, f"10.0.0.{11 + index}")
        self.change(index, host=machine.host)
        return self.hosts[index]

    def _start(self, folder: str, name: str, *, user: str = "root", sudo: bool = True) -> Machine:
        return Machine(
            self._folder / folder,
            [self._keys.public_key],
            name=name,
            user=user,
            sudo=sudo,
            options=("LogLevel VERBOSE",),
        )

    def change(self, index: int, **changes: object) -> None:
        """Change what the config says of a server."""
        self.servers[index] = replace(self.servers[index], **changes)  # type: ignore[arg-type]

    def survey(self, connections: Connections) -> dict[str, Facts]:  # noqa: F811
        """What all servers are like, which can be reached."""
        found = survey(connections, self.servers, self.architectures.update)
        return {name: one for name, one in found.items() if isinstance(one, Facts)}

    def look(self, connections: Connections) -> dict[str, Facts]:  # noqa: F811
        """Survey all servers, and see that they can be nodes."""
        return check_servers(
            connections,
            self.servers,
            self.settings.version,
            self.get_kube(connections),
            self.architectures.update,
        )

    def count_commands(self) -> dict[str, int]:
        """How many commands each server was sent so far."""
        return {one.name: one.command_count for one in self.machines}

    def get_kube(self, connections: Connections) -> Cluster:  # noqa: F811
        """The cluster, by way of the master; it is closed with the fleet."""
        return self._opened.enter_context(Cluster(connections, self.servers[0].host))

    def run(
        self,
        connections: Connections,  # noqa: F811
        facts: dict[str, Facts] | None = None,
        *,
        app: str = APP,
        seconds: int = 5,
        spare: Collection[str] = (),
    ) -> dict[str, str]:
        """One run: survey, k3s, nodes; where none leave, these are asked for once more."""
        facts = facts or self.look(connections)
        patience = Patience(server=seconds, agent=seconds, ready=seconds)
        kube = self.get_kube(connections)
        installer = Installer(connections, kube, self.servers, self.settings, app, patience, spare)
        tasks = installer.ensure_k3s(facts)
        names = {task.server.name: task.node.name for task in tasks}
        left = find_left(list_nodes(kube), {*names.values()}, app)
        own = [node for node in left if len(node.markers) == 1]
        hold_nodes(kube, own)
        forget_app(kube, [node for node in left if node not in own], app)
        kept = {format_address(server.host) for server in self.servers}
        remove_nodes(connections, kube, own, kept=kept, seconds=2)
        return names

    def stop(self) -> None:
        """Switch all machines off."""
        # A way that is open still keeps Python from ending where a test has failed.
        self._opened.close()
        for machine in self.machines:
            machine.stop()
        self.cluster.close()


@pytest.fixture
def fleet(tmp_path: Path, keys: SSHKeys) -> Iterator[Fleet]:  # noqa: F811
    """A master; more machines are added by the test."""
    made = Fleet(tmp_path / "machines", keys)
    made.add()
    yield made
    made.stop()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What a person is told."""
    caplog.set_level(logging.INFO, logger="nvoi")
    return caplog
