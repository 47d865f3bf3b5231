"""A whole cluster for tests of whole commands: machines, an installer, a registry, an app.

Real are sshd, podman, the registry, the network between them, and the commands; k3s and its API
are those of tests/fakes. With ``NVOI_TEST_KUBECONFIG`` the API is a real cluster's.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nvoi.config.schema import SSHKeys
from nvoi.images.registries import Registry as Client
from nvoi.kubernetes.registry import REGISTRIES_FILE, Credentials
from nvoi.naming import VOLUMES_FOLDER
from nvoi.secret import Secret
from nvoi.ssh.host import Host
from tests.fakes.cluster_state import ClusterState
from tests.fakes.k3s_host import InstallerSite, K3sHost
from tests.fakes.real_cluster import RealCluster, find_kubeconfig
from tests.integration.commands import Outcome, Running, build_environment
from tests.integration.images.podman import build_podman_environ, write_checkout
from tests.integration.images.registry import Registry
from tests.integration.targets.cluster.app_server import AppServer
from tests.integration.targets.cluster.machine import Machine

NAME = "shop"
#: A finished image, which nothing has to build.
IMAGE = "registry.example/web:1"
#: A database, with a disk that the cluster finds for it, and with a volume.
DATABASE: dict[str, Any] = {
    "servers": ["main"],
    "adapter": "postgres",
    "secrets": {"POSTGRES_USER": "u", "POSTGRES_PASSWORD": "pa55word-of-it", "POSTGRES_DB": "d"},
}
MOUNTED = DATABASE | {"mount": {"data": "/var/lib/postgresql/data"}}
#: Seconds that a whole deploy may take on a loaded machine.
PATIENCE = 90.0
#: The same on a real cluster, which pulls images.
REAL_PATIENCE = 900.0


class Fleet:
    """Servers, and an app that is deployed to them. Closed by its fixture.

    Args:
        folder: an empty folder for all of it.
        keys: the config's pair.
        groups: a server group for each machine; the first is the master.
        user: who logs in.
        sudo: whether that user may become root.
    """

    def __init__(
        self,
        folder: Path,
        keys: SSHKeys,
        groups: Sequence[str] = ("main",),
        *,
        user: str = "root",
        sudo: bool = True,
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        #: Whether the config names the servers' host keys.
        self.pins_host_keys = True
        self.site = InstallerSite()
        self.registry = Registry(folder / "registry", starts=False)
        self.app_server = AppServer()
        self.state = ClusterState(folder / "cluster")
        self.state.listen(self._run_registry)
        self._kubeconfig = find_kubeconfig()
        #: What is in the cluster, whichever it is.
        self.cluster = RealCluster(self._kubeconfig) if self._kubeconfig else self.state
        self.places: dict[str, tuple[str, int]] = {}
        self.machines: dict[str, Machine] = {}
        self.hosts: dict[str, K3sHost] = {}
        self.keys = keys
        for number, group in enumerate(groups, start=1):
            self._add_machine(number, group, user=user, sudo=sudo)
        if isinstance(self.cluster, RealCluster):
            self.cluster.clear(NAME, self.master.root / VOLUMES_FOLDER.lstrip("/"))
            # Those that it has no nodes for are new to it.
            for group, node in zip(groups, self.cluster.list_nodes(), strict=False):
                role = "server" if group == groups[0] else "agent"
                version = self.cluster.find_version(node)
                self.hosts[group].adopt(self.machines[group].enter, node, version, role)
        #: Whether commands are processes of the installed command itself, as what is measured on
        #: a real cluster is to be what a user waits for.
        self.starts_installed = self._kubeconfig is not None
        #: Where its runs are told.
        self.callback_url: str | None = None
        self._running: list[Running] = []
        self._read: dict[str, int] = {}
        self.checkout = folder / "checkout"
        self.checkout.mkdir()
        self._addresses: dict[str, list[str | int]] = {}
        self.application: dict[str, Any] = {
            "app": {
                "web": {
                    "servers": [groups[0]],
                    "port": 3000,
                    "command": "serve",
                    "healthcheck": {"path": "/up"},
                    "image": IMAGE,
                }
            },
        }
        self._environ = self.environ = build_environment(folder)
        self.answer("nvoi-registry", self.registry.port)
        self.answer(f"{NAME}-web", self.app_server.port)

    def _add_machine(self, number: int, group: str, *, user: str, sudo: bool) -> None:
        machine = Machine(
            self.folder / "machines" / group,
            [self.keys.public_key],
            name=f"{NAME}-{group}-1",
            address=f"127.0.0.{10 + number}",
            user=user,
            sudo=sudo,
            options=("LogLevel VERBOSE",),
        )
        self.machines[group] = machine
        self.places[group] = (machine.address, machine.port)
        self.hosts[group] = K3sHost(
            machine.root, self.state, f"10.0.0.{10 + number}", self._kubeconfig
        )

    def _run_registry(self, item: dict[str, Any]) -> None:
        """Have the registry be as its objects in the cluster say, as the kubelet would."""
        place = item["metadata"].get("namespace"), item["metadata"]["name"]
        if item["kind"] == "Deployment" and place == ("kube-system", "nvoi-registry"):
            secret = self.state.find("Secret", "nvoi-registry", "kube-system")
            self.registry.ask(b64decode(secret["data"]["htpasswd"]).decode())

    @property
    def client(self) -> Client:
        """The registry as a node is let in by it, before there is one as anybody is."""
        path = self.master.root / REGISTRIES_FILE.lstrip("/")
        if not path.exists():
            return Client(self.registry.address)
        login = json.loads(path.read_text())["configs"]["10.43.0.100:5000"]["auth"]
        credentials = Credentials(login["username"], Secret(login["password"]))
        return Client(self.registry.address, credentials=credentials)

    @property
    def master(self) -> Machine:
        """The machine that runs the cluster."""
        return next(iter(self.machines.values()))

    def answer(self, service: str, port: int) -> None:
        """Have a Service lead to a port of this machine."""
        self._addresses[service] = ["127.0.0.1", port]
        self.state.scenario(addresses=self._addresses)

    def build_image(self, *instructions: str, text: str = "one\n") -> None:
        """Have the app's services run an image that podman builds here of the checkout."""
        write_checkout(self.checkout, *instructions, text=text)
        for service in self.application["app"].values():
            service.pop("image", None)
        self.environ = build_podman_environ(self.folder / "podman", self._environ)

    def list_tags(self) -> list[str]:
        """The tags of the app's images in the registry."""
        return sorted(self.client.list_tags(f"nvoi-{NAME}"))

    def find_image(self, stamp: str) -> str:
        """What the servers are to pull an image of the app by."""
        digest = self.client.find_digest(f"nvoi-{NAME}", stamp)
        return f"10.43.0.100:5000/nvoi-{NAME}:{stamp}@{digest}"

    @property
    def web(self) -> dict[str, Any]:
        """The config of the app's one service."""
        service: dict[str, Any] = self.application["app"]["web"]
        return service

    def read_commands(self, group: str) -> list[str]:
        """The commands that a machine was asked to run since the last time this was asked."""
        log = self.machines[group].log
        new, self._read[group] = log[self._read.get(group, 0) :], len(log)
        return [line for line in new.splitlines() if "Starting session: " in line]

    def lead(self, group: str, host: Host) -> None:
        """Have the config name another way to a machine."""
        self.places[group] = (host.address, host.port)

    def prepare(self, verb: str, *options: str) -> list[str]:
        """Write the config, and return the words of a command on the app."""
        config = self.folder / "deploy.yml"
        told = {"callback_url": self.callback_url} if self.callback_url else {}
        config.write_text(json.dumps(told | {"application": self._build_application()}))
        return [verb, "-c", str(config), "-d", str(self.checkout), *options]

    def start(self, verb: str = "deploy", *options: str, **environ: str) -> Running:
        """Start a command on the app; ``environ`` adds to its environment."""
        words = self.prepare(verb, *options)
        whole = self.environ | {"NVOI_HOME": str(self.home), **environ}
        is_forked = not self.starts_installed
        self._running.append(Running(words, self.folder, whole, self.home, is_forked=is_forked))
        return self._running[-1]

    def run(self, verb: str = "deploy", *options: str, **environ: str) -> Outcome:
        """Run a command to its end."""
        patience = REAL_PATIENCE if self._kubeconfig else PATIENCE
        return self.start(verb, *options, **environ).wait(patience)

    def close(self) -> None:
        """End all of it."""
        for running in self._running:
            running.process.kill()
            running.process.wait()
        if isinstance(self.cluster, RealCluster):
            self.cluster.restore()
        for machine in self.machines.values():
            machine.stop()
        self.registry.stop()
        self.app_server.close()
        self.state.close()

    def _build_application(self) -> dict[str, Any]:
        volumes = self.application.get("volumes", {})
        servers = {
            group: {
                "master": group == next(iter(self.machines)),
                "host": address,
                "port": port,
                "user": self.machines[group].host.user,
                "host_keys": [self.machines[group].host_key] * self.pins_host_keys,
                "volumes": volumes.get(group, {}),
            }
            for group, (address, port) in self.places.items()
        }
        own = {key: value for key, value in self.application.items() if key != "volumes"}
        keys = {
            "private_key": self.keys.private_key.reveal(),
            "public_key": self.keys.public_key,
        }
        return {
            "name": NAME,
            "compute_provider": {"ssh": {}},
            "ssh_keys": keys,
            "servers": servers,
            "k3s": {"install_url": self.site.url},
        } | own
