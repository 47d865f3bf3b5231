from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nvoi.errors import NvoiError
from nvoi.protocol import Tunnel
from nvoi.targets.local.supervisor import get_socket
from tests.integration.local.application import App, is_serving, read_conf
from tests.ports import find_port
from tests.waiting import fetch_from, wait_until


def get_release(app: App) -> str:
    release = app.state.find_current()
    assert release is not None
    return release


def test_a_first_deploy_serves_on_the_port_and_announces_it(app: App) -> None:
    port = app.add_server()
    context = app.deploy()
    assert fetch_from(port, "cwd") == str(app.state.releases / get_release(app))
    assert context.tunnels == [Tunnel("web", f"localhost:{port}")]
    assert context.urls == [f"http://localhost:{port}"]


def test_a_deploy_without_services_stops_those_of_before(app: App) -> None:
    port = app.add_server()
    app.deploy()
    first = get_release(app)
    app.services.clear()
    app.deploy()
    assert get_release(app) > first
    with pytest.raises(OSError, match="refused"):
        fetch_from(port, "cwd")


def test_a_second_deploy_serves_the_new_files_under_the_same_supervisord(app: App) -> None:
    app.write("page", "old")
    port = app.add_server()
    app.deploy()
    first, daemon = get_release(app), app.get_daemon_pid()
    app.write("page", "new")
    app.deploy()
    assert fetch_from(port, "file/page") == "new"
    assert get_release(app) > first
    assert app.get_daemon_pid() == daemon


def test_the_old_release_serves_until_the_new_one_has_passed_its_trial(app: App) -> None:
    app.write("page", "old")
    port = app.add_server()
    app.deploy()
    seen = app.home.parent / "seen"
    url = f"http://127.0.0.1:{port}/file/page"
    script = f"import urllib.request as u; print(u.urlopen('{url}').read().decode())"
    app.write("page", "new")
    app.services["web"]["pre_run_command"] = f'{sys.executable} -c "{script}" > {seen}'
    app.deploy()
    assert seen.read_text().strip() == "old"
    assert fetch_from(port, "file/page") == "new"


def test_only_the_services_of_the_app_run_after_a_deploy(app: App) -> None:
    app.add_server()
    app.deploy()
    app.deploy()
    assert len(app.find_processes()) == 1
    assert not (app.state.run / "trial").exists()


def test_services_that_the_config_no_longer_names_are_stopped(app: App) -> None:
    kept, removed = app.add_server("web"), app.add_server("api")
    app.deploy()
    assert fetch_from(removed, "health") == ""
    del app.services["api"]
    app.deploy()
    assert fetch_from(kept, "health") == ""
    with pytest.raises(OSError, match="refused"):
        fetch_from(removed, "health")
    assert "/api.sh" not in read_conf(app)


def test_services_may_exchange_their_ports(app: App) -> None:
    first, second = app.add_server("web"), app.add_server("api")
    app.config["env"] = {}
    app.services["web"]["env"] = {"NAME": "web"}
    app.services["api"]["env"] = {"NAME": "api"}
    app.deploy()
    app.services["web"]["port"], app.services["api"]["port"] = second, first
    app.deploy()
    assert (fetch_from(first, "env/NAME"), fetch_from(second, "env/NAME")) == ("api", "web")


def test_a_service_may_move_to_another_port(app: App) -> None:
    old = app.add_server()
    app.deploy()
    app.services["web"]["port"] = new = find_port()
    app.deploy()
    assert fetch_from(new, "env/PORT") == str(new)
    with pytest.raises(OSError, match="refused"):
        fetch_from(old, "health")


def test_a_service_without_a_port_is_started_at_the_switch_and_stays(app: App) -> None:
    app.services["worker"] = {"command": "echo $$ > pid; exec sleep 1000"}
    context = app.deploy()
    pid = int((app.state.releases / get_release(app) / "pid").read_text())
    assert app.find_processes() == [pid]
    assert context.tunnels == []


def test_a_service_with_an_exec_healthcheck_is_asked_in_its_release(app: App) -> None:
    app.services["worker"] = {
        "command": "echo up > ready; exec sleep 1000",
        "env": {"WANTED": "up"},
        "healthcheck": {"type": "exec", "command": 'test "$(cat ready)" = "$WANTED"'},
    }
    app.deploy()
    assert len(app.find_processes()) == 1


