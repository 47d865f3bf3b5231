"""Rented disks as a server has them: real ones, on a real server."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nvoi.command import Result, script
from nvoi.errors import RemoteError
from nvoi.naming import VOLUMES_FOLDER
from nvoi.providers.disks import build_detachment, build_volumes
from nvoi.providers.provider import Disk, Server
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import as_root
from tests.integration.providers.conftest import MakeDisk
from tests.integration.providers.loop_disk import LoopDisk
from tests.integration.targets.cluster.conftest import StartMachine
from tests.integration.targets.cluster.machine import IS_ROOT, Machine

FOLDER = f"{VOLUMES_FOLDER}/shop-main-data"
OWNER = 1234

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="nobody else may make disks")

Bring = Callable[..., Result]


def build_server(machine: Machine, *disks: LoopDisk, size: int = 0, owned: bool = False) -> Server:
    """A server with the disks, the first of which is to have ``size`` GB."""
    made = [
        Disk(f"shop-main-data{number or ''}", f"{FOLDER}{number or ''}", disk.device, size)
        for number, disk in enumerate(disks)
    ]
    return Server(
        "shop-main-1",
        "main",
        machine.host,
        volumes=tuple(disk.folder for disk in made),
        notes=f"{VOLUMES_FOLDER}/.apps/shop",
        owners=((FOLDER, OWNER),) if owned else (),
        disks=tuple(made),
    )


@pytest.fixture
def machine(start_machine: StartMachine) -> Machine:
    return start_machine(user="deploy")


@pytest.fixture
def bring(connections: Connections, machine: Machine) -> Bring:
    """Brings disks to a server."""

    def bring(*disks: LoopDisk, size: int = 0, owned: bool = False) -> Result:
        server = build_server(machine, *disks, size=size, owned=owned)
        command = build_volumes(server, server.volumes, seconds=1)
        return connections.run(machine.host, as_root(machine.host, command))

    return bring


@pytest.fixture
def ask(connections: Connections, machine: Machine) -> Callable[[str], str]:
    """What a command on the server says, as root."""

    def ask(text: str) -> str:
        command = as_root(machine.host, script(text))
        return connections.run(machine.host, command).stdout.strip()

    return ask


def test_a_blank_disk_is_formatted_once_and_mounted_at_its_folder(
    make_disk: MakeDisk, machine: Machine, bring: Bring, ask: Callable[[str], str]
) -> None:
    disk, other = make_disk(), make_disk()
    assert bring(disk, other).lines == (
        "shop-main-data: formatted with XFS",
        f"shop-main-data: mounted at {FOLDER}",
        "shop-main-data1: formatted with XFS",
        f"shop-main-data1: mounted at {FOLDER}1",
    )
    # Whoever the image runs as may write there, and whose it is is noted beside it.
    assert ask(f"stat -c '%u %a' {FOLDER}") == "0 777"
    assert ask(f"ls {VOLUMES_FOLDER}/.apps/shop").split() == ["shop-main-data", "shop-main-data1"]
    entries = machine.read("/etc/fstab").splitlines()
    assert [line.split()[:3] for line in entries if FOLDER in line] == [
        [f"UUID={disk.find_uuid()}", FOLDER, "xfs"],
        [f"UUID={other.find_uuid()}", f"{FOLDER}1", "xfs"],
    ]
    assert all("nofail" in line.split()[3].split(",") for line in entries if FOLDER in line)
    ask(f"echo data >{FOLDER}/kept; chmod 0755 {FOLDER}")
    # The second time changes nothing; nor does it where the disk is met on another server.
    assert bring(disk, other).lines == ()
    assert machine.read("/etc/fstab").splitlines() == entries
    ask(f"umount {FOLDER}; rm /etc/fstab")
    assert bring(disk, other).lines == (f"shop-main-data: mounted at {FOLDER}",)
    assert ask(f"cat {FOLDER}/kept; stat -c %a {FOLDER}").split() == ["data", "755"]


def test_a_volume_with_an_owner_is_that_user_s_alone(
    make_disk: MakeDisk, bring: Bring, ask: Callable[[str], str]
) -> None:
    bring(make_disk(), owned=True)
    assert ask(f"stat -c '%u %a' {FOLDER}") == f"{OWNER} 770"


def test_a_file_system_grows_with_its_disk(
    make_disk: MakeDisk, bring: Bring, ask: Callable[[str], str]
) -> None:
    disk = make_disk(400)
    bring(disk)
    ask(f"echo data >{FOLDER}/kept")
    # It waits for the size that the config has: the server may see it late.
    with pytest.raises(RemoteError) as caught:
        bring(disk, size=1)
    assert caught.value.output[-1].startswith("shop-main-data: the server does not see it as ")
    disk.grow(1024)
    assert bring(disk, size=1).lines == ("shop-main-data: its file system has grown to fill it",)
    assert int(ask(f"df --output=size -m {FOLDER} | tail -n 1")) > 900
    assert ask(f"cat {FOLDER}/kept") == "data"
    assert bring(disk, size=1).lines == ()


def test_an_ext4_file_system_from_before_is_used_and_grows(
    make_disk: MakeDisk, machine: Machine, bring: Bring
) -> None:
    disk = make_disk(100)
    uuid = disk.format("ext4")
    assert bring(disk).lines == (f"shop-main-data: mounted at {FOLDER}",)
    assert bring(disk).lines == ()
    assert disk.find_uuid() == uuid
    # The tests may not have the right to do that.
    told = f"The filesystem on {disk.device} is now 204800 (1k) blocks long."
    machine.add_program("resize2fs", f"#!/bin/sh\n[ \"$1\" = {disk.device} ] && echo '{told}'\n")
    assert bring(disk).lines == ("shop-main-data: its file system has grown to fill it",)


def test_a_disk_that_carries_something_else_is_left_as_it_is(
    make_disk: MakeDisk, machine: Machine, bring: Bring
) -> None:
    swap, parted = make_disk(8), make_disk(8)
    swap.format("swap")
    parted.partition()
    for disk, carried in ((swap, "swap"), (parted, "dos")):
        before = disk.file.read_bytes()
        with pytest.raises(RemoteError) as caught:
            bring(disk)
        told = f"shop-main-data: carries {carried}: it is neither formatted nor used"
        assert caught.value.output[-1] == told
        assert disk.file.read_bytes() == before
    assert FOLDER not in machine.read("/etc/fstab")


def test_what_cannot_be_read_of_a_disk_is_no_sign_that_it_is_blank(
    make_disk: MakeDisk, machine: Machine, bring: Bring
) -> None:
    disk = make_disk(8)
    machine.add_program("wipefs", "#!/bin/sh\necho 'wipefs: error: probing failed' >&2\nexit 1\n")
    with pytest.raises(RemoteError, match="exit code 1"):
        bring(disk)
    assert not disk.file.read_bytes().strip(b"\0")


def test_files_on_the_server_s_own_disk_are_not_hidden(
    make_disk: MakeDisk, machine: Machine, bring: Bring, ask: Callable[[str], str]
) -> None:
    disk = make_disk()
    ask(f"mkdir -p {FOLDER}; touch {FOLDER}/written-while-it-was-away")
    with pytest.raises(RemoteError) as caught:
        bring(disk)
    assert "which it would hide: move them away" in caught.value.output[-1]
    ask(f"rm {FOLDER}/*")
    bring(disk)
    other = make_disk()
    with pytest.raises(RemoteError) as caught:
        bring(other)
    assert caught.value.output[-1] == f"shop-main-data: another disk is mounted at {FOLDER}"


def test_an_entry_from_before_makes_room_for_one_by_uuid(
    make_disk: MakeDisk, machine: Machine, bring: Bring
) -> None:
    disk = make_disk()
    own = "# its own\nLABEL=cloudimg-rootfs / ext4 defaults 0 1\n"
    (machine.root / "etc/fstab").write_text(f"{own}{disk.device} {FOLDER} xfs defaults 0 0\n")
    bring(disk)
    text = machine.read("/etc/fstab")
    assert text.startswith(f"{own}UUID={disk.find_uuid()} {FOLDER} xfs defaults,nofail")
    assert len(text.splitlines()) == len(own.splitlines()) + 1


def test_a_disk_that_leaves_has_all_that_was_written(
    make_disk: MakeDisk,
    machine: Machine,
    bring: Bring,
    connections: Connections,
    ask: Callable[[str], str],
) -> None:
    disk = make_disk()
    bring(disk)
    ask(f"echo data >{FOLDER}/kept")
    server = build_server(machine, disk)
    connections.run(machine.host, as_root(machine.host, build_detachment(server)))
    assert ask(f"mountpoint -q {FOLDER} || echo away") == "away"
    assert FOLDER not in machine.read("/etc/fstab")
    assert bring(disk).lines == (f"shop-main-data: mounted at {FOLDER}",)
    assert ask(f"cat {FOLDER}/kept") == "data"
    # Also where something still uses it.
    ask(f"sleep 600 <{FOLDER}/kept >/dev/null 2>&1 & echo $! >/opt/pid")
    connections.run(machine.host, as_root(machine.host, build_detachment(server)))
    assert ask(f"mountpoint -q {FOLDER} && echo there") == "there"
    os.kill(int(Path(machine.root / "opt/pid").read_text()), 9)
