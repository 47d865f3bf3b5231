"""Hosts that are away, and connections that break."""

from __future__ import annotations

import logging
import socket
import threading
from dataclasses import replace

import pytest

from nvoi.command import Command, script
from nvoi.errors import ConnectionFailedError, ConnectionLostError
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host
from tests.integration.ssh.conftest import Connect, StartServer
from tests.integration.ssh.relay import Relay
from tests.integration.ssh.server import Server
from tests.ports import find_port
from tests.waiting import PATIENCE, wait_until


def count_runs(server: Server) -> int:
    path = server.home / "count"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture(autouse=True)
def _count(server: Server) -> None:
    """The host has a program that keeps how often it ran."""
    server.add_program("count", f"#!/bin/sh\necho x >>{server.home}/count\n")


def test_a_host_that_refuses_is_told_with_what_to_do(connections: Connections) -> None:
    with pytest.raises(ConnectionFailedError, match=r"web-9 .*refused") as caught:
        connections.run(Host("web-9", "127.0.0.1", find_port()), Command("true"))
    assert "firewall" in caught.value.hint


def test_a_name_that_nobody_has_is_told(connections: Connections) -> None:
    with pytest.raises(ConnectionFailedError, match="its name is not known"):
        connections.run(Host("web-9", "no-such-host.invalid"), Command("true"))


def test_a_host_that_never_answers_is_given_up(relay: Relay, connect: Connect) -> None:
    relay.stall()
    with pytest.raises(ConnectionFailedError, match=r"no answer within 0\.5 s|SSH could not begin"):
        connect(connect=0.5).run(relay.host, Command("true"))


def test_what_is_no_ssh_server_is_told(connections: Connections) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.close()

        thread = threading.Thread(target=answer)
        thread.start()
        host = Host("web-9", "127.0.0.1", listener.getsockname()[1])
        with pytest.raises(ConnectionFailedError, match="SSH could not begin"):
            connections.run(host, Command("true"))
        thread.join()


def test_a_connection_that_dropped_between_commands_is_opened_again(
    server: Server, relay: Relay, connections: Connections, logged: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        connections.run(relay.host, Command("count"))
        relay.cut()
    connections.run(relay.host, Command("count"))
    assert count_runs(server) == 4
    assert server.connection_count == 4
    assert "the connection was lost; connecting again" in logged.text


def test_a_host_that_stays_away_is_tried_once_more_and_told(
    relay: Relay, connections: Connections
) -> None:
    connections.run(relay.host, Command("true"))
    accepted = relay.accepted
    relay.refuse()
    relay.cut()
    with pytest.raises(ConnectionFailedError, match="cannot be reached"):
        connections.run(relay.host, Command("true"))
    relay.accept_again()
    connections.run(relay.host, Command("true"))
    assert relay.accepted == accepted + 1


def test_a_command_that_was_begun_is_never_run_again(
    server: Server, relay: Relay, connections: Connections
) -> None:
    def cut(line: str) -> None:
        if line == "begun":
            relay.cut()

    with pytest.raises(ConnectionLostError) as caught:
        connections.run(relay.host, script("count; echo begun; sleep 1000"), on_line=cut)
    error = caught.value
    assert "web-1 (127.0.0.1 port" in str(error)
    assert "count; echo begun; sleep 1000: the connection was lost" in str(error)
    assert error.output == ("begun",)
    assert connections.run(relay.host, Command("echo", "on")).stdout == "on\n"
    assert count_runs(server) == 1


def test_a_loss_between_the_exit_code_and_the_last_output_is_no_success(
    relay: Relay, connections: Connections
) -> None:
    timers: list[threading.Timer] = []

    def cut_later(_: str) -> None:
        timers.append(threading.Timer(0.5, relay.cut))
        timers[-1].start()

    # sshd tells the exit code when the shell ends, and the end of the output after `late`.
    command = script("(sleep 10; echo late) & echo early")
    with pytest.raises(ConnectionLostError) as caught:
        connections.run(relay.host, command, on_line=cut_later)
    assert caught.value.output == ("early",)
    timers[0].join()


def test_a_connection_that_fell_silent_is_noticed_while_a_command_runs(
    relay: Relay, connect: Connect
) -> None:
    connections = connect(silence=0.3)
    with pytest.raises(ConnectionLostError):
        connections.run(
            relay.host, script("echo begun; sleep 1000"), on_line=lambda _: relay.stall()
        )


def test_a_quiet_command_is_not_taken_for_a_dead_connection(
    server: Server, relay: Relay, connect: Connect
) -> None:
    connections = connect(silence=0.1)
    sent = relay.sent
    assert connections.run(relay.host, script("sleep 1; echo done")).stdout == "done\n"
    assert relay.sent > sent
    assert server.connection_count == 1


def test_a_connection_that_fell_silent_between_commands_is_opened_again(
    server: Server, relay: Relay, connect: Connect
) -> None:
    connections = connect()
    connections.run(relay.host, Command("count"))
    relay.stall()

    def recover() -> None:
        relay.cut()
        relay.resume()

    timer = threading.Timer(0.25, recover)
    timer.start()
    connections.run(relay.host, Command("count"))
    timer.join()
    assert count_runs(server) == 2


def test_the_loss_reaches_all_who_wait(relay: Relay, connections: Connections) -> None:
    begun = threading.Barrier(4)
    errors: list[BaseException] = []

    def meet(_: str) -> None:
        begun.wait(PATIENCE)

    def work() -> None:
        try:
            connections.run(relay.host, script("echo begun; sleep 1000"), on_line=meet)
        except ConnectionLostError as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.wait(PATIENCE)
    relay.cut()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(errors) == 3


def test_a_closed_connection_leaves_nothing_behind(
    start_server: StartServer, connections: Connections
) -> None:
    # A name of its own: hosts of other tests may be there still.
    server = start_server("closed")
    connections.run(server.host, Command("true"))
    before = {thread.name for thread in threading.enumerate()}
    assert f"nvoi-ssh-{server.name}" in before
    connections.close()
    wait_until(
        lambda: f"nvoi-ssh-{server.name}" not in {one.name for one in threading.enumerate()},
        "the connection's thread to end",
    )


def test_the_library_behind_tells_nobody_anything(
    relay: Relay,
    connections: Connections,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    connections.run(relay.host, Command("true"))
    relay.cut()
    connections.run(relay.host, Command("true"))
    connections.run(replace(relay.host, name="other"), Command("true"))
    assert {record.name for record in caplog.records} == {"nvoi.ssh"}
    assert capfd.readouterr().err == ""