def test_a_service_without_a_healthcheck_needs_only_to_accept_connections(app: App) -> None:
    port = app.add_server()
    del app.services["web"]["healthcheck"]
    app.write("health", "503")
    app.deploy()
    assert fetch_from(port, "env/PORT") == str(port)


def test_a_redirect_is_healthy_and_is_not_followed(app: App) -> None:
    app.add_server()
    app.write("health", "302")
    assert app.deploy().tunnels


@pytest.mark.parametrize(
    "value", ['it\'s "quoted" $HOME `id` \\', "two\nlines\n", "100%(x)s %d ; # no", " é ", ""]
)
def test_the_environment_reaches_the_service_as_it_was_written(app: App, value: str) -> None:
    port = app.add_server(env={"VALUE": value})
    app.deploy()
    assert fetch_from(port, "env/VALUE") == value


def test_a_service_gets_the_callers_path_but_not_its_keys(app: App) -> None:
    app.environ |= {"DEPLOY_KEY": "k" * 64, "NVOI_MASTER_KEY": "k" * 64, "TZ": "UTC"}
    port = app.add_server()
    app.deploy()
    names = fetch_from(port, "names").split()
    assert {"PATH", "PORT", "TZ", "DEPLOY_ENV"} <= set(names)
    assert not {"DEPLOY_KEY", "NVOI_MASTER_KEY", "NVOI_DEBUG", "SUPERVISOR_ENABLED"} & set(names)


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
        command=f"{tell}; exec {sys.executable} server.py",
        healthcheck={"type": "exec", "command": tell},
    )
    app.deploy()
    lines = seen.read_text().splitlines()
    assert len(lines) > 3
    assert not [line for line in lines if f"{own}:" in line]
    assert {line.partition(" ")[0] for line in lines} == {"0"}


def test_secrets_are_in_no_process_list_and_no_file_that_others_can_read(app: App) -> None:
    secret = "s3cret-of-the-test"
    app.config["secrets"] = {"TOKEN": secret}
    port = app.add_server(pre_run_command="true")
    app.deploy()
    assert fetch_from(port, "env/TOKEN") == secret
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert secret not in listed.stdout
    assert secret not in (app.state.supervisor / "supervisord.conf").read_text()
    holders = [
        path
        for path in app.state.root.rglob("*")
        if path.is_file() and not path.is_symlink() and secret in path.read_text("utf-8", "replace")
    ]
    assert holders
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o700}


def test_the_state_is_for_this_user_alone(app: App) -> None:
    app.add_server()
    app.deploy()
    for path in app.state.root.iterdir():
        others = stat.S_IMODE(path.stat().st_mode) & 0o077
        assert path.name == "current" or others == 0, path
    assert stat.S_IMODE(app.state.root.stat().st_mode) == 0o700


def test_a_relative_mount_outlives_releases(app: App) -> None:
    app.write("data/from-checkout")
    port = app.add_server(mounts={"store": "data"}, pre_run_command="echo x >> data/kept")
    app.deploy()
    app.deploy()
    assert fetch_from(port, "file/data/kept") == "x\nx\n"
    assert (app.state.volumes / "store/kept").read_text() == "x\nx\n"
    assert not (app.state.volumes / "store/from-checkout").exists()


