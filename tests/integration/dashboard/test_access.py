"""Who may read a dashboard, and who may not."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.dashboard.readers import PASSWORD, Reader, build_basic
from tests.integration.dashboard.serving import Serving, build_path, open_events
from tests.ports import find_port
from tests.waiting import PATIENCE

#: Stands in a line, so that an answer which has it gives away what is stored.
LINE = "a line for readers alone"

READ = [
    "/",
    "/projects/default",
    "/projects/default/deploys/run-1",
    "/projects/default/deploys/run-1?part=summary",
    "/api/projects.json",
    "/api/projects/default/deploys.json",
    "/api/projects/default/deploys/run-1.json",
    "/api/projects/default/deploys/run-1/lines.json",
    "/api/projects/default/deploys/run-1/log.txt",
    "/api/projects/default/deploys/run-1/events",
    "/no/such/page",
]

#: What a router and the guard before it might read differently.
CROOKED = [
    "/static/../api/projects/default/deploys/run-1/log.txt",
    "/static/..%2fapi/projects/default/deploys/run-1/log.txt",
    "/static/%2e%2e/%2e%2e/readers.py",
    "/login/../api/projects/default/deploys/run-1/log.txt",
    "/healthz/../projects/default/deploys/run-1",
    "//api/projects/default/deploys/run-1/log.txt",
    "/./api/projects/default/deploys/run-1/log.txt",
    "/%61pi/projects/default/deploys/run-1/log.txt",
    "/api/projects/default/deploys/run-1/log.txt?/static/",
    "/api/projects/default/deploys/run-1/log.txt#/login",
    "/api/projects/default/deploys/run-1/log.txt;/static/",
    "/api/projects/default/deploys/run-1%2Flog.txt",
]


def write_password(folder: Path, password: str = PASSWORD) -> Path:
    path = folder / "password"
    path.touch(0o600)
    path.write_text(f"{password}\n")
    return path


def send_run(serving: Serving) -> None:
    with serving.build_client() as client:
        assert client.started() == 200
        assert client.logs(1, LINE) == 200


def list_attributes(cookie: str) -> set[str]:
    """What a cookie has beside its value; names and these values are so in either case."""
    return {part.strip().lower() for part in cookie.split(";")[1:]}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A dashboard with a password, which no test guesses wrong, and one deploy."""
    folder = tmp_path_factory.mktemp("guarded")
    with Serving(folder, "--password-file", str(write_password(folder))) as serving:
        send_run(serving)
        yield serving


@pytest.fixture
def reader(guarded: Serving) -> Reader:
    return Reader(guarded.port)


# -- without a password --------------------------------------------------------------------


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A dashboard of this machine's reader, with one deploy."""
    with Serving(tmp_path_factory.mktemp("local")) as serving:
        send_run(serving)
        yield serving


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9", "[::1]:8787", "LOCALHOST"])
def test_this_machine_reads_without_a_password(local: Serving, host: str) -> None:
    answer = Reader(local.port, Host=host).get(f"{build_path('run-1')}/log.txt")
    assert answer.status == 200
    assert LINE in answer.text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8787", "10.0.0.1", ""])
def test_a_name_that_was_made_to_lead_here_reads_nothing(local: Serving, host: str) -> None:
    for path in READ if host == "evil.example" else READ[:1]:
        answer = Reader(local.port, Host=host).get(path)
        assert answer.status == 421, path
        assert "--password-file" in answer.text
        assert LINE not in answer.text


def test_what_a_proxy_passed_on_is_refused_unless_it_is_trusted(local: Serving) -> None:
    answer = Reader(local.port, X_Forwarded_For="203.0.113.1").get("/")
    assert answer.status == 403
    assert "--trust-proxy" in answer.text


def test_a_deploy_is_taken_under_any_name(local: Serving) -> None:
    with local.build_client("run-2") as client:
        answer = Reader(local.port, Host="deploys.example.com").ask("GET", "/healthz")
        assert answer.status == 200
        assert client.started() == 200


def test_the_login_leads_to_the_pages_where_no_password_is_asked_for(local: Serving) -> None:
    reader = Reader(local.port)
    assert reader.get("/login?next=/projects/default").location == "/projects/default"
    assert reader.post("/login", {"password": "x", "next": "/"}).location == "/"
    assert reader.post("/logout", {}).location == "/"


