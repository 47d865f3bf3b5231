"""Commands on a host."""

from __future__ import annotations

import logging
import math
import signal
import sys
import threading
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from nvoi.command import Command, Hidden, Result, build_script, script, sudo
from nvoi.errors import (
    ConnectionFailedError,
    ConnectionLostError,
    NvoiError,
    RemoteError,
    RemoteTimeoutError,
)
from nvoi.log.masking import add_secrets
from nvoi.parallel import CancelledError, Task
from nvoi.process import find_process
from nvoi.secret import Secret
from nvoi.ssh.connections import Connections
from nvoi.waiting import Reminder
from tests.integration.ssh.conftest import Connect, StartRelay, StartServer
from tests.integration.ssh.server import Server
from tests.waiting import PATIENCE, wait_until

TOKEN = Secret("tok-4711-very-secret")


def test_a_result_comes_back_whole(server: Server, connections: Connections) -> None:
    result = connections.run(
        server.host, script("echo out; echo err >&2; printf 'no end'; exit 3"), check=False
    )
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\nno end", ("err",))
    assert 0 < result.seconds < 10


def test_a_command_that_takes_long_is_told_now_and_then(
    server: Server, connections: Connections, tmp_path: Path, logged: pytest.LogCaptureFixture
) -> None:
    gate = tmp_path / "gate"
    command = script(f"until [ -e {gate} ]; do sleep 0.05; done")
    reminder = Reminder("the gate", logging.getLogger("nvoi"), first=0.0)
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(connections.run, server.host, command, reminder=reminder)
        try:
            wait_until(lambda: "waiting for the gate" in logged.text, "a word of the command")
            assert not result.done()
        finally:
            gate.touch()
        assert result.result(PATIENCE).is_ok


def test_a_host_that_allows_few_sessions_is_not_asked_for_more(
    start_server: StartServer, connections: Connections
) -> None:
    server = start_server("small", "MaxSessions 2")

    def work(number: int) -> str:
        return connections.run(server.host, script(f"sleep 0.05; echo {number}")).stdout

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [f"{number}\n" for number in range(8)]
    assert server.connection_count == 1


def test_a_host_without_room_beside_what_lasts_is_told_and_not_waited_for(
    start_server: StartServer, connections: Connections
) -> None:
    server = start_server("small", "MaxSessions 1")
    begun = threading.Event()

    def last() -> None:
        with suppress(ConnectionLostError):
            command = script("echo begun; exec sleep 60")
            connections.run(server.host, command, timeout=math.inf, on_line=lambda _: begun.set())

    thread = threading.Thread(target=last)
    thread.start()
    assert begun.wait(PATIENCE)
    with pytest.raises(ConnectionFailedError, match=r"beside 1 that last.*MaxSessions"):
        connections.run(server.host, Command("true"), timeout=PATIENCE)
    connections.close()
    thread.join()


def begin(
    pool: ThreadPoolExecutor, connections: Connections, server: Server, text: str
) -> Future[Result]:
    """A shell command that has begun on a thread of its own."""
    begun = threading.Event()
    command = script(f"echo begun; {text}")
    running = pool.submit(
        connections.run, server.host, command, on_line=lambda _: begun.set(), timeout=PATIENCE
    )
    assert begun.wait(PATIENCE)
    return running


def test_what_is_cancelled_while_a_host_has_no_room_for_it_is_never_begun(
    start_server: StartServer, connections: Connections
) -> None:
    server = start_server("small", "MaxSessions 1")
    gate, mark = server.home / "gate", server.home / "mark"
    with ThreadPoolExecutor(1) as pool:
        first = begin(pool, connections, server, f"until [ -e {gate} ]; do sleep 0.05; done")
        waiting = Task(lambda: connections.run(server.host, Command("touch", mark)))
        waiting.start()
        wait_until(lambda: server.log.count("no more sessions"), "it to be refused once")
        waiting.cancel()
        with pytest.raises(CancelledError):
            waiting.future.result(PATIENCE)
        assert not first.done()
        gate.touch()
        first.result()
    assert connections.run(server.host, Command("echo", "on")).stdout == "on\n"
    assert not mark.exists()


def list_functions(thread: int) -> list[str]:
    """The names of the functions that a thread is in."""
    frame = sys._current_frames()[thread]
    return [each.f_code.co_name for each, _ in traceback.walk_stack(frame)]


