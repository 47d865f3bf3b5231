"""Answers that are odd but valid, and a disk without room: nothing of it is a run's trouble."""

from __future__ import annotations

import base64
import logging
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

import pytest

from nvoi import CallbackStream, network
from nvoi.cli.undelivered import open_undelivered
from nvoi.log.delivery import Destination
from nvoi.log.undelivered import UndeliveredFile
from nvoi.protocol import LogBatch, Run
from tests.waiting import PATIENCE

KEY = "89abcdef01234567" * 4
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def serve(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives every request one answer and keeps the connection open."""
    heads: list[bytes] = []
    connections: list[socket.socket] = []

    def talk(connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("rb") as file:
            while head := b"".join(takewhile(lambda line: line != b"\r\n", file)):
                heads.append(head)
                fields = dict(line.lower().split(b":", 1) for line in head.splitlines()[1:])
                file.read(int(fields[b"content-length"]))
                connection.sendall(answer)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/api", heads
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK,
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nnever more than this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Encoding: gzip\r\n\r\n",
    ],
    ids=["plain", "1.0", "204", "100", "103", "102-twice", "short-body", "bad-chunk", "gzip"],
)
def test_an_answer_counts_by_its_final_status(answer: bytes, tmp_path: Path) -> None:
    logger = logging.getLogger("nvoi.tests.answers")
    with serve(answer) as (url, heads):
        with CallbackStream(logger, url, KEY, "run", undelivered=tmp_path) as stream:
            for number in range(3):
                logger.error("line %d", number)
        stats = stream.stats()
        assert (stats.delivered, stats.retries, stats.terminal_delivered) == (3, 0, True)
        assert len(heads) == stats.requests


def test_a_user_and_password_in_the_url_are_sent_decoded(tmp_path: Path) -> None:
    logger = logging.getLogger("nvoi.tests.answers")
    with serve(OK) as (url, heads):
        address = url.replace("http://", "http://me:p%40ss%2Fw%C3%B6rd@")
        with CallbackStream(logger, address, KEY, "run", undelivered=tmp_path):
            pass
    value = base64.b64encode("me:p@ss/wörd".encode())
    assert all(b"Authorization: Basic " + value in head for head in heads)


def test_a_proxy_that_is_no_url_is_told_without_its_password() -> None:
    with pytest.raises(network.NetworkError) as caught:
        network.build_manager("http://a.test/", {"HTTP_PROXY": "socks5://me:hunter2@proxy"})
    assert "hunter2" not in str(caught.value)


#: Files may have 2,000 bytes and no more, as on a disk that is full.
FULL = """
import logging, resource, signal, sys
from nvoi import CallbackStream
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
logger = logging.getLogger("nvoi")
logger.propagate = False
url, folder = sys.argv[1:]
with CallbackStream(logger, url, "0" * 64, "run", budget=0.5, undelivered=folder) as stream:
    for number in range(2000):
        logger.info("line %d", number)
stats = stream.stats()
print(stats.logged, stats.dropped, stats.undelivered)
"""


def test_a_disk_that_is_full_neither_fails_the_run_nor_spoils_the_file(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/api"
    result = subprocess.run(
        [sys.executable, "-c", FULL, url, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    logged, dropped, undelivered = map(int, result.stdout.split())
    assert (logged, dropped) == (2000, 2000)
    assert undelivered < 2000
    for file in tmp_path.glob("*.jsonl"):
        with open_undelivered(file) as content:
            assert content.count <= 3


def test_a_file_whose_first_request_found_no_room_is_whole_with_the_next(tmp_path: Path) -> None:
    file = UndeliveredFile(tmp_path, Destination("http://dashboard.test", "0" * 64, "1", Run()))
    request = LogBatch(['{"message": "one"}'], 1)
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, most))
    try:
        with pytest.raises(OSError, match="too large"):
            file.append(request)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    file.append(request)
    assert file.path is not None
    with open_undelivered(file.path) as content:
        assert list(content.read_requests()) == [request]
