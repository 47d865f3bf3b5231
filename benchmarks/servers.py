"""Servers for benchmarks: those of the tests, each a real sshd that k3s can be installed on.

They are as far away as a network of :mod:`distance` makes them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from distance import keep_away

from nvoi.config.schema import SSHKeys
from nvoi.ssh.connections import Connections
from nvoi.ssh.keys import Identities
from nvoi.ssh.known_hosts import KnownHosts

# A program sees its own folder only, and the tests are beside it.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from tests.integration.k3s.conftest import Fleet
from tests.integration.targets.cluster.fleet import Fleet as App
from tests.unit.kubernetes.configs import build

__all__ = ["App", "Fleet", "build", "connect", "move_away", "open_app", "open_fleet"]


@contextlib.contextmanager
def open_fleet(folder: Path, keys: SSHKeys, count: int, milliseconds: float) -> Iterator[Fleet]:
    """New servers, so far away each way, that nothing was done on yet."""
    fleet = Fleet(folder, keys)
    with contextlib.ExitStack() as stack:
        stack.callback(fleet.stop)
        for _ in range(count):
            fleet.add()
        if milliseconds:
            places = [(one.host.address, one.host.port) for one in fleet.servers]
            ports = stack.enter_context(keep_away(milliseconds, places))
            for index, port in enumerate(ports):
                host = fleet.servers[index].host
                fleet.change(index, host=replace(host, port=port))
        yield fleet


@contextlib.contextmanager
def open_app(folder: Path, keys: SSHKeys, *groups: str) -> Iterator[App]:
    """An app that podman builds here, and a server for each of its groups."""
    app = App(folder, keys, groups)
    try:
        app.build_image()
        yield app
    finally:
        app.close()


@contextlib.contextmanager
def move_away(app: App, milliseconds: float) -> Iterator[None]:
    """Have the app's config name ways to its servers that are so long."""
    before = dict(app.places)
    with keep_away(milliseconds, [*before.values()]) as ports:
        for (group, (address, _)), port in zip(before.items(), ports, strict=True):
            app.places[group] = (address, port)
        yield
    app.places.update(before)


def connect(keys: SSHKeys, folder: Path) -> Connections:
    """The connections of a run; closed by the caller."""
    return Connections(Identities(keys), KnownHosts(folder / "known_hosts"))
