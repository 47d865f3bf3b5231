"""A server that a fake cloud has made: a machine that is what its user data says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.fakes.cluster_state import ClusterState
from tests.fakes.k3s_host import K3sHost
from tests.integration.providers.loop_disk import LoopDisk
from tests.integration.targets.cluster.machine import Machine

HEADER = "#cloud-config\n"
#: MiB of a GB, or a little more.
MEBIBYTES = 1024
CLOUD_INIT = "#!/bin/sh\n[ \"$*\" != status ] || echo 'status: done'\n"


def read_user_data(text: str) -> Mapping[str, Any]:
    """What cloud-init would do of it; fails where nobody could log in, or where all is upgraded."""
    assert text.startswith(HEADER)
    found: dict[str, Any] = YAML(typ="safe").load(text)
    (user,) = found["users"]
    assert user["name"] == "deploy"
    assert user["sudo"] == "ALL=(ALL) NOPASSWD:ALL"
    assert user["lock_passwd"]
    assert found["ssh_pwauth"] is False
    assert not found.get("package_upgrade")
    return found


class RentedMachine(Machine):
    """A server with one user ``deploy``, a host key that it was given, and disks that come and go.

    Args:
        user_data: what it was made with.
        private_ip: its address among the servers.
    """

    def __init__(
        self,
        folder: Path,
        user_data: str,
        cluster: ClusterState,
        private_ip: str,
        *,
        name: str,
        address: str,
        port: int,
    ) -> None:
        found = read_user_data(user_data)
        self._keys = found["ssh_keys"]
        self._cluster, self._private_ip = cluster, private_ip
        self.disks: dict[str, LoopDisk] = {}
        super().__init__(
            folder,
            found["users"][0]["ssh_authorized_keys"],
            name=name,
            user="deploy",
            address=address,
            port=port,
        )

    def _prepare(self) -> None:
        super()._prepare()
        self.k3s = K3sHost(self.root, self._cluster, self._private_ip)
        self.k3s.add_program("cloud-init", CLOUD_INIT)
        self._key_file = self.root / "etc/ssh/ssh_host_ed25519_key"
        self._pid_file = str(self.root / "opt/fake/sshd.pid")
        (self.root / "dev/disk/by-id").mkdir(parents=True)
        Path("/dev/disk").mkdir(exist_ok=True)

    def change_host_key(self) -> str:
        """The key that it was made with."""
        self._write_host_key(self._keys["ed25519_private"])
        public = " ".join(self._keys["ed25519_public"].split()[:2])
        self._key_file.with_name(f"{self._key_file.name}.pub").write_text(f"{public}\n")
        self.host_key = public
        return public

    def add_hosts(self, lines: str) -> None:
        """Have it know hosts by these lines of hosts(5)."""
        with (self.root / "etc/hosts").open("a") as file:
            file.write(f"\n{lines}")

    def attach(self, device: str, gigabytes: int, file: Path) -> None:
        """Have it see a disk as ``device``, of this size; the file is its memory."""
        disk = self.disks.get(device)
        if disk is None:
            disk = self.disks[device] = LoopDisk(file, gigabytes * MEBIBYTES)
            (self.root / device.lstrip("/")).symlink_to(disk.device)
        elif disk.mebibytes < gigabytes * MEBIBYTES:
            disk.grow(gigabytes * MEBIBYTES)

    def stop(self, *, sessions: bool = True) -> None:
        """Switch it off; its disks are nobody's then."""
        super().stop(sessions=sessions)
        for disk in self.disks.values():
            disk.detach()
        self.disks.clear()
