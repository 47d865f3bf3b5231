"""What ``nvoi onboard`` offers for an app of each kind is deployed, and answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvoi.config.credentials import get_key
from nvoi.config.loader import load_file
from tests.apps import write_app
from tests.integration.commands import NVOI, build_environment
from tests.ports import find_port
from tests.waiting import fetch_from

#: What each kind needs of the machine, and what its first page says.
KINDS = {
    "static": ((), "Hello from a file"),
    "node": (("node", "npm"), "Hello from Node"),
    "go": (("go",), "Hello from Go"),
    "express": (("node", "npm"), "Hello from Express"),
    "flask": (("python3",), "Hello from Flask"),
    "django": (("python3",), "Hello from Django"),
    "fastapi": (("python3",), "Hello from FastAPI"),
}


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A folder whose path is short: a Unix socket's must fit in 108 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="nv-"))
    yield folder / "shop"
    shutil.rmtree(folder)


def find_lack(kind: str) -> str:
    """What the machine lacks of what an app of this kind needs; empty where it has all."""
    programs, _ = KINDS[kind]
    if lacking := [program for program in programs if shutil.which(program) is None]:
        return f"this machine has no {', '.join(lacking)}"
    # Python's packages are there, as those of the tests themselves.
    pinged = ["npm", "ping"] if kind == "express" else ["true"]
    done = subprocess.run(pinged, check=False, capture_output=True)
    return "npm's registry does not answer" if done.returncode else ""


def run(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run nvoi; what a registry sends takes as long as it takes."""
    return subprocess.run(
        [NVOI, *words],
        cwd=checkout,
        env=build_environ(checkout),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def build_environ(checkout: Path) -> dict[str, str]:
    """That of somebody whose package managers have their own settings and caches."""
    environ = build_environment(checkout.parent)
    own = {"HOME": os.environ["HOME"], "NVOI_HOME": str(checkout.parent / "home")}
    # What is not imported need not be compiled.
    return environ | own | {"PIP_NO_COMPILE": "1"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_the_proposal_for_an_app_is_deployed_and_answers(checkout: Path, kind: str) -> None:
    if lack := find_lack(kind):
        pytest.skip(lack)
    _, greeting = KINDS[kind]
    checkout.mkdir()
    write_app(checkout, kind)
    environ = build_environ(checkout)
    if kind == "express":
        words = ["npm", "install", "--package-lock-only", "--no-audit", "--no-fund"]
        subprocess.run(words, cwd=checkout, check=True, capture_output=True)
    made = run(checkout, "onboard")
    assert made.returncode == 0, made.stdout + made.stderr
    # What it offers may be in use by now, by others that are tried.
    run(checkout, "credentials", "set", "application.app.web.port", str(find_port()))
    config = load_file(checkout / "deploy.enc", key=get_key(checkout, environ=environ), environ={})
    try:
        done = run(checkout, "deploy")
        assert done.returncode == 0, done.stdout + done.stderr
        port = config.application.app["web"].port
        assert port
        assert greeting in fetch_from(port, "")
        if kind == "flask":
            # The venv is kept while the file that names the packages is the same.
            again = run(checkout, "deploy")
            assert again.returncode == 0, again.stdout + again.stderr
            assert "Successfully installed" in done.stdout
            assert "Successfully installed" not in again.stdout
            assert greeting in fetch_from(port, "")
    finally:
        gone = run(checkout, "delete", "--yes", "--delete-volumes")
    assert gone.returncode == 0
