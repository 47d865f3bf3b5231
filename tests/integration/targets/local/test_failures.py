from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest

from nvoi.errors import CommandError, ConfigError, NvoiError, ServiceError
from nvoi.outcome import Serving
from nvoi.targets.local.context import open_context
from nvoi.targets.local.supervisor import get_supervisor
from tests.integration.targets.local.application import PYTHON, App
from tests.ports import find_port
from tests.waiting import fetch_from, wait_until

#: Puts itself into the background, where it serves once what began it has surely ended.
DAEMON = f"setsid sh -c 'sleep 1; exec {PYTHON} server.py' >/dev/null 2>&1 & sleep 0.1"

Fail = Callable[..., NvoiError]


@pytest.fixture
def fail(app: App) -> Fail:
    """Fails a deploy of an app that has been deployed, with other settings of its service.

    Nothing may disturb the release that serves, or be left of the other. Where a deploy fails as
    late as in the switch, the old release was started again.
    """
    app.write("page", "old")
    port = app.add_server()
    app.deploy()
    usual, release, pids = app.services["web"], app.state.find_current(), app.find_processes()
    app.write("page", "new")

    def deploy(match: str, *, is_switched: bool = False, **settings: Any) -> NvoiError:
        app.services["web"] = usual | settings
        with pytest.raises(NvoiError, match=match) as caught:
            app.deploy()
        assert fetch_from(port, "file/page") == "old", match
        assert app.state.find_current() == release, match
        assert app.state.list_releases() == [release], match
        assert not (app.state.run / "trial").exists(), match
        left = app.find_processes()
        assert len(left) == len(pids) if is_switched else left == pids, match
        return caught.value

    return deploy


def test_a_release_that_cannot_be_prepared_or_started_is_not_switched_to(fail: Fail) -> None:
    error = fail("of web exited with 4", pre_run_command="seq 25; echo last >&2; exit 4")
    assert isinstance(error, CommandError)
    assert error.output == (*map(str, range(7, 26)), "last")
    fail("was ended by SIGKILL", pre_run_command="kill -9 $$")
    error = fail("web exited with 3 after", command="seq 30; echo no config >&2; exit 3")
    assert isinstance(error, ServiceError)
    assert error.output == (*map(str, range(12, 31)), "no config")
    fail("web was terminated by SIGSEGV", command="kill -SEGV $$")
    fail("cannot be executed", command="./page")
    error = fail("command not found", command="no-such-command --serve")
    assert "application.app.web.command" in error.hint
    assert "no-such-command" in error.output[-1]
    error = fail("it put itself into the background", command=DAEMON)
    assert "run it in the foreground" in error.hint


def test_a_release_that_is_not_well_or_does_not_stay_so_is_not_switched_to(
    app: App, fail: Fail
) -> None:
    error = fail(
        r"not healthy within 4 s.*answered 503",
        env={"HEALTH": "503"},
        healthcheck={"interval": "1s", "retries": 4},
    )
    assert error.output[0].startswith("serving on")
    assert error.hint.startswith("let GET /health answer with 200 to 399, or change ")
    error = fail(
        "connection refused",
        command="exec sleep 1000",
        healthcheck={"interval": "100ms", "retries": 2},
    )
    assert "must listen on $PORT" in error.hint
    # It ends soon after it was asked.
    timer = "    __import__('_signal').setitimer(0, 0.1)\n"
    app.write("server.py", (app.directory / "server.py").read_text() + timer)
    fail("web was terminated by SIGALRM", min_ready=10)