# -- what is refused at the start ----------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_it_is_not_served_to_others_without_a_password_or_a_proxy(
    tmp_path: Path, host: str
) -> None:
    ended = Serving(tmp_path).run("--host", host, "--port", "0")
    assert ended.returncode == 2
    assert f"--host {host}" in ended.stderr
    assert "--password-file" in ended.stderr
    assert "--trust-proxy" in ended.stderr
    assert not list(tmp_path.glob("*.sqlite3"))


# -- with a password -----------------------------------------------------------------------


def test_a_page_leads_to_the_login_and_a_script_is_asked_for_the_password(
    guarded: Serving,
) -> None:
    for path in READ:
        answer = Reader(guarded.port).get(path)
        if path.startswith("/api/"):
            assert answer.status == 401, path
        else:
            assert answer.status == 303, path
            assert answer.location.startswith("/login")
        answer = Reader(guarded.port, Accept="*/*").get(path)
        assert answer.status == 401, path
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert LINE not in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS", "get", "X"])
def test_no_crooked_path_reads_anything(guarded: Serving, method: str) -> None:
    for path in CROOKED:
        answer = Reader(guarded.port, Accept="*/*").ask(method, path)
        assert answer.status >= 400, path
        assert LINE not in answer.text


def test_a_page_that_asks_by_script_makes_no_window_of_the_browser_appear(reader: Reader) -> None:
    for headers in ({"Sec_Fetch_Mode": "cors"}, {"Referer": "http://127.0.0.1/projects/default"}):
        answer = reader.get("/api/projects.json", **headers)
        assert answer.status == 401
        assert not answer.headers["WWW-Authenticate"].startswith("Basic")


def test_deploys_health_and_the_files_of_pages_need_no_password(guarded: Serving) -> None:
    with guarded.build_client("run-2") as client:
        assert client.started() == 200
    assert Reader(guarded.port).get("/healthz").status == 200
    assert Reader(guarded.port).get("/static/style.css").status == 200


@pytest.mark.parametrize("kind", ["logs", "status"])
def test_where_deploys_send_nothing_is_read_and_no_login_is_asked_for(
    reader: Reader, kind: str
) -> None:
    answer = reader.ask("GET", f"/api/deploys/run-1/{kind}")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


def test_the_login_opens_a_session_and_leads_on(reader: Reader) -> None:
    path = "/projects/default/deploys/run-1?attempt=1"
    asked = reader.get(path)
    assert asked.location == "/login?next=%2Fprojects%2Fdefault%2Fdeploys%2Frun-1%3Fattempt%3D1"
    assert f'value="{path}"' in reader.get(asked.location).text
    answer = reader.log_in(path=path)
    assert (answer.status, answer.location) == (303, path)
    (session,) = reader.set_cookies
    assert session.startswith("nvoi-session=")
    assert list_attributes(session) == {"path=/", "max-age=2592000", "httponly", "samesite=lax"}
    assert LINE in reader.get(path).text
    assert reader.get("/login").location == "/"


def test_a_script_reads_with_the_password(guarded: Serving) -> None:
    reader = Reader(guarded.port, Accept="*/*", Authorization=build_basic(PASSWORD, "anybody"))
    answer = reader.get(f"{build_path('run-1')}/lines.json")
    assert answer.status == 200
    assert LINE in answer.text
    assert not reader.cookies


@pytest.mark.parametrize("value", ["Basic", "Basic !", "Basic /w==", "Bearer x", "basic"])
def test_a_header_that_holds_no_password_is_none(reader: Reader, value: str) -> None:
    assert reader.get("/api/projects.json", Authorization=value).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Origin": "https://evil.example"},
    ],
)
def test_a_form_of_another_site_is_refused(reader: Reader, headers: dict[str, str]) -> None:
    answer = reader.log_in(**headers)
    assert answer.status == 403
    assert "nvoi-session" not in reader.cookies
    reader.log_in()
    assert reader.post("/logout", {}, **headers).status == 403
    assert reader.get("/").status == 200


