"""The example for servers fits together: its config, its Dockerfile and its code."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3

from nvoi.config.loader import load
from nvoi.config.schema import Application
from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.kubernetes.manifests import Manifests, build_manifests
from nvoi.kubernetes.ownership import Manifest
from nvoi.kubernetes.workloads import Release
from tests.integration.pages import ROOT
from tests.ports import find_port
from tests.waiting import PATIENCE

SHOP = ROOT / "examples" / "shop"
CODE = sorted(SHOP.glob("*.py"))

#: Stands in for the library, which is not installed here: a database that is away.
AWAY = """\
class Error(Exception): pass
class OperationalError(Error): pass
class Connection: pass
def connect(url, connect_timeout): raise OperationalError("it is away")
"""


@pytest.fixture(scope="module")
def application() -> Application:
    keys = generate_ssh_keys("shop")
    environ = {
        "SSH_PRIVATE_KEY": keys.private_key.reveal(),
        "SSH_PUBLIC_KEY": keys.public_key,
        "POSTGRES_PASSWORD": "p4ssword",
    }
    text = (SHOP / "deploy.yml").read_text()
    return load(text, filename="deploy.yml", environ=environ).application


@pytest.fixture(scope="module")
def manifests(application: Application) -> Manifests:
    return build_manifests(Release(application, "20261123160322", "deploy-1", "registry/shop:1"))


def list_instructions(name: str) -> list[str]:
    """What stands behind an instruction of the Dockerfile, each time that it is there."""
    text = (SHOP / "Dockerfile").read_text()
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


def find_containers(manifests: tuple[Manifest, ...]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for item in manifests:
        if item["kind"] in {"Deployment", "StatefulSet", "Job"}:
            manifest: Any = item
            (container,) = manifest["spec"]["template"]["spec"]["containers"]
            found[manifest["metadata"]["name"]] = container
    return found


def is_in_image(file: Path) -> bool:
    """Whether .dockerignore leaves a file to the build; its last fitting line decides."""
    kept = True
    for line in (SHOP / ".dockerignore").read_text().split():
        if fnmatch.fnmatch(file.name, line.removeprefix("!")):
            kept = line.startswith("!")
    return kept


def test_its_manifests_run_the_code_that_is_there(manifests: Manifests) -> None:
    assert set(find_containers(manifests.apps)) == {"shop-web", "shop-worker"}
    assert set(find_containers(manifests.database)) == {"db-shop"}
    (job,) = find_containers(manifests.jobs).values()
    worker = find_containers(manifests.apps)["shop-worker"]
    for command in (job["command"], worker["command"], *map(shlex.split, list_instructions("CMD"))):
        (script,) = re.findall(r"\w+\.py", " ".join(command))
        assert SHOP / script in CODE


def test_its_image_holds_the_code_and_nothing_secret() -> None:
    for words in list_instructions("COPY"):
        *sources, _ = words.split()
        for source in sources:
            files = list(SHOP.glob(source))
            assert files, source
            assert all(map(is_in_image, files)), source
    for name in ("deploy.yml", "deploy.enc", "deploy.key", ".env", ".git", "Dockerfile"):
        assert not is_in_image(SHOP / name)


def test_its_image_runs_as_a_user_with_a_number_that_is_not_root() -> None:
    (user,) = list_instructions("USER")
    assert all(number.isdecimal() and int(number) > 0 for number in user.split(":"))


def test_its_image_installs_what_the_code_imports() -> None:
    requirements = (SHOP / "requirements.txt").read_text().split()
    own = {file.stem for file in CODE}
    imported = {
        name
        for file in CODE
        for name in re.findall(r"^(?:import|from) (\w+)", file.read_text(), re.MULTILINE)
    }
    outside = imported - own - set(sys.stdlib_module_names)
    assert {re.split(r"[\[=]", line)[0] for line in requirements} == outside
    assert all("==" in line for line in requirements)


@contextmanager
def start(script: str, folder: Path, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A part of the app, whose database is away, from its first line on."""
    (folder / "psycopg.py").write_text(AWAY)
    process = subprocess.Popen(
        [sys.executable, "-B", "-W", "error", script],
        cwd=SHOP,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(folder),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(folder),
            "DATABASE_URL": "postgresql://db-shop/shop",
            **environ,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    assert any(text in line for line in process.stdout)


def stop(process: subprocess.Popen[str]) -> str:
    """What it prints after SIGTERM, which it takes as a wish to end well."""
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


def test_the_web_service_is_healthy_without_its_database_and_ends_well(
    application: Application, manifests: Manifests, tmp_path: Path
) -> None:
    web = find_containers(manifests.apps)["shop-web"]
    assert [str(application.app["web"].port)] == list_instructions("EXPOSE")
    path, port = web["readinessProbe"]["httpGet"]["path"], find_port()
    with start("web.py", tmp_path, PORT=str(port)) as process, urllib3.PoolManager() as pool:
        wait_for_line(process, "listening")
        statuses = [
            pool.request("GET", f"http://127.0.0.1:{port}{one}", retries=False).status
            for one in (path, "/", "/nothing")
        ]
        assert statuses == [200, 503, 404]
        assert "stopped" in stop(process)


def test_the_worker_is_healthy_without_its_database_and_ends_well(
    application: Application, tmp_path: Path
) -> None:
    check = application.app["worker"].healthcheck
    assert check is not None
    assert check.command is not None
    command = check.command.replace("/tmp", str(tmp_path))
    assert subprocess.run(["/bin/sh", "-c", command], check=False).returncode == 1
    with start("worker.py", tmp_path) as process:
        wait_for_line(process, "it is away")
        assert subprocess.run(["/bin/sh", "-c", command], check=False).returncode == 0
        assert "stopped" in stop(process)
