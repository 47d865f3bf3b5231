from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from nvoi.errors import CommandError, ConfigError, NvoiError, ServiceError
from nvoi.outcome import Serving
from nvoi.targets.local.context import open_context
from nvoi.targets.local.supervisor import get_supervisor
from tests.integration.local.application import App
from tests.ports import find_port
from tests.waiting import PATIENCE, fetch_from, wait_until

#: Ends the server on a port as soon as it answers, and goes on.
END = """
import os, pathlib, signal, sys, time, urllib.request

while True:
    try:
        pid = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/pid").read()
        break
    except OSError:
        time.sleep(0.05)
os.kill(int(pid), signal.SIGKILL)
pathlib.Path("done").touch()
signal.pause()
"""


@pytest.fixture
def serving(app: App) -> Iterator[tuple[App, int]]:
    """An app that has been deployed; nothing a later deploy fails at may disturb it."""
    app.write("page", "old")
    port = app.add_server()
    app.deploy()
    release, pids = app.state.find_current(), app.find_processes()
    app.write("page", "new")
    yield app, port
    assert fetch_from(port, "file/page") == "old"
    assert app.state.find_current() == release
    assert app.state.list_releases() == [release]
    assert not (app.state.run / "trial").exists()
    assert len(app.find_processes()) == len(pids)


def test_a_failing_pre_run_command_leaves_the_old_release_serving(
    serving: tuple[App, int],
) -> None:
    app, _ = serving
    app.services["web"]["pre_run_command"] = "echo first; echo last >&2; exit 4"
    pids = app.find_processes()
    with pytest.raises(CommandError, match="pre_run_command of web exited with 4") as caught:
        app.deploy()
    assert caught.value.output == ("first", "last")
    assert app.find_processes() == pids


def test_a_pre_run_command_that_a_signal_ends_is_told_so(serving: tuple[App, int]) -> None:
    app, _ = serving
    app.services["web"]["pre_run_command"] = "kill -9 $$"
    with pytest.raises(CommandError, match="was ended by SIGKILL"):
        app.deploy()


def test_a_service_that_never_becomes_healthy_is_not_switched_to(
    serving: tuple[App, int],
) -> None:
    app, _ = serving
    app.write("health", "503")
    app.services["web"]["healthcheck"] = {"interval": "100ms", "retries": 5}
    pids = app.find_processes()
    with pytest.raises(ServiceError, match=r"not healthy within 0\.5 s.*answered 503") as caught:
        app.deploy()
    assert caught.value.output[0].startswith("serving on")
    assert caught.value.hint.startswith("let GET /health answer with 200 to 399, or change ")
    assert app.find_processes() == pids


def test_a_service_that_exits_at_once_is_told_with_its_last_lines(
    serving: tuple[App, int],
) -> None:
    app, _ = serving
    app.services["web"]["command"] = "seq 30; echo no config >&2; exit 3"
    with pytest.raises(ServiceError, match="web exited with 3 after") as caught:
        app.deploy()
    assert caught.value.output == (*map(str, range(12, 31)), "no config")


def test_a_service_that_a_signal_ends_is_told_so(serving: tuple[App, int]) -> None:
    app, _ = serving
    app.services["web"]["command"] = "kill -SEGV $$"
    with pytest.raises(ServiceError, match="web was terminated by SIGSEGV"):
        app.deploy()


@pytest.mark.parametrize("kind", ["service", "worker"])
def test_a_command_that_goes_into_the_background_is_told_to_stay(
    serving: tuple[App, int], kind: str
) -> None:
    app, _ = serving
    # It serves once what began it has surely ended.
    serve = f"sleep 1; exec {sys.executable} -S server.py"
    command = f"setsid sh -c '{serve}' >/dev/null 2>&1 & sleep 0.1"
    if kind == "service":
        app.services["web"]["command"] = command
    else:
        app.services["worker"] = {"command": f"PORT={find_port()} {command}"}
    with pytest.raises(ServiceError, match=r"it put itself into the background") as caught:
        app.deploy()
    assert "run it in the foreground" in caught.value.hint


def test_a_command_that_is_not_there_is_named(serving: tuple[App, int]) -> None:
    app, _ = serving
    app.services["web"]["command"] = "no-such-command --serve"
    with pytest.raises(ServiceError, match="command not found") as caught:
        app.deploy()
    assert "application.app.web.command" in caught.value.hint
    assert "no-such-command" in caught.value.output[-1]


def test_a_command_that_may_not_be_executed_is_told_so(serving: tuple[App, int]) -> None:
    app, _ = serving
    app.services["web"]["command"] = "./page"
    with pytest.raises(ServiceError, match="cannot be executed"):
        app.deploy()


