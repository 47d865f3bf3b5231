"""moto's server, as a process of its own, with Canonical's images of both architectures."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import urllib3

from tests.ports import find_port
from tests.waiting import wait_until

CANONICAL = "099720109477"


def build_image(number: int, architecture: str, name: str, date: str, owner: str) -> dict[str, Any]:
    return {
        "ami_id": f"ami-0000000000000000{number}",
        "name": f"ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{name}-server-{date}",
        "description": "Canonical, Ubuntu, 24.04",
        "owner_id": owner,
        "public": True,
        "virtualization_type": "hvm",
        "architecture": architecture,
        "state": "available",
        "platform": None,
        "image_type": "machine",
        "hypervisor": "xen",
        "root_device_name": "/dev/sda1",
        "root_device_type": "ebs",
        "sriov": "simple",
        "creation_date": f"{date[:4]}-{date[4:6]}-{date[6:]}T00:00:00.000Z",
    }


#: The newest of each architecture is Canonical's; somebody else has a newer one of the same name.
IMAGES = [
    build_image(1, "x86_64", "amd64", "20260701", CANONICAL),
    build_image(2, "x86_64", "amd64", "20260801", CANONICAL),
    build_image(3, "arm64", "arm64", "20260801", CANONICAL),
    build_image(4, "x86_64", "amd64", "20260901", "111111111111"),
]
X86, ARM64 = IMAGES[1]["ami_id"], IMAGES[2]["ami_id"]


#: It ends with the process that has started it, however that ends.
PROGRAM = """\
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.server import main
main(sys.argv[1:])
"""


def get_moto() -> str:
    """The URL of this process' own moto."""
    return start_moto(os.getpid())


@cache
def start_moto(process: int) -> str:
    """A moto for a process, which a process that was forked from it has another one of."""
    folder = Path(tempfile.mkdtemp(prefix="nvoi-moto-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    images = folder / "amis.json"
    images.write_text(json.dumps(IMAGES))
    port = find_port()
    url = f"http://127.0.0.1:{port}"
    with (folder / "moto.log").open("wb") as log:
        started = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "-p", str(port)],
            env={**os.environ, "MOTO_AMIS_PATH": str(images)},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    atexit.register(end, started)
    wait_until(lambda: is_up(url), f"moto at {url}")
    return url


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def is_up(url: str) -> bool:
    try:
        return urllib3.request("GET", f"{url}/moto-api/data.json", retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False
