from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from pathlib import Path

import pytest

from nvoi.errors import UsageError
from nvoi.protocol import Tunnel
from tests.integration.targets.local.application import PYTHON, App, is_serving, read_conf
from tests.ports import find_port
from tests.waiting import fetch_from, run_program, wait_until


def get_release(app: App) -> str:
    release = app.state.find_current()
    assert release is not None
    return release


def test_each_deploy_takes_the_place_of_the_one_before_under_the_same_supervisord(app: App) -> None:
    app.config["keep_count"] = 1
    app.write("page", "old")
    port = app.add_server()
    context = app.deploy()
    first, daemon = get_release(app), app.get_daemon_pid()
    assert fetch_from(port, "cwd") == str(app.state.releases / first)
    assert context.tunnels == [Tunnel("web", f"localhost:{port}")]
    assert context.urls == [f"http://localhost:{port}"]
    assert_private(app)
    output = app.state.logs / "web.log"
    wait_until(lambda: f"serving on {port}" in output.read_text(), "the service's log")
    assert stat.S_IMODE(output.stat().st_mode) == 0o600

    app.write("page", "new")
    seen = app.home.parent / "seen"
    look = f"busybox wget -q -O {seen} http://127.0.0.1:{port}/file/page"
    app.services["web"]["pre_run_command"] = look
    app.deploy()
    assert seen.read_text() == "old", "the old release serves while the new one is prepared"
    assert fetch_from(port, "file/page") == "new"
    second = get_release(app)
    assert second > first
    assert app.get_daemon_pid() == daemon
    assert len(app.find_processes()) == 1
    assert not (app.state.run / "trial").exists()

    before = snapshot_of(app.home)
    text = "\n".join(app.plan())
    assert f"would stop web of release {second} on port {port}" in text
    assert f"would remove release {first}" in text
    assert snapshot_of(app.home) == before

    app.deploy()
    kept = [second, get_release(app)]
    assert app.state.list_releases() == kept
    assert sorted(path.name for path in app.state.run.iterdir() if path.is_dir()) == kept

    [pid] = app.find_processes()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: set(app.find_processes()) - {pid}, "the service to be started again")
    wait_until(lambda: is_serving(port), "the service to serve again")


def assert_private(app: App) -> None:
    """The state is for this user alone."""
    assert stat.S_IMODE(app.state.root.stat().st_mode) == 0o700
    for path in app.state.root.iterdir():
        others = stat.S_IMODE(path.stat().st_mode) & 0o077
        assert path.name == "current" or others == 0, path


def snapshot_of(folder: Path) -> dict[str, int]:
    return {
        str(path): path.lstat().st_mtime_ns
        for path in folder.rglob("*")
        if not path.name.endswith(".log")
    }


def test_services_may_exchange_their_ports_move_and_go(app: App) -> None:
    first = app.add_server("web", env={"NAME": "web"})
    second = app.add_server("api", env={"NAME": "api"})
    app.deploy()
    assert (fetch_from(first, "env/NAME"), fetch_from(second, "env/NAME")) == ("web", "api")
    app.services["web"]["port"], app.services["api"]["port"] = second, first
    app.deploy()
    assert (fetch_from(first, "env/NAME"), fetch_from(second, "env/NAME")) == ("api", "web")

    del app.services["api"]
    app.services["web"]["port"] = third = find_port()
    app.deploy()
    assert fetch_from(third, "env/PORT") == str(third)
    for port in (first, second):
        assert not is_serving(port)
    assert "/api.sh" not in read_conf(app)

    release = get_release(app)
    app.services.clear()
    app.deploy()
    assert get_release(app) > release
    assert not is_serving(third)


def test_services_are_well_by_what_their_config_asks_for(app: App) -> None:
    app.services["worker"] = {"command": "echo $$ > pid; exec sleep 1000"}
    app.services["asked"] = {
        "command": "echo up > ready; exec sleep 1000",
        "env": {"WANTED": "up"},
        "healthcheck": {"type": "exec", "command": 'test "$(cat ready)" = "$WANTED"'},
    }
    # A redirect is healthy, and is not followed.
    redirecting = app.add_server("redirecting", env={"HEALTH": "302"})
    # Without a healthcheck it need only accept connections.
    bare = app.add_server("bare", env={"HEALTH": "503"})
    del app.services["bare"]["healthcheck"]
    context = app.deploy()
    ports = {"redirecting": redirecting, "bare": bare}
    assert context.tunnels == [Tunnel(name, f"localhost:{port}") for name, port in ports.items()]
    worker = int((app.state.releases / get_release(app) / "pid").read_text())
    assert worker in app.find_processes()
    assert len(app.find_processes()) == 4


def test_the_environment_reaches_the_service_as_it_was_written_and_no_key_does(app: App) -> None:
    values = ['it\'s "quoted" $HOME `id` \\', "two\nlines\n", "100%(x)s %d ; # no", " é ", ""]
    secret = "s3cret-of-the-test"
    app.config["secrets"] = {"TOKEN": secret}
    app.environ |= {"DEPLOY_KEY": "k" * 64, "NVOI_MASTER_KEY": "k" * 64, "TZ": "UTC"}
    env = {f"VALUE_{number}": value for number, value in enumerate(values)}
    has_all = f'test "$TOKEN" = {secret} -a -z "$DEPLOY_KEY$NVOI_MASTER_KEY" -a -e server.py'
    port = app.add_server(env=env, pre_run_command=has_all)
    app.deploy()
    assert [fetch_from(port, f"env/{name}") for name in env] == values
    assert fetch_from(port, "env/TOKEN") == secret
    names = fetch_from(port, "names").split()
    assert {"PATH", "PORT", "TZ", "DEPLOY_ENV"} <= set(names)
    assert not {"DEPLOY_KEY", "NVOI_MASTER_KEY", "NVOI_DEBUG", "SUPERVISOR_ENABLED"} & set(names)

    assert secret not in run_program("ps", "-eo", "args")
    assert secret not in read_conf(app)
    holders = [
        path
        for path in app.state.root.rglob("*")
        if path.is_file() and not path.is_symlink() and secret in path.read_text("utf-8", "replace")
    ]
    assert holders
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}