def test_a_release_that_fails_in_the_switch_is_switched_back(app: App, fail: Fail) -> None:
    port, command = app.services["web"]["port"], app.services["web"]["command"]
    on_port = f'test "$PORT" != {port} || exit 5; {command}'
    fail("web exited with 5", command=on_port, is_switched=True)
    app.services["worker"] = {"command": "echo cannot work; sleep 0.3; exit 6"}
    # On a busy machine it is started once more before nvoi looks.
    assert {*fail("worker exited with 6", is_switched=True).output} == {"cannot work"}
    app.services["worker"] = {"command": f"PORT={find_port()} {DAEMON}"}
    error = fail("worker .*it put itself into the background", is_switched=True)
    assert "run it in the foreground" in error.hint

    # It is well once it has ended the other one, which was well and is started again.
    server = (app.directory / "server.py").read_text()
    tell = "open('asked-' + os.environ['PORT'], 'w').write(str(os.getpid()))"
    app.write("server.py", server.replace("if words:\n", f"if words:\n            {tell}\n"))
    asked = f"asked-{port}"
    app.services["worker"] = {
        "command": f"until [ -s {asked} ]; do sleep 0.1; done; kill -9 $(cat {asked}); "
        "touch done; exec sleep 1000",
        "healthcheck": {"type": "exec", "command": "test -e done", "interval": "5s"},
    }
    fail("web was terminated by SIGKILL", is_switched=True)


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


def test_a_failed_first_deploy_waits_for_no_other_service_and_leaves_nothing_running(
    app: App,
) -> None:
    app.add_server("slow", command="exec sleep 1000", healthcheck={"interval": "200s"})
    app.add_server("broken", command="exit 7")
    with pytest.raises(ServiceError, match="broken exited with 7"):
        app.deploy()
    assert app.find_all() == []
    assert app.state.find_current() is None
    assert app.state.list_releases() == []


def test_what_a_failed_command_has_left_running_ends_with_its_release(app: App) -> None:
    app.add_server(pre_run_command="setsid sleep 1000 & exit 1")
    with pytest.raises(CommandError):
        app.deploy()
    assert app.find_processes() == []


def test_a_taken_port_is_found_before_anything_switches(app: App, fail: Fail) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = f"port {port} of web is taken by "
        error = fail(taken, port=port, pre_run_command="touch ../ran")
        assert f"(pid {os.getpid()})" in error.message
        assert "application.app.web.port" in error.hint
        with pytest.raises(ServiceError, match=taken):
            app.plan()
    assert not (app.state.releases / "ran").exists()
    # So is that of another app of nvoi's.
    neighbour = App(app.home.parent, "other")
    neighbour.services["web"] = app.services["web"] | {"port": find_serving_port(app)}
    with pytest.raises(ServiceError, match="of web is taken by"):
        neighbour.deploy()


def find_serving_port(app: App) -> int:
    with open_context(app.build_request()) as context:
        (url,) = context.find_serving().urls
    return int(url.rpartition(":")[2])


def test_a_full_disk_is_told_and_leaves_no_half_made_release(app: App) -> None:
    app.add_server()
    app.write("big", "x" * 300_000)
    # A limit on the size of a file: a write fails as on a full disk.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(NvoiError, match="no room left for the state folder") as caught:
            app.deploy()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(app.state.root) in caught.value.message
    assert "NVOI_HOME" in caught.value.hint
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
    port = app.add_server()
    app.services["api"] = {"command": "x", "port": port}
    with pytest.raises(ConfigError, match=r"application\.app\.api\.port"):
        app.deploy()
    assert not app.home.exists()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_mount_below_what_is_no_folder_is_refused_and_leaves_what_a_link_shows(
    app: App, kind: str
) -> None:
    kept = app.home.parent / "important/uploads/kept"
    kept.parent.mkdir(parents=True)
    kept.write_text("x")
    if kind == "file":
        app.write("public")
    else:
        (app.directory / "public").symlink_to(kept.parent.parent)
    app.add_server(mounts={"store": "public/uploads"})
    for run in (app.plan, app.deploy):
        with pytest.raises(NvoiError, match=f"public is a {kind} in the checkout"):
            run()
    assert kept.read_text() == "x"
    assert app.state.list_releases() == []
