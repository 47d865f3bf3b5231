"""An app in a temporary folder that a test deploys to this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from nvoi.config.loader import load
from nvoi.operation import Request
from nvoi.targets.local import TARGET, LocalContext
from nvoi.targets.local.processes import find_marked
from nvoi.targets.local.state import State
from tests.integration.local import running
from tests.integration.programs import end_marked
from tests.ports import find_port
from tests.waiting import fetch_from

#: A server for the apps under test. It answers with what the test asks for:
#: ``/env/NAME``, ``/cwd``, ``/pid``, ``/file/PATH``; ``/health`` with the status in the file
#: ``health``.
SERVER = """
import http.server, os, pathlib, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        kind, _, rest = self.path[1:].partition("/")
        status, text = 200, ""
        if kind == "health":
            file = pathlib.Path("health")
            status = int(file.read_text()) if file.exists() else 200
        elif kind == "env":
            text = os.environ.get(rest, "(unset)")
        elif kind == "names":
            text = " ".join(sorted(os.environ))
        elif kind == "pid":
            text = str(os.getpid())
        elif kind == "cwd":
            text = os.getcwd()
        elif kind == "file":
            text = pathlib.Path(rest).read_text()
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    def server_bind(self):
        # The stock one looks its own name up, which can take seconds.
        __import__("socketserver").TCPServer.server_bind(self)

print("serving on", os.environ["PORT"])
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
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
        self.write("server.py", SERVER)

    @property
    def state(self) -> State:
        return State(self.home / self.name)

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
            "command": f"exec {sys.executable} -S server.py",
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
        request = self.build_request()
        TARGET.check(request)
        return running.run_steps(TARGET.deploy, request)

    def delete(self, **settings: Any) -> LocalContext:
        return running.run_steps(TARGET.delete, self.build_request(**settings))

    def plan(self, verb: str = "deploy") -> list[str]:
        context = TARGET.preview(self.build_request())
        steps = TARGET.deploy if verb == "deploy" else TARGET.delete
        return [line for step in steps for line in step.plan(context)]

    def start(self, verb: str = "deploy", before: str = ":") -> subprocess.Popen[str]:
        """A run in a process of its own, in a shell that has run ``before``."""
        words = [str(self.write_config()), str(self.directory), str(self.home), verb]
        return subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                f'{before}; exec "$@"',
                "-",
                sys.executable,
                running.__file__,
                *words,
            ],
            env=self.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def write_slow_server(self) -> Path:
        """Let ``server.py`` wait until the file that is returned exists."""
        gate = self.home.parent / "gate"
        self.write(
            "server.py",
            f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.02)\n{SERVER}",
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
        end_marked(NVOI_STATE=str(self.state.root))


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
