"""Podman for tests: the real one, with a store of its own and no need of a network.

What a machine needs for it to work stands in configuration files that the environment names,
as it would for a user of such a machine: nvoi knows nothing of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

BUSYBOX = Path(shutil.which("busybox") or "/bin/busybox")

STORAGE = """\
[storage]
driver = "vfs"
graphroot = "{folder}/store"
runroot = "{folder}/run"
"""
# Neither crun nor systemd nor a bridge is taken for granted, nor more than few open files.
CONTAINERS = """\
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
tmp_dir = "{folder}/libpod"
[containers]
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""


def build_podman_environ(folder: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment in which podman keeps all that it has in ``folder``."""
    for name in ("tmp", "bin"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "storage.conf").write_text(STORAGE.format(folder=folder))
    (folder / "containers.conf").write_text(CONTAINERS.format(folder=folder))
    # Whatever the machine has, its Docker does not answer.
    docker = folder / "bin/docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)
    base = os.environ if base is None else base
    return {
        **base,
        "PATH": f"{folder / 'bin'}:{base.get('PATH', os.environ['PATH'])}",
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "BUILDAH_ISOLATION": "chroot",
        "TMPDIR": str(folder / "tmp"),
        # A process for each core is more than these images have work for, and so is looking for
        # garbage.
        "GOMAXPROCS": "1",
        "GOGC": "off",
        "GOMEMLIMIT": "256MiB",
    }


def write_checkout(folder: Path, *instructions: str, text: str = "one\n") -> Path:
    """A checkout whose image has a file ``hello.txt``; more instructions come after it.

    Instructions that name busybox have it, and nothing else, as a program.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hello.txt").write_text(text)
    lines = ["FROM scratch"]
    if any("busybox" in line for line in instructions):
        shutil.copy(BUSYBOX, folder / "busybox")
        lines.append("COPY busybox /bin/busybox")
    lines += ["COPY hello.txt /hello.txt", *instructions]
    (folder / "Dockerfile").write_text("".join(f"{line}\n" for line in lines))
    return folder


def write_noise(path: Path, size: int) -> None:
    """A file of this many bytes that cannot be compressed."""
    path.write_bytes(os.urandom(size))
