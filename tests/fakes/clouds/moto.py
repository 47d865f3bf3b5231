"""moto's EC2, asked without a network, with Canonical's images of both architectures."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import werkzeug

from tests.fakes.kubernetes.server import start_server

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


@dataclass(frozen=True)
class Moto:
    """moto's EC2, which there is once in a process.

    Attributes:
        url: where it is asked past all that the stand-in refuses, as an owner does.
        ask: its status and answer to a body, for who shows this ``Authorization``.
        reset: have it be empty.
    """

    url: str
    ask: Callable[[str, str], tuple[int, str]]
    reset: Callable[[], None]


def get_moto() -> str:
    """The URL of this process' own moto."""
    return start_moto().url


def start_moto() -> Moto:
    """This process' own moto; one that was forked from it has another one."""
    return build_moto(os.getpid())


@cache
def build_moto(process: int) -> Moto:
    with tempfile.TemporaryDirectory(prefix="nvoi-moto-") as folder:
        images = Path(folder, "amis.json")
        images.write_text(json.dumps(IMAGES))
        # The file is read at the import. That the variable is there keeps thousands of others away.
        os.environ["MOTO_AMIS_PATH"] = str(images)
        # They take more than a second, which tests without AWS spare.
        from moto.core import responses, utils
        from moto.core.request import Request
        from moto.ec2.responses import EC2Response
        from moto.moto_api._internal.models import moto_api_backend

    # It looks for its actions' names at each call.
    vars(responses)["method_names_from_class"] = cache(utils.method_names_from_class)

    def ask(authorization: str, body: str) -> tuple[int, str]:
        headers = {
            "Authorization": authorization,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        asked = Request.from_primitives("POST", "http://ec2.test/", headers, body)
        status, _, text = EC2Response.dispatch(asked)
        return status, text if isinstance(text, str) else text.decode()

    def handle(request: werkzeug.Request) -> werkzeug.Response:
        body = request.get_data(as_text=True)
        status, text = ask(request.headers.get("Authorization", ""), body)
        return werkzeug.Response(text, status, content_type="text/xml")

    port = start_server(handle, tls=False).port
    return Moto(f"http://127.0.0.1:{port}", ask, moto_api_backend.reset)
