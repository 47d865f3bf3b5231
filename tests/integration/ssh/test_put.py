"""Files on a host."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nvoi.command import Command
from nvoi.errors import ConnectionLostError, NvoiError, RemoteError
from nvoi.secret import Secret
from nvoi.ssh.connections import Connections
from nvoi.ssh.files import build_put
from tests.integration.ssh.relay import Relay
from tests.integration.ssh.server import Server
from tests.integration.ssh.waits import wait_until


def list_names(server: Server) -> list[str]:
    return sorted(path.name for path in server.home.iterdir() if path.name != "sudo.log")


def get_mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    "data", [b"", b"\0\xff\r\n" * 3, os.urandom(3 << 20)], ids=["empty", "binary", "large"]
)
def test_bytes_arrive_as_they_are(server: Server, connections: Connections, data: bytes) -> None:
    path = server.home / "it's a file"
    connections.put(server.host, data, str(path))
    assert path.read_bytes() == data
    assert get_mode(path) == 0o600
    assert list_names(server) == [path.name]


def test_a_file_is_sent_and_replaced_in_one_round_trip(
    server: Server, connections: Connections, tmp_path: Path
) -> None:
    source, path = tmp_path / "source", server.home / "file"
    path.write_text("old")
    before = path.stat().st_ino
    source.write_bytes(b"new" * 500_000)
    connections.put(server.host, source, str(path), mode=0o755)
    assert path.read_bytes() == source.read_bytes()
    assert get_mode(path) == 0o755
    assert path.stat().st_ino != before
    assert server.command_count == 1


def test_a_file_can_be_written_by_root(server: Server, connections: Connections) -> None:
    path = server.home / "file"
    connections.put(server.host, "text", str(path), mode=0o640, sudo=True)
    assert path.read_text() == "text"
    assert get_mode(path) == 0o640
    assert (server.home / "sudo.log").read_text().startswith("-n -- sh -c")


def test_a_secret_is_never_readable_for_others_nor_logged(
    server: Server, connections: Connections, logged: pytest.LogCaptureFixture
) -> None:
    secret = Secret("file-secret-0815")
    # What others could see: each mode that the file has, on its way, and every process.
    server.add_program(
        "cat",
        '#!/bin/sh\nstat -c %a "$HOME"/.nvoi.* >"$HOME/modes"\nps -ef >>"$HOME/modes"\n'
        'exec /bin/cat "$@"\n',
    )
    connections.put(server.host, secret, str(server.home / "file"))
    assert (server.home / "file").read_text() == secret.reveal()
    seen = (server.home / "modes").read_text()
    assert seen.startswith("600\n")
    assert secret.reveal() not in seen + logged.text
    assert "web-1: $ write" in logged.text


def test_a_folder_is_not_overwritten(server: Server, connections: Connections) -> None:
    (server.home / "folder").mkdir()
    with pytest.raises(RemoteError, match="exit code 1") as caught:
        connections.put(server.host, b"x", str(server.home / "folder"))
    assert caught.value.output[-1].endswith("folder is a folder")
    assert list_names(server) == ["folder"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    server: Server, connections: Connections
) -> None:
    path = server.home / "file"
    path.write_text("old")
    server.add_program("cat", "#!/bin/sh\nhead -c 1000\nexec /bin/cat >/dev/full\n")
    with pytest.raises(RemoteError, match=r"write .*file \(2000000 bytes\): exit code") as caught:
        connections.put(server.host, b"x" * 2_000_000, str(path))
    assert any("No space left on device" in line for line in caught.value.output)
    assert path.read_text() == "old"
    assert list_names(server) == ["file"]


def test_an_upload_that_is_cut_leaves_the_old_file_and_nothing_else(
    server: Server, relay: Relay, connections: Connections
) -> None:
    path = server.home / "file"
    path.write_text("old")
    connections.run(relay.host, Command("true"))
    relay.cut_after(1 << 20)
    with pytest.raises(ConnectionLostError, match="write"):
        connections.put(relay.host, b"x" * (8 << 20), str(path))
    wait_until(lambda: list_names(server) == ["file"], "the new file to go")
    assert path.read_text() == "old"
    connections.put(relay.host, b"again", str(path))
    assert path.read_text() == "again"


def test_a_missing_folder_is_an_error(server: Server, connections: Connections) -> None:
    with pytest.raises(RemoteError):
        connections.put(server.host, b"x", str(server.home / "no" / "file"))


def test_a_missing_source_is_an_error_before_anything_is_sent(
    server: Server, connections: Connections, tmp_path: Path
) -> None:
    with pytest.raises(NvoiError, match="cannot read"):
        connections.put(server.host, tmp_path / "no", str(server.home / "file"))
    assert server.connection_count == 0


@pytest.mark.parametrize(("path", "mode"), [("file", 0o600), ("/f/", 0o600), ("/f", 0o17777)])
def test_a_place_that_is_none_is_refused(path: str, mode: int) -> None:
    with pytest.raises(ValueError, match="file"):
        build_put(path, mode, 1)


def test_files_that_are_written_at_once_do_not_meet(
    server: Server, connections: Connections
) -> None:
    path = server.home / "file"
    contents = [letter * 999_999 for letter in (b"a", b"b", b"c", b"d")]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda content: connections.put(server.host, content, str(path)), contents))
    assert path.read_bytes() in contents
    assert list_names(server) == ["file"]
