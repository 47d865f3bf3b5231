"""Ports of this machine that lead to what a host sees."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from nvoi.command import Command
from nvoi.errors import ConnectionFailedError, NvoiError
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host
from tests.integration.ssh.conftest import StartRelay, StartServer
from tests.integration.ssh.relay import Relay
from tests.integration.ssh.server import Server
from tests.ports import find_port
from tests.waiting import PATIENCE, wait_until

Answer = Callable[[socket.socket], None]
Listen = Callable[[Answer], int]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Starts services that only a host could see; gives their ports."""
    listeners: list[socket.socket] = []

    def start(answer: Answer) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve(client: socket.socket) -> None:
            with client, suppress(OSError):
                answer(client)

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def read_all(client: socket.socket) -> bytes:
    pieces = []
    while piece := client.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def answer_digest(client: socket.socket) -> None:
    """Reads to the end, and only then answers."""
    digest, size = hashlib.sha256(), 0
    while piece := client.recv(1 << 16):
        digest.update(piece)
        size += len(piece)
    client.sendall(f"{size} {digest.hexdigest()}".encode())


def echo(client: socket.socket) -> None:
    while piece := client.recv(1 << 16):
        client.sendall(piece)


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def ask(port: int, data: bytes) -> bytes:
    with dial(port) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def describe(data: bytes) -> bytes:
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}".encode()


def test_one_direction_may_end_before_the_other(
    server: Server, connections: Connections, listen: Listen
) -> None:
    def speak_first(client: socket.socket) -> None:
        client.sendall(b"greeting")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"reply"
        heard.set()

    heard = threading.Event()
    with connections.forward(server.host, "127.0.0.1", listen(speak_first)) as port:
        with dial(port) as client:
            assert read_all(client) == b"greeting"
            client.sendall(b"reply")
            client.shutdown(socket.SHUT_WR)
            assert heard.wait(PATIENCE)
        data = b"x" * 100_000
        with connections.forward(server.host, "127.0.0.1", listen(answer_digest)) as other:
            assert ask(other, data) == describe(data)


def test_a_large_push_arrives_whole_also_when_keys_are_renewed(
    start_server: StartServer, connections: Connections, listen: Listen
) -> None:
    server = start_server("big", "RekeyLimit 16M")
    piece, count = os.urandom(1 << 20), 72
    expected = hashlib.sha256()
    with connections.forward(server.host, "127.0.0.1", listen(answer_digest)) as port:
        with dial(port) as client:
            for _ in range(count):
                client.sendall(piece)
                expected.update(piece)
            client.shutdown(socket.SHUT_WR)
            answer = read_all(client)
        assert answer == f"{count << 20} {expected.hexdigest()}".encode()
        # Commands go on meanwhile and afterwards, on the same connection.
        assert connections.run(server.host, Command("echo", "on")).stdout == "on\n"
    assert server.connection_count == 1


def test_whoever_reads_slowly_is_not_sent_more_than_fits(
    server: Server, connections: Connections, listen: Listen
) -> None:
    gate = threading.Event()

    def read_late(client: socket.socket) -> None:
        gate.wait(PATIENCE)
        answer_digest(client)

    data = os.urandom(1 << 20) * 40
    with (
        connections.forward(server.host, "127.0.0.1", listen(read_late)) as port,
        dial(port) as client,
    ):
        client.settimeout(1.0)
        sent = 0
        with suppress(TimeoutError):
            while sent < len(data):
                sent += client.send(data[sent : sent + (1 << 18)])
        assert sent < len(data)
        # What waits there does not hold up anything else.
        assert connections.run(server.host, Command("echo", "on")).stdout == "on\n"
        gate.set()
        client.settimeout(PATIENCE)
        client.sendall(data[sent:])
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == describe(data)


def test_several_forwards_and_connections_work_at_once(
    server: Server, connections: Connections, listen: Listen
) -> None:
    data = [os.urandom(300_000) for _ in range(8)]
    with (
        connections.forward(server.host, "127.0.0.1", listen(answer_digest)) as first,
        connections.forward(server.host, "127.0.0.1", listen(answer_digest)) as second,
    ):
        assert first != second
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(ask, [first, second] * 4, data))
    assert results == [describe(one) for one in data]
    assert server.connection_count == 1


def test_a_connection_that_fails_does_not_end_the_others(
    server: Server, connections: Connections, listen: Listen
) -> None:
    with (
        connections.forward(server.host, "127.0.0.1", listen(echo)) as good,
        connections.forward(server.host, "127.0.0.1", find_port()) as bad,
        dial(good) as client,
    ):
        client.sendall(b"one")
        assert client.recv(3) == b"one"
        for _ in range(3):
            with suppress(OSError):
                assert ask(bad, b"x") == b""
        client.sendall(b"two")
        assert client.recv(3) == b"two"


def test_after_a_lost_connection_the_port_works_again(
    server: Server, start_relay: StartRelay, connections: Connections, listen: Listen
) -> None:
    relay = start_relay(server.host)
    with connections.forward(relay.host, "127.0.0.1", listen(answer_digest)) as port:
        assert ask(port, b"one") == describe(b"one")
        relay.cut_after(1 << 20)
        # It is an error to the one who pushes, and never a short answer.
        with suppress(OSError):
            assert ask(port, b"x" * (8 << 20)) == b""
        assert ask(port, b"two") == describe(b"two")


def test_an_answer_that_is_cut_short_is_an_error_and_no_end(
    server: Server, start_relay: StartRelay, connections: Connections, listen: Listen
) -> None:
    def answer_for_ever(client: socket.socket) -> None:
        client.sendall(b"first")
        read_all(client)

    relay = start_relay(server.host)
    for _ in range(5):
        with (
            connections.forward(relay.host, "127.0.0.1", listen(answer_for_ever)) as port,
            dial(port) as client,
        ):
            assert client.recv(5) == b"first"
            relay.cut()
            with pytest.raises(ConnectionResetError):
                client.recv(5)


def test_the_end_of_a_forward_ends_its_connections(
    server: Server, connections: Connections, listen: Listen
) -> None:
    before = threading.active_count()
    with connections.forward(server.host, "127.0.0.1", listen(echo)) as port:
        client = dial(port)
        client.sendall(b"one")
        assert client.recv(3) == b"one"
    with client, suppress(OSError):
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        dial(port)
    wait_until(lambda: threading.active_count() <= before + 4, "the forward's threads to end")


def test_a_local_port_that_is_taken_is_told(server: Server, connections: Connections) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(NvoiError, match="of this machine cannot be had"),
        connections.forward(server.host, "127.0.0.1", 80, local_port=taken.getsockname()[1]),
    ):
        pass


def test_a_forward_over_a_host_that_is_away_is_told(connections: Connections, relay: Relay) -> None:
    away = Host("web-9", "127.0.0.1", find_port())
    with pytest.raises(ConnectionFailedError), connections.forward(away, "127.0.0.1", 80):
        pass
