"""``nvoi dashboard``: how it starts, what it refuses, and how it ends."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3

from nvoi.dashboard.schema import open_database
from nvoi.signals import ENDING
from tests.integration.dashboard.serving import Serving
from tests.integration.forkserver import ForkedProcess
from tests.integration.streams import KEY
from tests.ports import find_port
from tests.waiting import PATIENCE, wait_for_end, wait_until


@pytest.fixture
def stopped(tmp_path: Path) -> Serving:
    """A dashboard that nobody has started."""
    return Serving(tmp_path)


def refuse(serving: Serving, *words: str, **environ: str) -> str:
    """Start it with options that it refuses; what it says."""
    result = serving.run("--port", "0", *words, **environ)
    assert result.returncode == 2, result
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    return result.stderr


# -- the start ---------------------------------------------------------------------------------


def test_it_says_where_it_is_and_what_to_configure_and_serves_its_data_alone(
    serving: Serving,
) -> None:
    first, config, data = serving.output.splitlines()
    assert first == f"nvoi dashboard: {serving.url}"
    assert f"callback_url: {serving.url}/api/deploys " in config
    assert str(serving.database) in data
    assert KEY not in serving.output
    assert serving.get_json("/healthz") == {"status": "ok"}
    assert serving.get("/healthz", Host="any.example").status == 200
    assert f"another dashboard serves {serving.database} at {serving.url} (" in refuse(serving)
    assert serving.get("/healthz").status == 200


def test_everything_it_keeps_is_its_owners_alone(tmp_path: Path) -> None:
    home = tmp_path / "state" / "nvoi"
    serving = Serving(tmp_path, environ={"NVOI_HOME": str(home)})
    process = subprocess.Popen(
        [sys.executable, "-m", "nvoi", "dashboard", "--port", "0"],
        env=serving.environ,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        umask=0,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("nvoi dashboard: ")
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    folder = home / "dashboard.d"
    for made in (folder, home, home.parent):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
    names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert {"dashboard.sqlite3", "dashboard.key"} <= names.keys()
    assert set(names.values()) == {0o600}
    stored = b"".join(path.read_bytes() for path in folder.iterdir())
    assert KEY.encode() not in stored


def test_the_key_is_found_as_other_commands_find_it(tmp_path: Path) -> None:
    key_file = tmp_path / "deploy.key"
    key_file.write_text("e" * 64)
    key_file.chmod(0o600)
    with (
        Serving(tmp_path, environ={"DEPLOY_KEY": ""}) as serving,
        serving.build_client(key="e" * 64) as client,
    ):
        assert "deploy.key" in serving.output
        assert client.started() == 200


@pytest.mark.parametrize("number", ENDING)
def test_being_asked_to_end_is_no_failure(serving: Serving, number: signal.Signals) -> None:
    assert serving.stop(number) == 0
    assert len(serving.output.splitlines()) == 3


@pytest.mark.parametrize("output", ["a full disk", "a pipe that nobody reads"])
def test_it_serves_though_nobody_reads_what_it_says(tmp_path: Path, output: str) -> None:
    if output == "a full disk":
        target = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, target = os.pipe()
        os.close(reading)
    port, errors = find_port(), tmp_path / "errors"
    words = ["dashboard", "--port", str(port), "--db", str(tmp_path / "dashboard.sqlite3")]
    environ = Serving(tmp_path).environ
    with open(target, "wb", buffering=0) as told, errors.open("wb") as complained:  # noqa: PTH123
        process = ForkedProcess(words, told, complained, environ, tmp_path)

    def answers() -> bool:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            url = f"http://127.0.0.1:{port}/healthz"
            return urllib3.request("GET", url, retries=False, timeout=PATIENCE).status == 200
        return False

    try:
        wait_until(answers, "the dashboard to answer")
        process.send_signal(signal.SIGTERM)
        assert wait_for_end(process) == 0
        assert errors.read_bytes() == b""
    finally:
        process.kill()
        process.wait()


def test_more_connections_than_files_may_be_open_have_to_wait(serving: Serving) -> None:
    assert serving.process is not None
    pid = serving.process.pid
    open_files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    earlier = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files + 5, earlier[1]))
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            address = ("127.0.0.1", serving.port)
            stack.enter_context(socket.create_connection(address, timeout=PATIENCE))
        wait_until(lambda: "connections must wait" in serving.output, "a word on it")
    assert serving.get("/healthz").status == 200
    assert serving.output.count("connections must wait: Too many open files") == 1
    assert len(serving.output.splitlines()) == 4


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("options", [("--trust-proxy",), ("--password-file", "password")])
def test_beyond_this_machine_it_is_served_where_a_reader_is_asked(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse battery\n")
    password.chmod(0o600)
    with Serving(tmp_path, "--host", "0.0.0.0", *options) as serving:
        with socket.create_connection(("127.0.0.1", serving.port), timeout=PATIENCE) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        assert "correct horse" not in serving.output
        assert "--public-url" in serving.output


def test_a_port_that_is_taken_is_named(stopped: Serving) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        told = refuse(stopped, "--port", str(port))
    assert f"--port {port}: Address already in use (name another port" in told


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_this_machines_is_refused(stopped: Serving, host: str) -> None:
    assert "--host" in refuse(stopped, "--trust-proxy", "--host", host)


def test_without_a_key_and_without_projects_it_says_what_to_do_and_makes_nothing(
    stopped: Serving,
) -> None:
    told = refuse(stopped, DEPLOY_KEY="")
    assert "there is no deploy key" in told
    assert "nvoi dashboard project add" in told
    assert [*stopped.database.parent.glob(f"{stopped.database.stem}*")] == []
    # As is a database without projects.
    open_database(stopped.database).close()
    assert refuse(stopped, DEPLOY_KEY="") == told


def test_a_folder_that_is_missing_is_named(stopped: Serving, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "dashboard.sqlite3"
    told = refuse(stopped, "--db", str(path))
    assert f"cannot use the folder {path.parent}: No such file or directory" in told


def test_a_key_that_is_none_is_refused(stopped: Serving) -> None:
    told = refuse(stopped, DEPLOY_KEY="secret-but-no-key")
    assert "$DEPLOY_KEY holds no deploy key" in told
    assert "secret-but-no-key" not in told


@pytest.mark.parametrize(
    "words",
    [
        ("--public-url", "https://user:hunter2hunter2@example.com"),
        ("--password-file", "missing"),
        ("--key-file", "missing"),
        ("--keep", "few"),
        ("project",),
    ],
)
def test_options_that_cannot_be_are_refused(stopped: Serving, words: tuple[str, ...]) -> None:
    told = refuse(stopped, *words)
    assert re.search(r"--public-url|--password-file|--keep|COMMAND|cannot read missing", told)
    assert "hunter2" not in told


def test_a_database_that_cannot_be_used_is_named(stopped: Serving, tmp_path: Path) -> None:
    for place in (tmp_path / "missing" / "db.sqlite3", tmp_path, Path("/proc/db.sqlite3")):
        result = stopped.run("--port", "0", "--db", str(place))
        assert result.returncode == 2
    (tmp_path / "dashboard.sqlite3").write_text("this is no database, but a text of some length")
    assert str(stopped.database) in refuse(stopped)


def test_a_key_file_that_is_gone_is_missed(serving: Serving) -> None:
    serving.stop()
    serving.database.with_suffix(".key").unlink()
    assert "dashboard.key is missing" in refuse(serving)


def test_without_its_extra_it_says_what_to_install(stopped: Serving) -> None:
    code = (
        "import sys; sys.modules['starlette'] = None\n"
        "from nvoi.cli import main; sys.exit(main(['dashboard']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=stopped.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 2
    assert "-m pip install '.[dashboard]'" in result.stderr


def test_help_is_there_without_the_extra_and_quickly(stopped: Serving) -> None:
    result = stopped.run("--help")
    assert result.returncode == 0
    assert "--password-file" in result.stdout
    code = (
        "import sys; from nvoi.cli.commands import build_parser\n"
        "build_parser([], complete=True); print(sorted(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stdout
    assert not re.search(r"'(starlette|uvicorn|jinja2|cryptography|sqlite3)'", loaded)


def test_its_environment_does_not_reconfigure_the_server(tmp_path: Path) -> None:
    environ = {"WEB_CONCURRENCY": "4", "FORWARDED_ALLOW_IPS": "*"}
    with Serving(tmp_path, environ=environ) as serving:
        assert serving.process is not None
        children = Path(f"/proc/{serving.process.pid}/task/{serving.process.pid}/children")
        assert children.read_text("ascii").split() == []