def test_an_absolute_mount_is_found_by_its_variable(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    port = app.add_server(mounts={"my-store": "/srv/store"})
    app.deploy()
    folder = app.state.volumes / "my-store"
    assert fetch_from(port, "env/NVOI_MOUNT_MY_STORE") == str(folder)
    assert folder.is_dir()
    assert "/srv/store cannot be mounted without root" in caplog.text


def test_a_sqlite_database_outlives_releases(app: App) -> None:
    app.config["database"] = {"adapter": "sqlite3", "mount": {"db": "/data"}}
    port = app.add_server(pre_run_command='echo row >> "${DATABASE_URL#sqlite://}"')
    app.deploy()
    app.deploy()
    path = app.state.volumes / "db/shop-database.sqlite3"
    assert fetch_from(port, "env/DATABASE_URL") == f"sqlite://{path}"
    assert path.read_text() == "row\nrow\n"


def test_as_many_old_releases_are_kept_as_the_config_says(app: App) -> None:
    app.config["keep_count"] = 1
    app.add_server()
    names = []
    for _ in range(3):
        app.deploy()
        names.append(get_release(app))
    assert app.state.list_releases() == names[1:]
    assert sorted(path.name for path in app.state.run.iterdir() if path.is_dir()) == names[1:]


def test_the_log_of_a_service_is_kept(app: App) -> None:
    port = app.add_server()
    app.deploy()
    log = app.state.logs / "web.log"
    wait_until(lambda: f"serving on {port}" in log.read_text(), "the service's log")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


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


def test_a_dry_run_of_a_later_deploy_names_what_would_be_stopped_and_removed(app: App) -> None:
    app.config["keep_count"] = 1
    port = app.add_server()
    app.deploy()
    oldest = get_release(app)
    app.deploy()
    release = get_release(app)
    before = snapshot_of(app.home)
    text = "\n".join(app.plan())
    assert f"would stop web of release {release} on port {port}" in text
    assert f"would remove release {oldest}" in text
    assert snapshot_of(app.home) == before


def test_a_dry_run_finds_what_the_run_would_put_right(app: App) -> None:
    port = app.add_server()
    app.deploy()
    os.kill(app.get_daemon_pid(), signal.SIGKILL)
    wait_until(lambda: len(app.find_processes()) == 1, "only the service")
    [orphan] = app.find_processes()
    text = "\n".join(app.plan())
    assert f"would start release {get_release(app)} again" in text
    assert f"(pid {orphan}), which was left running" in text
    assert fetch_from(port, "health") == ""


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_dry_run_finds_a_mount_that_cannot_be(app: App, kind: str) -> None:
    app.add_server(mounts={"store": "public/uploads"})
    if kind == "file":
        app.write("public")
    else:
        (app.directory / "public").symlink_to("/tmp")
    for run in (app.plan, app.deploy):
        with pytest.raises(NvoiError, match=f"public is a {kind} in the checkout"):
            run()


def snapshot_of(folder: Path) -> dict[str, int]:
    return {
        str(path): path.lstat().st_mtime_ns
        for path in folder.rglob("*")
        if not path.name.endswith(".log")
    }


def test_a_state_folder_with_a_long_path_or_odd_characters_works(app: App) -> None:
    app.home = app.home.parent / ("a;b #c %(d)s 'é' " + "x" * 120)
    port = app.add_server()
    app.deploy()
    assert fetch_from(port, "cwd") == str(app.state.releases / get_release(app))
    socket = get_socket(app.state)
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    app.delete()
    assert not app.state.root.exists()
    assert not socket.parent.exists()


def test_a_socket_folder_of_somebody_else_is_not_used(app: App) -> None:
    app.home = app.home.parent / ("x" * 120)
    app.add_server()
    folder = get_socket(app.state).parent
    folder.symlink_to(app.directory)
    try:
        with pytest.raises(NvoiError, match="belongs to somebody else"):
            app.deploy()
    finally:
        folder.unlink()


def test_supervisord_and_the_services_outlive_the_run(app: App) -> None:
    port = app.add_server()
    with app.start() as run:
        output, _ = run.communicate()
    assert run.returncode == 0, output
    assert fetch_from(port, "env/PORT") == str(port)
    assert os.getsid(app.get_daemon_pid()) != os.getsid(0)
    assert fds_of(app.get_daemon_pid()) & {str(app.state.lock)} == set()


def fds_of(pid: int) -> set[str]:
    folder = Path(f"/proc/{pid}/fd")
    return {str(path.readlink()) for path in folder.iterdir() if path.is_symlink()}


def test_a_service_that_ends_later_is_started_again_by_supervisord(app: App) -> None:
    port = app.add_server()
    app.deploy()
    [pid] = app.find_processes()
    os.kill(pid, 9)
    wait_until(lambda: set(app.find_processes()) - {pid}, "the service to be started again")
    wait_until(lambda: is_serving(port), "the service to serve again")
