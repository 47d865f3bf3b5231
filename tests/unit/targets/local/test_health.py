"""What one look at a service sees, which this process plays."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from nvoi.config.loader import load
from nvoi.operation import Request
from nvoi.targets.local.context import preview
from nvoi.targets.local.health import Startup, look
from nvoi.targets.local.programs import find_health_port
from nvoi.targets.local.supervisor import Program
from nvoi.waiting import NotReadyError
from tests.unit.config.texts import local


@contextmanager
def serve(talk: Callable[[socket.socket], object]) -> Iterator[int]:
    """The port of a server that talks to whoever has connected and asked."""

    def accept() -> None:
        while True:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                if connection.recv(4096) == b"end":
                    return
                talk(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            with socket.create_connection(server.getsockname()) as last:
                last.sendall(b"end")
            thread.join()


def look_at(folder: Path, port: int, check: str = "") -> None:
    """Look once at a service on ``port``; this process is the one that serves."""
    text = local(f"app: {{web: {{command: x, port: {port}, healthcheck: {{{check}}}}}}}")
    config = load(text, filename="deploy.yml", environ=None)
    request = Request(config, folder, folder, "deploy-1", environ=os.environ)
    context = preview(request)
    (context.state.releases / "1").mkdir(parents=True)
    context.release = "1"
    service = config.application.app["web"]
    program = Program(service.name, context.release)
    look(
        Startup(
            context=context,
            service=service,
            program=program,
            environment=os.environ,
            port=port,
            health_port=find_health_port(service),
            log_size=0,
            daemon_log_size=0,
        ),
        os.getpid(),
    )


def drip(connection: socket.socket) -> None:
    for byte in b"HTTP/1.0 200 OK" * 9:
        connection.send(bytes([byte]))
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("talk", "seen"),
    [
        (lambda _: None, "closed the connection without an answer"),
        (lambda it: it.sendall(b"220 smtp ready\r\n"), "did not answer in HTTP"),
        (lambda it: it.recv(1), "gave no answer in time"),
        (drip, "gave no answer in time"),
    ],
)
def test_a_service_that_does_not_answer_in_http_or_in_time_is_told_so(
    tmp_path: Path, talk: Callable[[socket.socket], object], seen: str
) -> None:
    timeout = "500ms" if "in time" in seen else "60s"
    with serve(talk) as port, pytest.raises(NotReadyError, match=f"port {port} {seen}"):
        look_at(tmp_path, port, f"timeout: {timeout}")


@pytest.mark.parametrize(
    ("check", "seen"),
    [
        ("type: tcp, port: 1", "connection refused: nothing listens on port 1"),
        ("type: exec, command: exit 9", "the check's command exited with 9"),
        ("type: exec, command: sleep 1000, timeout: 100ms", "command did not end in time"),
    ],
)
def test_what_a_healthcheck_saw_is_told(tmp_path: Path, check: str, seen: str) -> None:
    with serve(lambda _: None) as port, pytest.raises(NotReadyError, match=seen):
        look_at(tmp_path, port, check)
