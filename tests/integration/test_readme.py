"""The readme leads a newcomer where it says: its commands run as they stand."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.integration.pages import ROOT, find_blocks
from tests.ports import find_port
from tests.waiting import PATIENCE

#: Where the readme's app answers.
APP = "http://localhost:8000"


class Shell:
    """Runs lines of the readme as a newcomer would, in a copy of the examples.

    Args:
        folder: a temporary folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.ports = {port: str(find_port()) for port in ("8000", "8787", "9000")}
        shutil.copytree(ROOT / "examples", folder / "examples")
        config = folder / "examples" / "hello" / "deploy.yml"
        config.write_text(self.adapt(config.read_text()))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        keep = {name: os.environ[name] for name in ("LANG",) if name in os.environ}
        self.environ = {
            **keep,
            "PATH": path,
            "HOME": str(folder),
            "NVOI_HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
        }

    def adapt(self, text: str) -> str:
        """``text`` with ports and files that are this test's alone."""
        for port, free in self.ports.items():
            text = text.replace(port, free)
        return text.replace("/tmp/", f"{self.folder}/")

    def run(self, text: str, folder: Path) -> str:
        """What the lines print, all of them ending well."""
        # What runs in the background would hold the output open after a failure.
        lines = f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{self.adapt(text)}"
        process = subprocess.Popen(
            ["bash", "-euc", lines],
            cwd=folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        finally:
            # A receiver that a failure has left in the background.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 0, output
        return output

    def tear_down(self) -> None:
        """Take down what a failure has left."""
        self.run("nvoi delete --config deploy.yml --yes", self.folder / "examples" / "hello")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.tear_down()


def list_readme_lines(mark: str) -> list[str]:
    return [block.text for block in find_blocks("sh", "README.md") if block.mark == mark]


#: Prints what the dashboard has of its deploys, once they have all ended.
ASK = """
python3 - <<'END'
import json, urllib.request
with urllib.request.urlopen("http://127.0.0.1:8787/api/projects/default/deploys.json") as answer:
    (deploy,) = json.load(answer)["deploys"]
print("SEEN", deploy["status"], deploy["tunnels"][0]["hostname"])
END
"""


def test_the_readme_leads_to_a_running_app_and_its_deploy_on_a_dashboard(shell: Shell) -> None:
    deploy, leave = list_readme_lines("run")
    look = f"python3 -c 'import urllib.request as r; print(r.urlopen(\"{APP}\").read())'"
    output = shell.run(f"{deploy}{ASK}{look}\n{leave}", shell.folder)
    port = shell.ports["8000"]
    assert f"Running at http://localhost:{port}" in output
    assert f"SEEN completed localhost:{port}" in output
    assert "Hello from nvoi" in output
    assert [path.name for path in shell.home.iterdir()] == ["dashboard.d"]
    assert sorted(path.name for path in (shell.folder / "examples" / "hello").iterdir()) == [
        "README.md",
        "app.py",
        "deploy.yml",
    ]


def test_the_readme_makes_a_config_that_is_ready_to_deploy(shell: Shell, tmp_path: Path) -> None:
    (lines,) = list_readme_lines("run in a folder of its own")
    folder = tmp_path / "own"
    folder.mkdir()
    output = shell.run(lines, folder)
    assert "would start web on port" in output
    assert 'python3 -m http.server --bind 127.0.0.1 "$PORT"' in output
    assert sorted(path.name for path in folder.iterdir()) == [
        ".dockerignore",
        ".gitignore",
        "deploy.enc",
        "deploy.key",
    ]


def test_the_receiver_example_refuses_what_is_not_signed(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    lines = f"""
export DEPLOY_KEY={secrets.token_hex(32)}
python3 receiver.py 9000 &
python3 - <<'END'
import time, urllib.error, urllib.request
request = urllib.request.Request("http://127.0.0.1:9000/x/y/logs", b"{{}}", method="POST")
deadline = time.monotonic() + {PATIENCE / 2}
while True:
    try:
        urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        print("answered", error.code)
        error.close()
        break
    except OSError:
        assert time.monotonic() < deadline
        time.sleep(0.05)
END
kill $!
"""
    assert "answered 401" in shell.run(lines, tmp_path / "examples")


def test_the_readme_shows_a_picture_for_light_and_dark_and_a_config_of_20_lines() -> None:
    picture = (ROOT / "docs" / "model.svg").read_text()
    assert ET.fromstring(picture).tag.endswith("svg")
    assert "prefers-color-scheme: dark" in picture
    assert "](docs/model.svg)" in (ROOT / "README.md").read_text()
    (config,) = find_blocks("yaml", "README.md")
    assert len(config.text.splitlines()) <= 20
