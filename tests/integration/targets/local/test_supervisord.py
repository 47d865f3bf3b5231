from __future__ import annotations

import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from xmlrpc.server import SimpleXMLRPCDispatcher, SimpleXMLRPCRequestHandler

import pytest

from nvoi.errors import NvoiError, ServiceError
from nvoi.targets.local.programs import kill_groups
from nvoi.targets.local.rollout import SWITCH
from nvoi.targets.local.supervisor import GoneError, Supervisor, check_peer
from tests.integration.targets.local.application import App
from tests.waiting import fetch_from


def test_a_supervisord_that_is_not_there_is_gone(folder: Path) -> None:
    with pytest.raises(GoneError, match="not to be reached"):
        Supervisor(folder / "socket").get_pid()


def test_a_supervisord_that_accepts_and_never_answers_is_told(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        with pytest.raises(NvoiError, match="does not answer"):
            Supervisor(folder / "socket", seconds=0.1).get_pid()


def test_a_socket_in_a_folder_that_others_may_write_to_is_not_spoken_to(folder: Path) -> None:
    folder.chmod(0o777)
    with pytest.raises(NvoiError, match="others may write to"):
        Supervisor(folder / "socket").get_pid()


def test_supervisord_has_none_of_the_callers_keys_and_what_it_refuses_is_told(app: App) -> None:
    app.environ["DEPLOY_KEY"] = "k" * 64
    app.services["worker"] = {
        "command": "exec sleep 1000",
        "healthcheck": {"type": "exec", "command": "true"},
    }
    context = app.deploy()
    environ = Path(f"/proc/{app.get_daemon_pid()}/environ").read_bytes()
    assert b"DEPLOY_KEY" not in environ
    folders = app.environ["PATH"].split(os.pathsep)
    path = os.pathsep.join(one for one in folders if one != str(Path(sys.executable).parent))
    assert os.fsencode(path) in environ
    with pytest.raises(NvoiError, match="supervisord refuses getProcessInfo: BAD_NAME"):
        Supervisor(app.state.socket).get_info("no-such-program")
    # A deploy may find it gone before the switch.
    app.delete()
    with pytest.raises(ServiceError, match="has ended in the middle of the deploy"):
        SWITCH.run(context)


def test_a_supervisord_that_dies_in_a_trial_fails_the_deploy_and_leaves_nothing(app: App) -> None:
    app.add_server(command="kill -9 $PPID; exec sleep 1000")
    with pytest.raises(NvoiError, match="not to be reached"):
        app.deploy()
    assert app.find_all() == []
    assert app.state.list_releases() == []


def test_a_supervisord_that_dies_in_the_switch_is_started_again_with_the_old_release(
    app: App,
) -> None:
    app.write("page", "old")
    port = app.add_server()
    app.deploy()
    app.write("page", "new")
    app.services["worker"] = {"command": "kill -9 $PPID; exec sleep 1000"}
    with pytest.raises(NvoiError, match="not to be reached"):
        app.deploy()
    assert fetch_from(port, "file/page") == "old"
    assert len(app.find_processes()) == 1


def test_an_old_release_that_does_not_come_back_is_told(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("nvoi.targets.local.rollout.BACK_SECONDS", 0.5)
    broken = app.home.parent / "broken"
    app.add_server()
    command = app.services["web"]["command"]
    app.services["web"]["command"] = f"! test -e {broken} || exit 9; {command}"
    app.deploy()
    app.services["web"]["command"] = command
    app.services["worker"] = {"command": f"touch {broken}; exit 1"}
    with pytest.raises(ServiceError, match="worker exited with 1"):
        app.deploy()
    assert f"release {app.state.find_current()} does not serve again" in caplog.text


class Impostor(socketserver.UnixStreamServer, SimpleXMLRPCDispatcher):
    """Answers as supervisord would, but names another process as its own."""

    logRequests = False  # noqa: N815 - its handler reads it

    def __init__(self, path: Path, pid: int) -> None:
        SimpleXMLRPCDispatcher.__init__(self)
        socketserver.UnixStreamServer.__init__(self, str(path), Answer)
        self.register_function(lambda: pid, "supervisor.getPID")
        self.register_function(lambda: True, "supervisor.shutdown")
        self.register_function(list, "supervisor.getAllProcessInfo")


class Answer(SimpleXMLRPCRequestHandler):
    disable_nagle_algorithm = False


@pytest.fixture
def bystander(app: App) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of the app's, and that an impostor names."""
    path = app.state.socket
    path.parent.mkdir(parents=True, mode=0o700)
    with subprocess.Popen(["sleep", "100"]) as process, Impostor(path, process.pid) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield process
        server.shutdown()
        process.kill()


def test_no_process_is_ended_that_an_impostor_names(
    app: App, bystander: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nvoi.targets.local.supervisor.STOP_SECONDS", 0.1)
    with pytest.raises(NvoiError, match="no process of the app's"):
        app.delete()
    assert bystander.poll() is None


def test_only_this_users_processes_are_spoken_to() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        check_peer(ours, os.getuid())
        with pytest.raises(NvoiError, match=f"that of user {os.getuid()}, not of user"):
            check_peer(ours, os.getuid() + 1)


def test_no_group_is_killed_that_holds_no_process_of_the_app() -> None:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        kill_groups([process.pid], {"NVOI_STATE": "/no/such/app"})
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.kill()
