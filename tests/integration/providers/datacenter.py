"""What is behind a fake cloud: its servers run, are reached, and see their disks.

A server of the cloud is a machine of this one. The public address that the cloud tells is no
address here, unless it is one of 127.0.0.0/8: ``~/.ssh/config`` of who deploys leads it there.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from tests.integration.providers.rented_machine import RentedMachine
from tests.integration.providers.site import FIRST_PLACE, Site
from tests.integration.targets.cluster.fleet import Fleet
from tests.ports import find_port
from tests.waiting import PATIENCE

LOOK_SECONDS = 0.05


class Datacenter:
    """Machines for the servers of a cloud. Whoever makes one closes it."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.folder = folder
        self.site = site
        self.machines: dict[str, RentedMachine] = {}
        #: The lines of hosts(5) that servers have beside their own.
        self._hosts = ""
        self._fleets: list[RentedFleet] = []
        self._port = find_port()
        self._places = {
            address: str(FIRST_PLACE + number)
            for number, address in enumerate(site.list_addresses())
        }
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._booting: list[threading.Thread] = []
        folder.mkdir(parents=True)
        site.connect(self.boot, self.end)
        self._watch = threading.Thread(target=self._attach_all, daemon=True)
        self._watch.start()

    def add(self, fleet: RentedFleet) -> None:
        """Have the servers of an app be that fleet's."""
        self._fleets.append(fleet)

    def add_hosts(self, lines: str) -> None:
        """Have all servers, also those to come, know hosts by these lines of hosts(5)."""
        self._hosts += lines
        for machine in self.machines.values():
            machine.add_hosts(lines)

    @property
    def ssh_config(self) -> str:
        """``~/.ssh/config`` that leads to all servers."""
        return "".join(
            f"Host {address}\n  HostName {place}\n  Port {self._port}\n"
            for address, place in self._places.items()
        )

    def boot(self, name: str, address: str, private_ip: str, user_data: str) -> None:
        """Have a server start, as its cloud says that it does; it answers some time later."""
        of = max(
            (fleet for fleet in self._fleets if name.startswith(f"{fleet.app}-")),
            key=lambda fleet: len(fleet.app),
        )

        def start() -> None:
            machine = RentedMachine(
                self.folder / f"{name}-{address}",
                user_data,
                of.state,
                private_ip,
                name=name,
                address=self._places[address],
                port=self._port,
            )
            machine.add_hosts(self._hosts)
            with self._lock:
                self.machines[name] = machine

        self._booting.append(threading.Thread(target=start))
        self._booting[-1].start()

    def end(self, name: str) -> None:
        """Have a server be gone."""
        self._wait()
        with self._lock:
            self.machines.pop(name).stop()

    def close(self) -> None:
        self._ended.set()
        self._watch.join(PATIENCE)
        self._wait()
        for machine in self.machines.values():
            machine.stop()
        self.site.cloud.close()

    def _wait(self) -> None:
        for thread in self._booting:
            thread.join(PATIENCE)

    def _attach_all(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            with self._lock:
                for one in list(self.site.list_attached()):
                    if one.server in self.machines:
                        file = self.folder / Path(one.device).name
                        self.machines[one.server].attach(one.device, one.size, file)


class RentedFleet(Fleet):
    """An app on rented servers, with the cluster that they become.

    Args:
        app: its name; ``branch`` is a part of that, where there is one.
    """

    def __init__(self, folder: Path, keys: Any, datacenter: Datacenter, branch: str = "") -> None:
        self.datacenter = datacenter
        self.branch = branch
        self.app = f"shop-{branch}" if branch else "shop"
        self.servers: dict[str, dict[str, Any]] = {"main": {"master": True}}
        super().__init__(folder, keys)
        self.answer(f"{self.app}-web", self.app_server.port)
        self.environ = {**self.environ, **datacenter.site.environ}
        file = folder / ".ssh" / "config"
        file.parent.mkdir(mode=0o700)
        file.touch(0o600)
        file.write_text(datacenter.ssh_config)
        datacenter.add(self)

    def _add_machine(self, number: int, group: str, *, user: str, sudo: bool) -> None:
        """They are made by who is deployed."""

    def start(self, verb: str = "deploy", *options: str, **environ: str) -> Any:
        branch = ("--branch", self.branch) if self.branch else ()
        return super().start(verb, *options, *branch, **environ)

    def _build_application(self) -> dict[str, Any]:
        whole = super()._build_application()
        return whole | {"compute_provider": self.datacenter.site.provider, "servers": self.servers}