def test_a_service_that_ignores_port_is_told_to_listen_there(serving: tuple[App, int]) -> None:
    app, _ = serving
    app.services["web"] |= {
        "command": "exec sleep 1000",
        "healthcheck": {"interval": "100ms", "retries": 2},
    }
    with pytest.raises(ServiceError, match="connection refused") as caught:
        app.deploy()
    assert "must listen on $PORT" in caught.value.hint


def test_a_service_that_fails_on_its_real_port_gives_it_back(serving: tuple[App, int]) -> None:
    app, port = serving
    command = app.services["web"]["command"]
    app.services["web"]["command"] = f'test "$PORT" != {port} || exit 5; {command}'
    with pytest.raises(ServiceError, match="web exited with 5"):
        app.deploy()


def test_one_failing_service_takes_all_back(serving: tuple[App, int]) -> None:
    app, _ = serving
    app.services["worker"] = {"command": "echo cannot work; sleep 0.3; exit 6"}
    with pytest.raises(ServiceError, match="worker exited with 6") as caught:
        app.deploy()
    assert caught.value.output == ("cannot work",)


def test_a_service_that_ends_soon_after_it_was_well_fails_on_trial(
    serving: tuple[App, int],
) -> None:
    app, port = serving
    ends = "threading.Timer(0.1, os._exit, [6]).start()"
    server = (app.directory / "server.py").read_text()
    app.write(
        "server.py", server.replace("status, text =", f"import threading; {ends}; status, text =")
    )
    pid = fetch_from(port, "pid")
    del app.services["web"]["min_ready"]
    with pytest.raises(ServiceError, match="web exited with 6"):
        app.deploy()
    # The release before it was not even stopped.
    assert fetch_from(port, "pid") == pid


def test_a_service_that_ends_before_all_are_well_fails_the_switch(
    serving: tuple[App, int],
) -> None:
    app, port = serving
    # It is well once it has ended the other one, which is started again.
    app.write("end.py", END)
    app.services["worker"] = {
        "command": f"exec {sys.executable} -S end.py {port}",
        "healthcheck": {"type": "exec", "command": "test -e done", "interval": "5s"},
    }
    with pytest.raises(ServiceError, match="web was terminated by SIGKILL"):
        app.deploy()
    assert fetch_from(port, "health") == ""


def test_what_serves_and_where_the_log_is_is_found_as_it_is(app: App) -> None:
    port = app.add_server()
    app.services["worker"] = {"command": "exec sleep 1000"}
    with open_context(app.build_request()) as context:
        assert (context.find_serving(), context.find_log()) == (Serving("", [], []), "")
    app.deploy()
    release, logs = app.state.find_current() or "", str(app.state.logs)
    url = f"http://localhost:{port}"
    with open_context(app.build_request()) as context:
        assert (context.find_serving(), context.find_log()) == (Serving(release, [url], []), logs)
        get_supervisor(app.state).begin_stop("service.web")
        wait_until(lambda: context.find_serving() == Serving(release, [], ["web"]), "web to stop")
        os.kill(app.get_daemon_pid(), signal.SIGKILL)
        wait_until(
            lambda: context.find_serving() == Serving(release, [], ["web", "worker"]), "the end"
        )


def test_a_failing_service_does_not_wait_for_the_others(app: App) -> None:
    app.add_server("slow", command="exec sleep 1000", healthcheck={"interval": "60s"})
    app.add_server("broken", command="exit 7")
    began = time.monotonic()
    with pytest.raises(ServiceError, match="broken exited with 7"):
        app.deploy()
    assert time.monotonic() - began < PATIENCE


def test_a_failed_first_deploy_leaves_nothing_running(app: App) -> None:
    app.services["worker"] = {"command": "exit 8"}
    with pytest.raises(ServiceError, match="worker exited with 8"):
        app.deploy()
    assert app.find_all() == []
    assert app.state.find_current() is None
    assert app.state.list_releases() == []


def test_a_taken_port_is_found_before_anything_switches(serving: tuple[App, int]) -> None:
    app, _ = serving
    pids = app.find_processes()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        app.services["web"] |= {"port": port, "pre_run_command": "touch ../ran"}
        with pytest.raises(ServiceError, match=f"port {port} of web is taken by ") as caught:
            app.deploy()
        assert f"(pid {os.getpid()})" in caught.value.message
        assert "application.app.web.port" in caught.value.hint
        with pytest.raises(ServiceError, match=f"port {port} of web is taken by "):
            app.plan()
    assert not (app.state.releases / "ran").exists()
    assert app.find_processes() == pids


def test_the_port_of_another_app_of_nvois_is_taken(app: App, folder: object) -> None:
    port = app.add_server()
    app.deploy()
    other = App(app.home.parent, "other")
    other.add_server(port=port)
    other.services["web"]["port"] = port
    try:
        with pytest.raises(ServiceError, match=f"port {port} of web is taken by"):
            other.deploy()
    finally:
        other.tear_down()