def test_an_interruption_while_a_host_has_no_room_frees_nobody_s_place(
    start_server: StartServer, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nvoi.ssh.connection.ROOM_SECONDS", 0.2)
    server = start_server("small", "MaxSessions 1")
    gate, main = server.home / "gate", threading.get_ident()

    def interrupt() -> None:
        wait_until(lambda: "_wait_for_room" in list_functions(main), "the command to be refused")
        signal.pthread_kill(main, signal.SIGINT)

    with ThreadPoolExecutor(2) as pool:
        first = begin(pool, connections, server, f"until [ -e '{gate}' ]; do sleep 0.05; done")
        interrupting = pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            connections.run(server.host, Command("true"))
        interrupting.result()
        gate.touch()
        first.result()
        # Whoever takes the host for idle gives it up after 0.2 s without room.
        second = begin(pool, connections, server, "sleep 1")
        assert connections.run(server.host, Command("echo", "on")).stdout == "on\n"
        second.result()


#: What :func:`start_slow_server` is slow with.
SLEEP = "exec sleep 1000"


def start_slow_server(start_server: StartServer, wait: str) -> Server:
    """A host that runs ``wait`` before :data:`SLEEP` is read."""
    forced = f"case $SSH_ORIGINAL_COMMAND in *1000*) {wait};; esac; "
    return start_server("slow", f'ForceCommand {forced} exec sh -c "$SSH_ORIGINAL_COMMAND"')


def test_what_is_cancelled_while_it_tells_its_process_is_ended(
    start_server: StartServer,
    start_relay: StartRelay,
    connections: Connections,
    tmp_path: Path,
) -> None:
    pid, go = tmp_path / "pid", tmp_path / "go"
    wait = f"echo $$ >{pid}; until [ -e {go} ]; do sleep 0.01; done"
    relay = start_relay(start_slow_server(start_server, wait).host)
    task = Task(lambda: connections.run(relay.host, script(SLEEP)))
    task.start()
    wait_until(lambda: pid.exists() and pid.read_text(), "the command to be begun")
    relay.stall()
    go.touch()
    command = psutil.Process(int(pid.read_text()))
    wait_until(lambda: command.name() == "sleep", "the command to have told its process")
    task.cancel()
    relay.resume()
    assert task.join(PATIENCE)
    with pytest.raises(ConnectionLostError, match="it was cancelled"):
        task.future.result()
    wait_until(lambda: find_process(command.pid) is None, "the command to end")


@pytest.mark.parametrize("stdin", [None, "input"])
def test_what_fails_while_it_tells_its_process_is_ended(
    start_server: StartServer,
    start_relay: StartRelay,
    connections: Connections,
    tmp_path: Path,
    stdin: str | None,
) -> None:
    pid, go, failed = tmp_path / "pid", tmp_path / "go", threading.Event()
    wait = f"echo $$ >{pid}; echo begun; until [ -e {go} ]; do sleep 0.01; done"
    relay = start_relay(start_slow_server(start_server, wait).host)

    def fail(line: str) -> None:
        relay.stall()
        go.touch()
        command = psutil.Process(int(pid.read_text()))
        wait_until(lambda: command.name() == "sleep", "the command to have told its process")
        failed.set()
        raise NvoiError(line)

    run = partial(connections.run, relay.host, script(SLEEP), stdin=stdin, on_line=fail)
    task = Task(run)
    task.start()
    assert failed.wait(PATIENCE)
    relay.resume()
    with pytest.raises(NvoiError, match="begun"):
        task.future.result(PATIENCE)
    wait_until(lambda: find_process(int(pid.read_text())) is None, "the command to end")


def test_lines_arrive_while_the_command_runs(server: Server, connections: Connections) -> None:
    gate = server.home / "gate"
    seen: list[str] = []

    def listen(line: str) -> None:
        seen.append(line)
        if line == "first":
            gate.touch()

    command = script(f"echo first; while ! [ -e {gate} ]; do sleep 0.05; done; echo second >&2")
    connections.run(server.host, command, on_line=listen, timeout=PATIENCE)
    assert seen == ["first", "second"]


def test_a_secret_in_a_long_line_is_told_in_no_piece_but_is_whole_in_data(
    server: Server, connections: Connections
) -> None:
    add_secrets(TOKEN.reveal())
    line = "x" * 65_526 + TOKEN.reveal() + "y" * 100_000
    for whole, expected in ((False, line.replace(TOKEN.reveal(), "[REDACTED]")), (True, line)):
        seen: list[str] = []
        result = connections.run(
            server.host, Command("cat"), stdin=line, on_line=seen.append, whole=whole, level=None
        )
        assert "".join(seen) == expected
        assert len(seen) == (1 if whole else 3)
        assert result.stdout == line


def test_lines_are_logged_masked_and_at_the_level_asked_for(
    server: Server, connections: Connections, logged: pytest.LogCaptureFixture
) -> None:
    add_secrets(TOKEN.reveal())
    connections.run(server.host, Command("echo", "one", Hidden(TOKEN)))
    connections.run(server.host, Command("echo", "two"), level=logging.INFO)
    connections.run(server.host, Command("echo", "three"), level=None)
    lines = [(record.levelname, record.getMessage()) for record in logged.records]
    assert ("DEBUG", "web-1: $ echo one [REDACTED]") in lines
    assert ("DEBUG", "web-1: one [REDACTED]") in lines
    assert ("INFO", "web-1: two") in lines
    assert "web-1: three" not in logged.text
    assert TOKEN.reveal() not in logged.text


def test_a_secret_given_over_stdin_is_nowhere_else(
    server: Server, connections: Connections, logged: pytest.LogCaptureFixture
) -> None:
    secret = Secret("stdin-secret-0815")
    command = script('cd; read -r value; ps -ef; env; printf "%s" "$value" | tee seen')
    result = connections.run(server.host, command, stdin=secret)
    assert (server.home / "seen").read_text() == secret.reveal()
    assert result.stdout.count(secret.reveal()) == 1
    assert secret.reveal() not in logged.text


def test_an_error_says_host_command_code_and_last_lines(
    server: Server, connections: Connections
) -> None:
    add_secrets(TOKEN.reveal())
    text = 'for i in $(seq 50); do echo line $i; done; echo no disk >&2; echo "$1"; exit 7'
    with pytest.raises(RemoteError) as caught:
        connections.run(server.host, build_script("nvoi-lines", text, Hidden(TOKEN)))
    error = caught.value
    assert str(error).startswith(f"web-1 (127.0.0.1 port {server.port}): nvoi-lines [REDACTED]")
    assert str(error).endswith("exit code 7")
    assert (error.status, error.exit_code) == (7, 1)
    assert len(error.output) == 20
    assert {"line 50", "no disk", "[REDACTED]"} <= set(error.output)
    assert TOKEN.reveal() not in f"{error!r} {error.output}"


def test_a_command_that_is_killed_is_an_error(server: Server, connections: Connections) -> None:
    with pytest.raises(RemoteError, match="ended by a signal") as caught:
        connections.run(server.host, script("kill -9 $$"))
    assert caught.value.status == -1
    assert connections.run(server.host, Command("echo", "on")).stdout == "on\n"
    assert server.connection_count == 1


def test_sudo_that_wants_a_password_is_told_with_what_to_do(
    server: Server, connections: Connections
) -> None:
    server.add_program("sudo", "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    with pytest.raises(RemoteError, match="NOPASSWD"):
        connections.run(server.host, sudo(Command("id")))


def test_a_command_has_its_time(server: Server, connections: Connections) -> None:
    mark = server.home / "pid"
    command = script(f"echo begun; echo $$ >{mark}; exec sleep 1000")
    with pytest.raises(RemoteTimeoutError, match=r"ended after 0\.4 s, its time-out") as caught:
        connections.run(server.host, command, timeout=0.4)
    assert caught.value.output == ("begun",)
    # It does not run on.
    process = Path("/proc", mark.read_text().strip())
    wait_until(lambda: not process.exists(), "the command to end")
    assert connections.run(server.host, Command("echo", "on")).stdout == "on\n"
    assert server.connection_count == 1


def test_a_command_that_never_stops_talking_has_its_time(
    server: Server, connections: Connections
) -> None:
    with pytest.raises(RemoteTimeoutError, match="its time-out"):
        connections.run(server.host, script("yes"), timeout=0.3, level=None)


def test_a_silent_command_is_ended_and_a_talking_one_is_not(
    server: Server, connections: Connections
) -> None:
    talking = script("for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.4; done")
    assert connections.run(server.host, talking, idle_timeout=3).is_ok
    with pytest.raises(RemoteTimeoutError, match=r"0\.3 s of silence"):
        connections.run(server.host, script("echo a; sleep 1000"), idle_timeout=0.3)


def test_a_command_need_not_read_its_input(server: Server, connections: Connections) -> None:
    result = connections.run(server.host, script("echo done"), stdin=b"x" * (8 << 20))
    assert result.stdout == "done\n"


def test_an_input_that_fails_is_not_taken_as_whole(
    server: Server, connections: Connections
) -> None:
    def produce() -> object:
        yield b"half"
        raise ZeroDivisionError

    path = server.home / "taken"
    with pytest.raises(ZeroDivisionError):
        connections.run(
            server.host,
            script(f"cat >{path}.part && mv {path}.part {path}"),
            stdin=produce(),  # type: ignore[arg-type]  # an iterable, as it says
        )
    assert connections.run(server.host, Command("echo", "on")).stdout == "on\n"


def test_what_a_command_leaves_in_the_background_is_not_waited_for(
    server: Server, connect: Connect
) -> None:
    connections = connect()
    # Longer than a test may take.
    result = connections.run(
        server.host, script("sleep 1000 & echo begun; echo $! >bg; exit 4"), check=False
    )
    assert (result.exit_code, result.stdout) == (4, "begun\n")
    connections.run(server.host, script("kill $(cat bg)"))


def test_output_after_the_exit_code_belongs_to_a_command_however_long_it_was_silent(
    server: Server, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nvoi.ssh.session.LEFTOVER", 1.0)
    result = connections.run(server.host, script("sleep 1.2; (sleep 0.3; echo late) & exit 0"))
    assert result.stdout == "late\n"


def test_a_command_may_close_its_output_and_go_on(server: Server, connections: Connections) -> None:
    result = connections.run(server.host, script("exec >&- 2>&-; sleep 0.3; exit 5"), check=False)
    assert result.exit_code == 5
    assert result.seconds >= 0.3
