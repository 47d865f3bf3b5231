"""Disks for tests: files that the kernel shows as block devices, losetup(8). They need root."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

MEBIBYTE = 1 << 20


class LoopDisk:
    """A disk, which is blank where ``file`` is not there yet. ``device`` is where it is seen."""

    def __init__(self, file: Path, mebibytes: int) -> None:
        self.file = file
        self.mebibytes = 0
        file.touch()
        self._set_size(mebibytes)
        self.device = run("losetup", "--find", "--show", str(file))

    def grow(self, mebibytes: int) -> None:
        """Make it larger; the server sees that at once."""
        self._set_size(mebibytes)
        run("losetup", "--set-capacity", self.device)

    def format(self, kind: str) -> str:
        """Have it carry a file system, or swap; returns its UUID."""
        run(*(["mkswap"] if kind == "swap" else [f"mkfs.{kind}", "-q"]), self.device)
        return self.find_uuid()

    def partition(self) -> None:
        """Have it carry a partition table of one Linux partition from its second MiB on."""
        entry = struct.pack("<B3xB3xII", 0, 0x83, 2048, 2048)
        with Path(self.device).open("r+b") as device:
            device.write(bytes(446) + entry + bytes(48) + b"\x55\xaa")

    def find_uuid(self) -> str:
        """The file system's."""
        return run("blkid", "--probe", "--match-tag", "UUID", "--output", "value", self.device)

    def detach(self) -> None:
        """Have no server see it; what is on it stays in the file."""
        run("losetup", "--detach", self.device)

    def remove(self) -> None:
        """Have it gone, once nothing uses it any more."""
        self.detach()
        self.file.unlink()

    def _set_size(self, mebibytes: int) -> None:
        with self.file.open("r+b") as file:
            file.truncate(mebibytes * MEBIBYTE)
        self.mebibytes = mebibytes


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout.strip()
