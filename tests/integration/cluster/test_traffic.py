"""The traffic check, over a real connection to a server that leads to the services."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nvoi.errors import HostsError
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.traffic import run
from tests.integration.cluster.conftest import StartMachine

NAMES = ("shop-web", "shop-admin")
#: Seconds that one waits for the other to be asked too.
PATIENCE = 10.0


class Meeting:
    """Answers the visitors of one service only while those of the other wait as well."""

    def __init__(self) -> None:
        barrier = threading.Barrier(len(NAMES))
        self.status = 200
        meeting = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                barrier.wait(PATIENCE)
                self.send_response(meeting.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def meeting() -> Iterator[Meeting]:
    """What answers for both services."""
    made = Meeting()
    yield made
    made.close()


@pytest.fixture
def context(
    start_machine: StartMachine, connections: Connections, meeting: Meeting
) -> ClusterContext:
    """A run that has rolled two services out."""
    master = Server("main-1", "main", start_machine().host, is_master=True)
    probe = {"httpGet": {"path": "/up", "port": 3000}, "timeoutSeconds": PATIENCE}
    port = {"port": meeting.port, "targetPort": 3000}
    container = {"readinessProbe": probe}
    deployment: dict[str, Any] = {"template": {"spec": {"containers": [container]}}}
    made = SimpleNamespace(
        master=master,
        connections=connections,
        services=[
            {"metadata": {"name": name}, "spec": {"clusterIP": "127.0.0.1", "ports": [port]}}
            for name in NAMES
        ],
        serving=[
            {"kind": "Deployment", "metadata": {"name": name}, "spec": deployment} for name in NAMES
        ],
    )
    return cast("ClusterContext", made)


def test_all_services_are_asked_at_once(
    context: ClusterContext, logged: pytest.LogCaptureFixture
) -> None:
    run(context)
    assert all(f"{name} answers" in logged.text for name in NAMES)


def test_all_that_do_not_answer_well_are_told(
    context: ClusterContext, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nvoi.targets.cluster.traffic.SECONDS", 0.2)
    meeting.status = 500
    with pytest.raises(HostsError) as caught:
        run(context)
    assert all(f"{name} does not answer" in str(caught.value) for name in NAMES)
    assert "it answered 500" in str(caught.value)