def test_a_form_that_is_none_is_refused(reader: Reader) -> None:
    for body in ("x" * 20_000, "&".join(f"field{number}=" for number in range(100))):
        assert reader.ask("POST", "/login", body).status == 400
    assert reader.ask("POST", "/login", "\xff").status == 400
    assert reader.ask("DELETE", "/login").status == 405


def test_a_logout_ends_the_session_and_what_it_streams(guarded: Serving, reader: Reader) -> None:
    reader.log_in()
    cookie = f"nvoi-session={reader.cookies['nvoi-session']}"
    with open_events(guarded, "run-1", Cookie=cookie) as events:
        events.read_until(lambda events: events.attempts)
        assert events.lines[0]["message"] == LINE
        assert 'action="/logout"' in reader.get("/").text
        assert reader.post("/logout", {}).location == "/login"
        with guarded.build_client("run-1") as client:
            assert client.logs(2, "after the logout") == 200
        with pytest.raises(AssertionError, match="the stream ended"):
            events.read_until(lambda events: len(events.lines) > 1)
    assert "nvoi-session" not in reader.cookies
    assert Reader(guarded.port, Cookie=cookie).get("/").location == "/login"
    assert "Traceback" not in guarded.output


def test_every_answer_binds_the_browser(guarded: Serving, reader: Reader) -> None:
    reader.log_in()
    answers = [reader.get(path) for path in READ if not path.endswith("/events")]
    answers += [reader.get("/login"), reader.get("/healthz"), reader.ask("PUT", "/")]
    answers += [reader.post("/api/deploys/x/logs", {}), Reader(guarded.port).get("/")]
    for answer in [*answers, reader.get("/static/style.css")]:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Strict-Transport-Security"] is None
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


def test_files_of_pages_are_kept_by_their_version_and_else_asked_for_again(reader: Reader) -> None:
    match = re.search(r'href="(/static/\w+/style\.css)"', reader.get("/login").text)
    assert match
    kept = reader.get(match[1])
    assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    # A page of an earlier version gets the same, which is not kept as that version's.
    for path in ("/static/style.css", "/static/0123456789ab/style.css"):
        first = reader.get(path)
        assert first.text == kept.text
        assert first.headers["Cache-Control"] == "public, no-cache"
        again = reader.get(path, If_None_Match=first.headers["ETag"])
        assert (again.status, again.text) == (304, "")


@pytest.mark.parametrize(
    ("value", "status", "size"),
    [
        ("bytes=0-9", 206, 10),
        ("bytes=-5", 206, 5),
        ("bytes=99999999-", 416, 0),
        ("bytes=5-2", 200, None),
        ("bytes=-", 200, None),
        ("bytes=0-1,3-4", 200, None),
        ("lines=1-2", 200, None),
    ],
)
def test_a_part_of_a_file_is_sent_where_it_is_one(
    reader: Reader, value: str, status: int, size: int | None
) -> None:
    whole = reader.get("/static/style.css").text
    answer = reader.get("/static/style.css", Range=value)
    assert (answer.status, len(answer.text)) == (status, len(whole) if size is None else size)
    assert answer.text in whole


# -- sessions, guesses, and what lies outside ----------------------------------------------


def restart(serving: Serving, password: str) -> None:
    serving.stop()
    write_password(serving.folder, password)
    serving.start()


def build_guarded(folder: Path, *options: str) -> Serving:
    return Serving(folder, "--password-file", str(write_password(folder)), *options)


def test_a_session_outlives_a_restart_and_ends_with_its_password(tmp_path: Path) -> None:
    with build_guarded(tmp_path) as serving:
        reader = Reader(serving.port)
        reader.log_in()
        restart(serving, PASSWORD)
        assert reader.get("/").status == 200
        restart(serving, "another password")
        assert reader.get("/").location == "/login"
        assert reader.log_in("another password").status == 303


def test_wrong_passwords_make_the_next_ones_wait_and_lock_nobody_out(tmp_path: Path) -> None:
    with build_guarded(tmp_path) as serving:
        reader = Reader(serving.port)
        for _ in range(5):
            answer = reader.log_in("wrong password")
            assert answer.status == 403
            assert "not the password" in answer.text
        began = time.monotonic()
        basic = build_basic("wrong password")
        assert reader.get("/api/projects.json", Authorization=basic).status == 401
        assert reader.log_in().status == 303
        # One second for the sixth, and two for the seventh.
        assert time.monotonic() - began >= 3
        assert serving.output.count("wrong password from 127.0.0.1") == 6
        for secret in (PASSWORD, "wrong password\n", reader.cookies["nvoi-session"]):
            assert secret not in serving.output


