"""The test call of ``nvoi onboard`` to a dashboard, and what is said of its answer."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import ssl
import subprocess
from pathlib import Path

import trustme

from nvoi.config.credentials import get_key
from tests.fakes.behaviours import Answer
from tests.fakes.protocol import find_signature_faults
from tests.fakes.receiver import Receiver
from tests.integration.commands import NVOI, build_environment, run_nvoi
from tests.integration.onboarding.configs import read_config
from tests.integration.onboarding.scripts import LEAST
from tests.integration.onboarding.wizard import ENTER, Wizard
from tests.integration.streams import KEY
from tests.ports import find_port
from tests.waiting import fetch, wait_until

#: As few questions as there can be, up to a dashboard that is started.
START = (*LEAST[:-1], ("Which one?", ">start one on this machine, in the background"))


def test_a_dashboard_that_takes_the_signed_call_is_kept_without_a_question(tmp_path: Path) -> None:
    with Receiver(KEY) as dashboard, Wizard(tmp_path) as wizard:
        dashboard.always(Answer(202))
        wizard.follow(LEAST)
        wizard.answer("Callback URL:", f"{dashboard.url}/")
        wizard.wait_for("The dashboard answers (202)")
        wizard.pick("? What now?", "save it")
        assert wizard.end() == 0
        (call,) = dashboard.requests
        assert re.fullmatch(r"/api/deploys/nvoi-onboard-[0-9a-f]{12}/logs", call.path)
        assert call.body == b'{"logs": []}'
        key = get_key(tmp_path, environ={}).value.reveal()
        assert not list(find_signature_faults(call, key.encode()))
        assert read_config(tmp_path).callback_url == f"{dashboard.url}/"


def test_an_answer_that_is_not_well_is_explained_and_the_url_can_be_kept(tmp_path: Path) -> None:
    meanings = {
        401: "does not know this app's key yet",
        404: "nothing has this path",
        301: "It redirects to https://new.example.com/c.",
        422: "does not take the test call",
        500: "a fault of its own",
    }
    location = {"Location": "https://new.example.com/c?t=1"}
    with Receiver(KEY) as dashboard, Wizard(tmp_path) as wizard:
        dashboard.always(Answer(401, location))
        url = dashboard.url.replace("://", "://user:p4ss-5ecret@")
        wizard.follow((*LEAST, ("Callback URL:", dashboard.url)))
        for status, words in meanings.items():
            wizard.wait_for(f"! It answered {status}.")
            wizard.wait_for(words)
            following = {401: 404, 404: 301, 301: 422, 422: 500}.get(status, status)
            dashboard.always(Answer(following, location))
            wizard.pick("? What now?", "change the URL" if status == 500 else "try again")
        wizard.answer("Callback URL:", url)
        wizard.wait_for("! It answered 500.")
        before = len(wizard.seen)
        wizard.pick("? What now?", "change the URL")
        wizard.answer("Callback URL (blank: ", ENTER)
        wizard.pick("? What now?", "keep this URL")
        wizard.pick("? What now?", "save it")
        assert wizard.end() == 0
        # It was seen while it was typed.
        assert "5ecret" not in wizard.seen[before:]
        assert len(dashboard.requests) == len(meanings) + 2
        assert read_config(tmp_path).callback_url == url


def test_what_does_not_answer_is_explained_and_can_be_changed(tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    with Receiver(KEY) as well, Receiver(KEY, tls=tls) as untrusted, Wizard(tmp_path) as wizard:
        wizard.follow(LEAST)
        wizard.answer("Callback URL:", f"http://127.0.0.1:{find_port()}")
        wizard.wait_for("! No answer: no connection: Connection refused.")
        wizard.wait_for("Its callback URL is http://127.0.0.1:8787/api/deploys")
        wizard.pick("? What now?", "change the URL")
        wizard.answer("Callback URL:", untrusted.url)
        wizard.wait_for("! No answer: its TLS certificate or protocol was refused")
        wizard.wait_for("$SSL_CERT_FILE")
        wizard.pick("? What now?", "change the URL")
        wizard.answer("Callback URL:", untrusted.url.replace("https", "http"))
        wizard.wait_for("! No answer:")
        wizard.pick("? What now?", "change the URL")
        wizard.answer("Callback URL:", well.url)
        wizard.wait_for("The dashboard answers (200)")
        wizard.pick("? What now?", "save it")
        assert wizard.end() == 0
        assert untrusted.requests == []
        assert read_config(tmp_path).callback_url == well.url


def test_ctrl_c_ends_a_call_that_gets_no_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, Wizard(tmp_path) as wizard:
        wizard.follow(LEAST)
        wizard.answer("Callback URL:", f"http://127.0.0.1:{silent.getsockname()[1]}/c")
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(10)
            wizard.process.send("\x03")
            assert wizard.end() == 130
    assert list(tmp_path.iterdir()) == []


def test_nvois_own_dashboard_takes_the_call_and_stores_nothing(tmp_path: Path) -> None:
    environ = build_environment(tmp_path) | {"NVOI_HOME": str(tmp_path / "home")}
    with subprocess.Popen(
        [NVOI, "dashboard", "--port", "0"], env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found
            with Wizard(tmp_path, DEPLOY_KEY=KEY) as wizard:
                wizard.follow((*LEAST, ("Callback URL:", f"{found[0]}/api/deploys")))
                wizard.wait_for("The dashboard answers (200)")
                wizard.pick("? What now?", "save it")
                assert wizard.end() == 0
            address = f"{found[0]}/api/projects/default/deploys.json"
            assert json.loads(fetch(address))["deploys"] == []
        finally:
            process.terminate()


def test_a_dashboard_is_started_and_has_the_app_under_its_name(tmp_path: Path) -> None:
    home = {"NVOI_HOME": str(tmp_path / "home")}
    environ = build_environment(tmp_path) | home
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    pids: list[int] = []
    try:
        with Wizard(first, NVOI_HOME=home["NVOI_HOME"]) as wizard:
            wizard.follow(START)
            wizard.wait_for("The dashboard answers (200)")
            # Another name of the app is one of its project too.
            wizard.follow((("? What now?", ">change Application"), ("Application name:", "store")))
            wizard.pick("? What now?", "save it")
            assert wizard.end() == 0
        found = re.search(r"as process (\d+)", wizard.seen)
        assert found
        pids.append(int(found[1]))
        url = read_config(first).callback_url or ""
        listed = run_nvoi("dashboard", "project", "list", folder=tmp_path, environ=environ)
        assert url in listed.stdout
        assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == ["store"]
        # A second app is added to the one that runs, and leaves nothing where it is not saved.
        with Wizard(second, NVOI_HOME=home["NVOI_HOME"]) as wizard:
            wizard.follow((("Application name:", "second"), *START[1:]))
            wizard.wait_for("The dashboard answers (200)")
            listed = run_nvoi("dashboard", "project", "list", folder=tmp_path, environ=environ)
            assert "second" in listed.stdout
            wizard.wait_for("? What now?")
            wizard.process.send("\x03")
            assert wizard.end() == 130
        listed = run_nvoi("dashboard", "project", "list", folder=tmp_path, environ=environ)
        assert "second" not in listed.stdout
        assert "store" in listed.stdout
        page = f"{url.partition('/api/')[0]}/projects/store"
        assert "store" in fetch(page)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda pid=pid: not is_alive(pid), "the dashboard to end")  # type: ignore[misc]  # of the loop
    # Started again in the app's folder, it has no second project for the same key.
    with subprocess.Popen(
        [NVOI, "dashboard", "--port", "0"],
        cwd=first,
        env={key: value for key, value in environ.items() if key != "DEPLOY_KEY"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline()
        process.terminate()
    listed = run_nvoi("dashboard", "project", "list", folder=tmp_path, environ=environ)
    assert "default" not in listed.stdout


def test_a_dashboard_that_was_started_ends_where_nothing_is_saved(tmp_path: Path) -> None:
    with Wizard(tmp_path) as wizard:
        wizard.follow(START)
        wizard.wait_for("The dashboard answers (200)")
        wizard.pick("? What now?", "cancel, save nothing")
        assert wizard.end() == 1
    folder = tmp_path / "home" / "dashboard.d"
    lock = folder / "dashboard.sqlite3.lock"
    with lock.open() as file:
        # Nobody serves it any more.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    environ = build_environment(tmp_path) | {"NVOI_HOME": str(tmp_path / "home")}
    listed = run_nvoi("dashboard", "project", "list", folder=tmp_path, environ=environ)
    assert len(listed.stdout.splitlines()) == 1


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
