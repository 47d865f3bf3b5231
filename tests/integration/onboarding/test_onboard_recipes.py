"""What ``nvoi onboard`` offers for an app of each kind is deployed, and answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps import write_app
from tests.integration.commands import build_environment, call_nvoi
from tests.ports import find_port
from tests.waiting import fetch_from

#: What each kind needs of the machine, and what its first page says.
KINDS = {
    "static": ((), "Hello from a file"),
    "node": (("node", "npm"), "Hello from Node"),
    "go": (("go",), "Hello from Go"),
    "express": (("node", "npm"), "Hello from Express"),
}
#: The same of those that have the same packages, and so one venv, which takes long to be made.
PYTHON = {
    "flask": "Hello from Flask",
    "django": "Hello from Django",
    "fastapi": "Hello from FastAPI",
}
PACKAGES = "flask==3.1.3\ndjango==5.2.8\nfastapi==0.121.3\nuvicorn\n"


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A folder whose path is short: a Unix socket's must fit in 108 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="nv-"))
    yield folder / "shop"
    shutil.rmtree(folder)


def run(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run nvoi as somebody whose package managers have their own settings and caches."""
    own = {"HOME": os.environ["HOME"], "NVOI_HOME": str(checkout.parent / "home")}
    # What is not imported need not be compiled.
    own |= {"PIP_NO_COMPILE": "1"}
    return call_nvoi(*words, folder=checkout, environ=build_environment(checkout.parent) | own)


def deploy(checkout: Path, greeting: str) -> str:
    """Deploy what ``nvoi onboard`` proposes for a checkout, and see it answer; what was printed."""
    made = run(checkout, "onboard")
    assert made.returncode == 0, made.stdout + made.stderr
    # What it offers may be in use by now, by others that are tried.
    port = find_port()
    run(checkout, "credentials", "set", "application.app.web.port", str(port))
    done = run(checkout, "deploy")
    assert done.returncode == 0, done.stdout + done.stderr
    assert greeting in fetch_from(port)
    return done.stdout


def delete(checkout: Path) -> None:
    assert run(checkout, "delete", "--yes", "--delete-volumes").returncode == 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_the_proposal_for_an_app_is_deployed_and_answers(checkout: Path, kind: str) -> None:
    programs, greeting = KINDS[kind]
    if lacking := [program for program in programs if shutil.which(program) is None]:
        pytest.skip(f"this machine has no {', '.join(lacking)}")
    checkout.mkdir()
    write_app(checkout, kind)
    if kind == "express":
        # It names no packages: those of package.json are installed.
        (checkout / "package-lock.json").unlink()
    try:
        deploy(checkout, greeting)
    finally:
        delete(checkout)


@pytest.mark.timeout(900)
def test_the_proposals_for_python_are_deployed_with_a_venv_that_is_kept(checkout: Path) -> None:
    installs = []
    try:
        for kind, greeting in PYTHON.items():
            shutil.rmtree(checkout, ignore_errors=True)
            checkout.mkdir()
            write_app(checkout, kind)
            (checkout / "requirements.txt").write_text(PACKAGES)
            installs.append("Successfully installed" in deploy(checkout, greeting))
    finally:
        delete(checkout)
    # The venv is kept while the file that names the packages is the same.
    assert installs == [True, False, False]