@pytest.mark.parametrize(
    ("check", "seen"),
    [
        ({"type": "tcp", "port": 1}, "connection refused: nothing listens on port 1"),
        ({"type": "exec", "command": "exit 9"}, "the check's command exited with 9"),
        (
            {"type": "exec", "command": "sleep 1000", "timeout": "100ms"},
            "the check's command did not end in time",
        ),
    ],
)
def test_what_a_healthcheck_saw_last_is_told(app: App, check: dict[str, str], seen: str) -> None:
    app.add_server(healthcheck=check | {"interval": "100ms", "retries": 20})
    with pytest.raises(ServiceError, match=seen):
        app.deploy()


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        ("", "closed the connection without an answer"),
        ("220 smtp ready\r\n", "did not answer in HTTP"),
    ],
)
def test_a_service_that_speaks_no_http_is_told_so(app: App, answer: str, seen: str) -> None:
    app.write(
        "server.py",
        "import os, socket\n"
        "with socket.create_server(('127.0.0.1', int(os.environ['PORT']))) as server:\n"
        "    while True:\n"
        "        connection, _ = server.accept()\n"
        "        connection.recv(1000)\n"
        f"        connection.sendall({answer.encode()!r})\n"
        "        connection.close()\n",
    )
    app.add_server(healthcheck={"interval": "100ms", "retries": 20})
    with pytest.raises(ServiceError, match=seen):
        app.deploy()


def test_a_service_that_accepts_and_never_answers_is_not_healthy(app: App) -> None:
    app.write(
        "server.py",
        "import os, socket, time\n"
        "server = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
        "time.sleep(1000)\n",
    )
    app.add_server(healthcheck={"interval": "200ms", "retries": 10, "timeout": "200ms"})
    with pytest.raises(ServiceError, match="gave no answer in time"):
        app.deploy()


def test_an_answer_of_one_byte_at_a_time_is_cut_off_by_the_timeout(app: App) -> None:
    app.write(
        "server.py",
        "import os, socket, threading, time\n"
        "server = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
        "while True:\n"
        "    connection, _ = server.accept()\n"
        "    try:\n"
        "        for byte in b'HTTP/1.0 200 OK' * 9:\n"
        "            connection.send(bytes([byte]))\n"
        "            time.sleep(0.1)\n"
        "    except OSError:\n"
        "        pass\n",
    )
    app.add_server(healthcheck={"interval": "100ms", "retries": 10, "timeout": "300ms"})
    began = time.monotonic()
    with pytest.raises(ServiceError, match="web was not healthy"):
        app.deploy()
    assert time.monotonic() - began < 30


def test_a_full_disk_is_told_and_leaves_no_half_made_release(app: App) -> None:
    app.add_server()
    app.write("big", "x" * 300_000)
    # A limit on the size of a file, in blocks of 512 bytes: a write fails as on a full disk.
    with app.start(before="ulimit -f 200") as run:
        output, _ = run.communicate()
    assert run.returncode == 1
    assert f"no room left for the state folder {app.state.root}" in output
    assert "NVOI_HOME" in output
    assert app.state.list_releases() == []


def test_a_home_that_cannot_be_written_is_named(app: App) -> None:
    app.add_server()
    app.home.write_text("in the way")
    for run in (app.plan, app.deploy):
        with pytest.raises(NvoiError, match=f"folder {app.state.root} cannot be used") as caught:
            run()
        assert "NVOI_HOME" in caught.value.hint


@pytest.mark.parametrize("name", ["releases", "volumes", "run", "supervisor", "logs"])
def test_a_state_folder_that_something_is_in_the_way_of_is_named(app: App, name: str) -> None:
    app.add_server(mounts={"store": "data"})
    app.state.root.mkdir(parents=True)
    (app.state.root / name).write_text("in the way")
    with pytest.raises(NvoiError, match=f"state folder {app.state.root} cannot be used"):
        app.deploy()
    assert app.find_processes() == []


def test_a_supervisord_that_cannot_start_is_told_with_what_it_said(app: App) -> None:
    app.add_server()
    (app.state.supervisor / "supervisord.log").mkdir(parents=True)
    with pytest.raises(NvoiError, match="supervisord did not start: exit status") as caught:
        app.deploy()
    assert "supervisord.log" in "\n".join(caught.value.output)


def test_an_empty_checkout_is_told(app: App) -> None:
    app.add_server()
    (app.directory / "server.py").unlink()
    with pytest.raises(NvoiError, match=f"{app.directory} holds no files"):
        app.deploy()


def test_a_config_that_cannot_run_here_is_refused_before_anything_is_touched(app: App) -> None:
    port = find_port()
    app.add_server("web", port=port)
    app.services["web"]["port"] = port
    app.services["api"] = {"command": "x", "port": port}
    with pytest.raises(ConfigError, match=r"application\.app\.api\.port"):
        app.deploy()
    assert not app.home.exists()