def test_what_a_command_prints_is_logged_while_it_runs_and_it_finds_no_input(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    gate = app.home.parent / "gate"
    # As a Python program prints, which nobody told to write at once.
    app.write(
        "talk.py",
        "import os, sys, time\nprint(f'early{sys.stdin.read()}')\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.05)\nprint('late')\n",
    )
    app.add_server(pre_run_command=f"{sys.executable} -S talk.py")
    run = threading.Thread(target=app.deploy)
    run.start()
    wait_until(lambda: "web: early" in caplog.messages, "the first line")
    assert "web: late" not in caplog.messages
    gate.touch()
    run.join()
    assert "web: late" in caplog.messages


def test_nothing_that_the_app_starts_runs_in_nvois_own_environment(app: App) -> None:
    own = str(Path(sys.executable).parent)
    app.environ |= {"PATH": f"{own}:{app.environ['PATH']}", "VIRTUAL_ENV": str(Path(own).parent)}
    # This one supervisord gets: nvoi may have been found by it.
    app.environ |= {"PYTHONHOME": sys.base_prefix, "PYTHONPATH": os.pathsep.join(sys.path)}
    seen = app.home.parent / "seen"
    count = 'env | grep -c "^VIRTUAL_ENV=\\|^PYTHON[HP]"'
    tell = f'echo "$({count}) $PATH:" >> {seen}'
    app.add_server(
        pre_run_command=tell,
        command=f"{tell}; exec {PYTHON} server.py",
        healthcheck={"type": "exec", "command": tell},
    )
    app.deploy()
    lines = seen.read_text().splitlines()
    assert len(lines) > 3
    assert not [line for line in lines if f"{own}:" in line]
    assert {line.partition(" ")[0] for line in lines} == {"0"}


def test_volumes_and_the_sqlite_database_outlive_releases(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    app.write("data/from-checkout")
    app.config["database"] = {"adapter": "sqlite3", "mount": {"db": "/data"}}
    port = app.add_server(
        mounts={"store": "data", "my-store": "/srv/store"},
        pre_run_command='echo x >> data/kept; echo row >> "${DATABASE_URL#sqlite://}"',
    )
    app.deploy()
    app.deploy()
    assert fetch_from(port, "file/data/kept") == "x\nx\n"
    assert (app.state.volumes / "store/kept").read_text() == "x\nx\n"
    assert not (app.state.volumes / "store/from-checkout").exists()

    folder = app.state.volumes / "my-store"
    assert fetch_from(port, "env/NVOI_MOUNT_MY_STORE") == str(folder)
    assert folder.is_dir()
    assert "/srv/store cannot be mounted without root" in caplog.text

    database = app.state.volumes / "db/shop-database.sqlite3"
    assert fetch_from(port, "env/DATABASE_URL") == f"sqlite://{database}"
    assert database.read_text() == "row\nrow\n"


def test_a_dry_run_says_what_would_change_and_touches_nothing(app: App) -> None:
    port = app.add_server(pre_run_command="one\ntwo", mounts={"store": "data"})
    app.services["worker"] = {"command": "run-worker"}
    lines = app.plan()
    assert not app.home.exists()
    text = "\n".join(lines)
    for expected in (
        "would copy 1 file of",
        "would run for web: one\n    two",
        "would link data of the release",
        "would start supervisord",
        f"would start web on port {port}",
        "would start worker and check it: run-worker",
    ):
        assert expected in text


def test_a_state_folder_with_a_long_path_or_odd_characters_works(app: App) -> None:
    app.home = app.home.parent / ("a;b #c %(d)s 'é' " + "x" * 120)
    port = app.add_server()
    app.deploy()
    assert fetch_from(port, "cwd") == str(app.state.releases / get_release(app))
    socket = app.state.socket
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    app.delete()
    assert not app.state.root.exists()
    assert not socket.parent.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives folders away")
def test_a_socket_folder_of_somebody_else_is_not_used(app: App) -> None:
    app.home = app.home.parent / ("x" * 120)
    app.add_server()
    folder = app.state.socket.parent
    folder.symlink_to(app.directory)
    os.chown(folder, 65534, -1, follow_symlinks=False)
    try:
        with pytest.raises(UsageError, match=f"{folder} belongs to the user nobody"):
            app.deploy()
    finally:
        folder.unlink()


def test_supervisord_and_the_services_outlive_the_run(app: App) -> None:
    port = app.add_server()
    code, output = app.start_deploy().end()
    assert code == 0, output
    assert fetch_from(port, "env/PORT") == str(port)
    assert os.getsid(app.get_daemon_pid()) != os.getsid(0)
    assert fds_of(app.get_daemon_pid()) & {str(app.state.lock)} == set()


def fds_of(pid: int) -> set[str]:
    folder = Path(f"/proc/{pid}/fd")
    return {str(path.readlink()) for path in folder.iterdir() if path.is_symlink()}
