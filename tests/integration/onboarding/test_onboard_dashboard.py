"""The test call of ``nvoi onboard`` to a dashboard, and what is said of its answer."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from nvoi.cli.own_dashboard import OwnDashboard
from nvoi.config.credentials import get_key
from nvoi.onboarding.dashboards import call_dashboard
from nvoi.secret import Secret
from tests.fakes.behaviours import Answer
from tests.fakes.protocol import find_signature_faults
from tests.fakes.receiver import Receiver
from tests.integration.commands import NVOI, build_environment, call_nvoi
from tests.integration.onboarding.configs import read_config
from tests.integration.onboarding.scripts import STARTED, STREAMED
from tests.integration.onboarding.wizard import (
    CTRL_C,
    ENTER,
    SMALL,
    Step,
    Wizard,
    list_files,
    without_key,
    write_small,
)
from tests.integration.streams import KEY
from tests.ports import find_port
from tests.waiting import fetch, wait_until


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """One that leaves few questions."""
    folder = tmp_path / "shop"
    folder.mkdir()
    write_small(folder)
    return folder


def test_a_dashboard_that_takes_the_signed_call_is_kept_without_a_question(checkout: Path) -> None:
    with Receiver(KEY) as dashboard, Wizard(checkout, *SMALL) as wizard:
        dashboard.always(Answer(202))
        wizard.follow(STREAMED)
        wizard.answer("Callback URL:", f"{dashboard.url}/")
        wizard.wait_for("The dashboard answers (202)")
        wizard.pick("? What now?", "save it")
        assert wizard.end() == 0
        (call,) = dashboard.requests
        assert re.fullmatch(r"/api/deploys/nvoi-onboard-[0-9a-f]{12}/logs", call.path)
        assert call.body == b'{"logs": []}'
        key = get_key(checkout, environ={}).value.reveal()
        assert not list(find_signature_faults(call, key.encode()))
        assert read_config(checkout).callback_url == f"{dashboard.url}/"


def test_an_answer_that_is_not_well_is_explained_and_the_url_can_be_kept(checkout: Path) -> None:
    with Receiver(KEY) as dashboard, Wizard(checkout, *SMALL) as wizard:
        dashboard.always(Answer(401))
        url = dashboard.url.replace("://", "://user:p4ss-5ecret@")
        wizard.follow((*STREAMED, ("Callback URL:", dashboard.url)))
        wizard.wait_for("! It answered 401.")
        dashboard.always(Answer(500))
        wizard.pick("? What now?", "try again")
        wizard.wait_for("! It answered 500.")
        wizard.pick("? What now?", "change the URL")
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
        assert len(dashboard.requests) == 4
        assert read_config(checkout).callback_url == url


def test_what_does_not_answer_is_explained_and_can_be_changed(checkout: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    with Receiver(KEY, tls=tls) as untrusted, Wizard(checkout, *SMALL) as wizard:
        wizard.follow(STREAMED)
        for url, told in (
            (f"http://127.0.0.1:{find_port()}", "no connection: Connection refused."),
            (untrusted.url, "its TLS certificate or protocol was refused"),
            (untrusted.url.replace("https", "http"), ""),
        ):
            wizard.answer("Callback URL:", url)
            wizard.wait_for(f"! No answer: {told}")
            wizard.pick("? What now?", "change the URL")
        assert untrusted.requests == []


def test_ctrl_c_ends_a_call_that_gets_no_answer(checkout: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, Wizard(checkout, *SMALL) as wizard:
        wizard.follow(STREAMED)
        wizard.answer("Callback URL:", f"http://127.0.0.1:{silent.getsockname()[1]}/c")
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(10)
            wizard.process.send("\x03")
            assert wizard.end() == 130
    assert list(list_files(checkout)) == ["compose.yaml"]


def list_projects(folder: Path) -> str:
    environ = build_environment(folder) | {"NVOI_HOME": str(folder / "home")}
    return call_nvoi("dashboard", "project", "list", folder=folder, environ=environ).stdout


def named(name: str) -> tuple[Step, ...]:
    """From the summary to the summary of an app of another name."""
    return (("? What now?", ">change Application"), ("Application name:", name))


def test_a_dashboard_is_started_and_has_the_app_under_its_name(
    tmp_path: Path, checkout: Path
) -> None:
    home = str(tmp_path / "home")
    second = tmp_path / "second"
    shutil.copytree(checkout, second)
    pids: list[int] = []
    try:
        with Wizard(checkout, *SMALL, NVOI_HOME=home) as wizard:
            wizard.follow(STARTED)
            wizard.wait_for("The dashboard answers (200)")
            # Another name of the app is one of its project too.
            wizard.follow((*named("store"), ("? What now?", ">save it")))
            assert wizard.end() == 0
        found = re.search(r"as process (\d+)", wizard.seen)
        assert found
        pids.append(int(found[1]))
        url = read_config(checkout).callback_url or ""
        listed = list_projects(tmp_path)
        assert url in listed
        assert [line.split()[0] for line in listed.splitlines()[1:]] == ["store"]
        # A second app is added to the one that runs, and leaves nothing where it is not called.
        declined = (
            ("? What now?", ">change Dashboard"),
            ("Stream deploy logs to a dashboard?", "n"),
        )
        with Wizard(second, *SMALL[:-1], "second", NVOI_HOME=home) as wizard:
            wizard.follow(STARTED)
            wizard.wait_for("The dashboard answers (200)")
            assert "second" in list_projects(tmp_path)
            wizard.follow((*declined, *named("third"), declined[0], *STARTED[1:]))
            wizard.wait_for("The dashboard answers (200)")
            listed = list_projects(tmp_path)
            assert "second" not in listed
            assert "third" in listed
            wizard.follow((*declined, ("? What now?", ">save it")))
            assert wizard.end() == 0
        assert read_config(second).callback_url is None
        assert [line.split()[0] for line in list_projects(tmp_path).splitlines()[1:]] == ["store"]
        # A name that another app's project has costs none of what was answered.
        with Wizard(second, NVOI_HOME=home) as wizard:
            wizard.follow((("deploy.enc is there:", ">change it"), declined[0], *STARTED[1:]))
            wizard.wait_for("The dashboard answers (200)")
            wizard.follow((*named("store"), ("? What now?", ">save it")))
            wizard.wait_for("The app's project there keeps the name that it has.")
            assert wizard.end() == 0
        assert (read_config(second).callback_url or "none") in list_projects(tmp_path)
        # What it was called with is not stored.
        base = url.partition("/api/")[0]
        assert json.loads(fetch(f"{base}/api/projects/store/deploys.json"))["deploys"] == []
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda pid=pid: not is_alive(pid), "the dashboard to end")  # type: ignore[misc]  # of the loop
    # Started again in the app's folder, it has no second project for the same key.
    with subprocess.Popen(
        [NVOI, "dashboard", "--port", "0"],
        cwd=checkout,
        env=without_key(tmp_path) | {"NVOI_HOME": home},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline()
        process.terminate()
    assert "default" not in list_projects(tmp_path)


@pytest.mark.parametrize(("keys", "code"), [("cancel", 1), (CTRL_C, 130)], ids=["cancel", "ctrl-c"])
def test_a_dashboard_that_was_started_ends_where_nothing_is_saved(
    tmp_path: Path, checkout: Path, keys: str, code: int
) -> None:
    with Wizard(checkout, *SMALL, NVOI_HOME=str(tmp_path / "home")) as wizard:
        wizard.follow(STARTED)
        wizard.wait_for("The dashboard answers (200)")
        if keys == CTRL_C:
            wizard.wait_for("? What now?")
            wizard.process.send(keys)
        else:
            wizard.pick("? What now?", "cancel, save nothing")
        assert wizard.end() == code
    with (tmp_path / "home/dashboard.d/dashboard.sqlite3.lock").open() as file:
        # Nobody serves it any more.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert len(list_projects(tmp_path).splitlines()) == 1


def test_a_dashboard_that_another_onboard_tries_out_is_neither_taken_nor_ended(
    tmp_path: Path,
) -> None:
    environ = build_environment(tmp_path) | {"NVOI_HOME": str(tmp_path / "home")}
    keys = {name: Secret(secrets.token_hex(32)) for name in ("shop", "blog")}
    onboards = {name: OwnDashboard(key, environ) for name, key in keys.items()}
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        for onboard in onboards.values():
            stack.callback(onboard.undo)
        # Both at once.
        started = dict(
            zip(onboards, pool.map(lambda n: onboards[n].start(n), onboards), strict=True)
        )
        first, second = sorted(started, key=lambda name: not started[name].url)
        assert "another nvoi onboard is trying one out" in started[second].text
        onboards[second].undo()
        assert call_dashboard(started[first].url, keys[first], environ).ok
        # It is free again once that one is done.
        onboards[first].undo()
        again = onboards[second].start(second).url
        assert call_dashboard(again, keys[second], environ).ok


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