def test_too_many_passwords_at_once_are_told_when_to_come_again(tmp_path: Path) -> None:
    with build_guarded(tmp_path) as serving, ThreadPoolExecutor(12) as pool:
        earlier = Reader(serving.port)
        earlier.log_in()
        for _ in range(5):
            Reader(serving.port).log_in("wrong password")
        answers = list(pool.map(lambda _: Reader(serving.port).log_in("wrong password"), range(12)))
        refused = [answer for answer in answers if answer.status == 429]
        assert refused
        assert "again in 30 s." in refused[0].text
        assert refused[0].headers["Retry-After"] == "30"
        assert earlier.get("/").status == 200


def test_a_guess_that_waits_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with build_guarded(tmp_path) as serving, contextlib.ExitStack() as stack:
        for _ in range(5):
            Reader(serving.port).log_in("wrong password")
        body = b"password=wrong"
        head = f"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        for _ in range(5):
            connection = socket.create_connection(("127.0.0.1", serving.port), timeout=PATIENCE)
            stack.enter_context(connection).sendall(head.encode() + body)
        assert serving.get("/healthz").status == 200
        assert serving.stop() == 0
        assert "Traceback" not in serving.output


def test_a_proxy_that_is_not_trusted_is_told_of_once(tmp_path: Path) -> None:
    with build_guarded(tmp_path) as serving:
        Reader(serving.port).get("/")
        assert "--trust-proxy" not in serving.output
        for number in range(3):
            Reader(serving.port, X_Forwarded_For=f"203.0.113.{number}").get("/")
        assert serving.output.count("start the dashboard with --trust-proxy") == 1


def test_behind_a_proxy_an_address_is_the_one_that_the_proxy_saw(tmp_path: Path) -> None:
    with build_guarded(tmp_path, "--trust-proxy") as serving:
        guesser = Reader(serving.port)
        for number in range(5):
            claimed = f"10.0.0.{number}, 203.0.113.1:4000{number}"
            assert guesser.log_in("wrong password", X_Forwarded_For=claimed).status == 403
        began = time.monotonic()
        assert guesser.log_in(X_Forwarded_For="10.0.0.9, 203.0.113.1").status == 303
        assert time.monotonic() - began >= 1
        assert "wrong password from 203.0.113.1" in serving.output
        assert "--trust-proxy" not in serving.output


def test_another_host_than_the_public_urls_reads_nothing(tmp_path: Path) -> None:
    port = find_port()
    options = ("--trust-proxy", "--public-url", "https://deploys.example.com")
    with Serving(tmp_path, *options, port=port) as serving:
        answer = Reader(port, Host="evil.example").get("/")
        assert answer.status == 421
        assert "https://deploys.example.com" in answer.text
        for host in ("deploys.example.com", "localhost"):
            assert Reader(port, Host=host).get("/").status == 200
        # Deploys are known by their signatures, and whoever looks after it may use any name.
        assert Reader(port, Host="10.0.0.1").get("/healthz").status == 200
        with serving.build_client(url=f"http://127.0.0.1:{port}/api/deploys") as client:
            assert client.post("status", {"status": "started"}, {"Host": "dashboard"}) == 200


def test_where_readers_speak_https_nothing_travels_without_it(tmp_path: Path) -> None:
    options = ("--trust-proxy", "--public-url", "https://deploys.example.com")
    port = find_port()
    with Serving(tmp_path, *options, "--password-file", str(write_password(tmp_path)), port=port):
        reader = Reader(port, Host="deploys.example.com")
        strict = reader.get("/login").headers["Strict-Transport-Security"]
        assert strict == "max-age=31536000"
        assert reader.log_in(Origin="https://deploys.example.com").status == 303
        session = reader.set_cookies[0]
        assert session.startswith("__Host-nvoi-session=")
        attributes = {"path=/", "max-age=2592000", "httponly", "samesite=lax", "secure"}
        assert list_attributes(session) == attributes
        assert reader.get("/").status == 200
