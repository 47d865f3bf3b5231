"""An app in a temporary folder that a test deploys to this machine."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from nvoi.config.loader import load
from nvoi.operation import Operation, Report, Request, run
from nvoi.targets.local import TARGET, LocalContext
from nvoi.targets.local.processes import find_marked
from nvoi.targets.local.state import StateFolder
from tests.integration.commands import end_marked
from tests.integration.forkserver import ForkedProcess
from tests.ports import find_port
from tests.waiting import PATIENCE, fetch_from

#: A Python that starts at once: without site, and with what it needs alone.
PYTHON = f"{sys.executable} -I -S"

#: A server for the apps under test. It answers with what the test asks for: ``/env/NAME``,
#: ``/names``, ``/cwd``, ``/pid``, ``/file/PATH``; ``/health`` with the status in ``$HEALTH``.
#: It is started hundreds of times, and to import http.server takes longer than all else.
SERVER = """
import _socket, os

def answer(path):
    kind, _, rest = path[1:].partition("/")
    if kind == "env":
        return os.environ.get(rest, "(unset)")
    if kind == "file":
        return open(rest).read()
    if kind == "pid":
        return str(os.getpid())
    return {"names": " ".join(os.environ), "cwd": os.getcwd()}.get(kind, "")

server = _socket.socket()
server.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(os.environ["PORT"])))
server.listen()
print("serving on", os.environ["PORT"], flush=True)
while True:
    connection = _socket.socket(fileno=server._accept()[0])
    try:
        words = connection.recv(4096).decode().split()
        if words:
            status = os.environ.get("HEALTH", "200") if words[1] == "/health" else "200"
            body = answer(words[1]).encode()
            head = f"HTTP/1.0 {status} so\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
            connection.sendall(head.encode() + body)
    except OSError:
        pass
    connection.close()
"""


class App:
    """The files, the config and the state of one app.

    Args:
        folder: a temporary folder for all of them.
    """

    def __init__(self, folder: Path, name: str = "shop") -> None:
        self.directory = folder / "checkout"
        self.home = folder / "home"
        self.name = name
        self.config_path = folder / f"{name}.yml"
        self.config: dict[str, Any] = {
            "name": name,
            "compute_provider": {"local": {}},
            "app": {},
        }
        self.environ = {"PATH": os.environ["PATH"], "USER": "tester", "NVOI_DEBUG": "no"}
        self.runs: list[Run] = []
        self.write("server.py", SERVER)

    @property
    def state(self) -> StateFolder:
        return StateFolder(self.home / self.name)

    @property
    def services(self) -> dict[str, Any]:
        return self.config["app"]  # type: ignore[no-any-return]

    def write(self, name: str, text: str = "") -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def add_server(self, name: str = "web", **settings: Any) -> int:
        """Add a service that is well; returns its port."""
        port = find_port()
        self.services[name] = {
            "command": f"exec {PYTHON} server.py",
            "port": port,
            "healthcheck": {"interval": "5s"},
            "min_ready": 0,
        } | settings
        return port

    def write_config(self) -> Path:
        self.config_path.write_text(json.dumps({"application": self.config}))
        return self.config_path

    def build_request(self, **settings: Any) -> Request:
        text = self.write_config().read_text()
        return Request(
            config=load(text, filename="deploy.yml", environ=None),
            directory=self.directory,
            home=self.home,
            deploy_id="deploy-1",
            environ=self.environ,
            **settings,
        )

    def deploy(self) -> LocalContext:
        operation = Operation("Deploy", TARGET, TARGET.deploy, TARGET.check)
        return run(operation, self.build_request(), Report())

    def delete(self, **settings: Any) -> LocalContext:
        operation = Operation("Delete", TARGET, TARGET.delete)
        return run(operation, self.build_request(**settings), Report())

    def plan(self, verb: str = "deploy") -> list[str]:
        context = TARGET.preview(self.build_request())
        steps = TARGET.deploy if verb == "deploy" else TARGET.delete
        return [line for step in steps for line in step.plan(context)]

    def start_deploy(self) -> Run:
        """``nvoi deploy`` in a process of its own, which a test can interrupt or kill."""
        self.runs.append(Run(self))
        return self.runs[-1]

    def write_slow_server(self) -> Path:
        """Let ``server.py`` wait until the file that is returned exists."""
        gate = self.home.parent / "gate"
        self.write(
            "server.py",
            f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.05)\n{SERVER}",
        )
        return gate

    def find_processes(self) -> list[int]:
        """Everything that runs of the app but supervisord: its services, trials and commands."""
        return [pid for pid in self.find_all() if not is_supervisord(pid)]

    def find_all(self) -> list[int]:
        return find_marked({"NVOI_STATE": str(self.state.root)})

    def get_daemon_pid(self) -> int:
        return int((self.state.supervisor / "supervisord.pid").read_text())

    def tear_down(self) -> None:
        """End all of the app's processes, whatever state a test has left them in."""
        for started in self.runs:
            started.end(signal.SIGKILL)
        end_marked(NVOI_STATE=str(self.state.root))


class Run:
    """A deploy that was started."""

    def __init__(self, app: App) -> None:
        words = ["deploy", "-c", str(app.write_config()), "-d", str(app.directory)]
        environ = {"NVOI_HOME": str(app.home), "NVOI_DEPLOY_ID": "of-another-process"}
        self._output = app.home.parent / f"run-{len(app.runs)}.log"
        with self._output.open("wb") as output:
            self._process = ForkedProcess(words, output, output, app.environ | environ)
        self.pid = self._process.pid

    def end(self, number: int | None = None) -> tuple[int, str]:
        """The exit code and all that was printed, once it has ended, by a signal if need be."""
        if number is not None:
            self._process.send_signal(number)
        return self._process.wait(PATIENCE), self.read_output()

    def read_output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text()


def is_supervisord(pid: int) -> bool:
    try:
        return b"supervisor.supervisord" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


def read_conf(app: App) -> str:
    """What supervisord is told to run."""
    return (app.state.supervisor / "supervisord.conf").read_text()


def is_serving(port: int, page: str = "") -> bool:
    """Whether the app's server answers, with the page if one is named."""
    try:
        return fetch_from(port, "file/page" if page else "health") == page
    except OSError:
        return False
