"""``nvoi demo`` shows what it promises, and leaves nothing behind, whatever ends it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from nvoi.demo import watcher
from nvoi.demo.place import Place, fill
from nvoi.signals import Signals
from nvoi.targets.local.processes import find_marked
from tests.integration.commands import NVOI, call_nvoi, end_marked
from tests.integration.forkserver import ForkedProcess
from tests.integration.pages import ROOT, find_blocks
from tests.ports import find_port
from tests.waiting import PATIENCE, fetch, wait_for_end, wait_until

PIP = re.compile(r"PIP_|(HTTPS_PROXY|SSL_CERT_FILE|SSL_CERT_DIR)$", re.IGNORECASE)

#: Seconds for a whole demo on a loaded machine.
WHOLE = 2 * PATIENCE


class Machine:
    """What the demo sees of a machine, all of it of its own: a home and a temporary folder."""

    def __init__(self) -> None:
        # Short: the socket of supervisord must fit in 108 bytes, and pytest's folders are long.
        self.folder = Path(tempfile.mkdtemp(prefix="nv-")).resolve()
        self.home, self.temporary = self.folder / "home", self.folder / "tmp"
        self.home.mkdir()
        self.temporary.mkdir()
        self.environ = {
            # Where PyPI is, for the test that installs nvoi.
            **{name: value for name, value in os.environ.items() if PIP.match(name)},
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            # The user's own, which are none of the demo's business.
            "DEPLOY_KEY": "5e" * 32,
            "NVOI_HOME": str(self.home / "own"),
            "HTTP_PROXY": "http://127.0.0.1:9",
        }
        self.port = find_port()
        self.output = self.folder / "output"
        self.processes: list[subprocess.Popen[bytes] | ForkedProcess] = []

    def start(self, *words: str, **environ: str) -> ForkedProcess:
        """Start ``nvoi`` with its output in a file."""
        with self.output.open("wb") as output:
            process = ForkedProcess(words, output, output, self.environ | environ)
        self.processes.append(process)
        return process

    def start_demo(self, *words: str, **environ: str) -> ForkedProcess:
        """Start a demo, its dashboard on a port of its own: other demos run meanwhile."""
        return self.start("demo", "--port", str(self.port), *words, **environ)

    def write_browser(self, command: str) -> str:
        """A browser that runs a shell command, as ``$BROWSER`` names it."""
        path = self.folder / "browser"
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o700)
        return f"{path} %s"

    def read(self) -> str:
        return self.output.read_text("utf-8", "replace")

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.read(), f"{text!r} in {self.read()}", WHOLE)

    def find_url(self, mark: str) -> str:
        """The URL that is printed below or behind ``mark``."""
        found = re.search(rf"{re.escape(mark)}\s+(http://[^\s,]+)", self.read())
        assert found is not None, self.read()
        return found[1]

    def find_processes(self) -> list[int]:
        """All that the demo has started, and what that has started, and the demo."""
        return find_marked({"TMPDIR": str(self.temporary)})

    def assert_nothing_is_left(self, *in_home: str) -> None:
        assert self.find_processes() == [], self.read()
        assert list(self.temporary.iterdir()) == [], self.read()
        assert {path.name for path in self.home.iterdir()} <= set(in_home)
        for port in map(int, re.findall(r"http://(?:127\.0\.0\.1|localhost):(\d+)", self.read())):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)

    def tear_down(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        end_marked(TMPDIR=str(self.temporary))
        shutil.rmtree(self.folder)


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.tear_down()


def test_it_waits_with_all_it_shows_until_ctrl_c_and_a_second_one_changes_nothing(
    machine: Machine,
) -> None:
    demo = machine.start_demo()
    machine.wait_for("Ctrl-C takes all of it down")
    page = machine.find_url("the first deploy")
    assert f"\n   open this: {page}\n" in machine.read()
    assert machine.find_url("== The dashboard").startswith(f"http://127.0.0.1:{machine.port}/")
    greeting = fetch(machine.find_url("the app"))
    assert "Hello from the nvoi demo" in greeting
    assert "An app would" not in fetch(machine.find_url("the first deploy"))
    assert "500" in fetch(machine.find_url("the second deploy"))
    (folder,) = machine.temporary.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    again = re.search(r"^   (env NVOI_HOME=.*)$", machine.read(), re.MULTILINE)
    assert again is not None
    app = folder / "hello" / "app.py"
    app.write_text(app.read_text().replace("answer(500", "answer(200"))
    environ = machine.environ | {"NVOI_DEPLOY_ID": "again"}
    subprocess.run(
        again[1], shell=True, check=True, env=environ, stdout=subprocess.DEVNULL, timeout=WHOLE
    )
    assert fetch(machine.find_url("the app")) != greeting
    assert "again" in fetch(machine.find_url("== The dashboard"))
    demo.send_signal(signal.SIGINT)
    machine.wait_for("Taking everything down")
    demo.send_signal(signal.SIGINT)
    assert wait_for_end(demo, WHOLE) == 0, machine.read()
    machine.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("number", "moment", "code", "told"),
    [
        (signal.SIGINT, "all of it in", 130, "nvoi: interrupted (Ctrl-C)"),
        (signal.SIGHUP, "migrate its data: greetings", 129, "[ERROR] interrupted (SIGHUP)"),
    ],
)
def test_a_signal_in_the_middle_takes_everything_down_and_is_told(
    machine: Machine, number: signal.Signals, moment: str, code: int, told: str
) -> None:
    demo = machine.start_demo()
    machine.wait_for(moment)
    demo.send_signal(number)
    assert wait_for_end(demo, WHOLE) == code, machine.read()
    assert told in machine.read()
    assert "SIGTERM" not in machine.read()
    machine.assert_nothing_is_left()


def test_where_no_browser_opens_the_page_is_named_and_a_lost_dashboard_takes_everything_down(
    machine: Machine,
) -> None:
    browser = machine.write_browser("exit 1")
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", 8787)))
        demo = machine.start("demo", "--no-wait", "--open", BROWSER=browser)
        machine.wait_for("\n   open this: http")
        machine.wait_for("Try the services")
    # The usual port is taken.
    assert ":8787/" not in machine.find_url("open this:")
    for pid in machine.find_processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"dashboard" in words:
            os.kill(pid, signal.SIGKILL)
    assert wait_for_end(demo, WHOLE) == 1
    assert "does not answer" in machine.read()
    machine.assert_nothing_is_left()


def test_where_nobody_reads_any_more_it_takes_everything_down(machine: Machine) -> None:
    with subprocess.Popen(
        [NVOI, "demo", "--port", str(machine.port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=machine.environ,
        start_new_session=True,
    ) as demo:
        machine.processes.append(demo)
        assert demo.stdout is not None
        assert demo.stdout.readline().startswith(b"nvoi demo")
        demo.stdout.close()
        assert wait_for_end(demo, WHOLE) == 1
    machine.output.touch()
    machine.assert_nothing_is_left()


def test_the_dashboard_has_its_usual_port_where_that_is_free(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = find_port()
    monkeypatch.setattr(watcher, "DASHBOARD_PORT", port)
    places = []
    for name in ("one", "two"):
        (machine.temporary / name).mkdir()
        signals = Signals(second_ends=False)
        places.append(Place(machine.temporary / name, machine.environ, signals, find_port(), 0))
        fill(places[-1])
    with watcher.watch(places[0], None) as first:
        assert first.url == f"http://127.0.0.1:{port}"
        # Both find it free, and one is quicker.
        monkeypatch.setattr(watcher, "is_port_free", lambda _: True)
        with watcher.watch(places[1], None) as second:
            assert second.url != first.url


def test_a_port_that_is_taken_is_named(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        demo = machine.start("demo", "--no-wait", "--port", port)
        assert wait_for_end(demo, WHOLE) == 2
        assert re.search(rf"^nvoi: .*{port}.*in use", machine.read(), re.MULTILINE)
    machine.output.write_text("")
    machine.assert_nothing_is_left()


@pytest.mark.parametrize("name", ["supervisor", "starlette"])
def test_an_extra_that_is_missing_is_named(
    machine: Machine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    ended = call_nvoi("demo", "--no-wait", folder=machine.home, environ=machine.environ)
    assert ended.returncode == 2
    assert f"needs {name}" in ended.stderr
    assert "-m pip install '.[demo]'" in ended.stderr
    machine.output.touch()
    machine.assert_nothing_is_left()


def test_the_readme_shows_a_demo_that_deploys_twice_from_a_bare_checkout_and_ends_well(
    machine: Machine,
) -> None:
    (block,) = [it for it in find_blocks("sh", "README.md") if it.mark == "run without waiting"]
    command, *_ = block.text.splitlines()[-1].split()
    assert command == "bin/demo"
    checkout = machine.folder / "checkout"
    for name in ("bin", "nvoi"):
        shutil.copytree(
            ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", ".venv*")
        )
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    browser = machine.write_browser('echo "$1" > "$0.opened"')
    with machine.output.open("wb") as file:
        demo = subprocess.Popen(
            [checkout / command, "--no-wait", "--open", "--port", str(machine.port)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=machine.environ | {"PYTHON": sys.executable, "BROWSER": browser},
            start_new_session=True,
        )
    machine.processes.append(demo)
    assert wait_for_end(demo, WHOLE) == 0, machine.read()
    output = machine.read()
    assert "pip install -e .[demo]" in output
    assert "Deploy of hello done" in output
    assert "no such table: greetings" in output
    assert "GET /health answered 500" in output
    assert "still the first release" in output
    assert "API_TOKEN=[REDACTED]" in output
    first, second = machine.find_url("the first deploy"), machine.find_url("the second deploy")
    assert first != second
    assert re.search(rf"{re.escape(second)}, failed: .*answered 500", output)
    assert (machine.folder / "browser.opened").read_text().strip() == first
    assert "open this" not in output
    # pip keeps what it fetched, and asks rustc for its version, which may be rustup's.
    machine.assert_nothing_is_left(".cache", ".rustup")
