"""Whether a host is the one it was."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nvoi.command import Command
from nvoi.config.schema import SSHKeys
from nvoi.errors import ConfigError, HostKeyError, NvoiError
from nvoi.parallel import work_on_all
from nvoi.ssh.connections import Connections, build_connections
from nvoi.ssh.host import Host
from nvoi.ssh.keys import Identities
from nvoi.ssh.known_hosts import KnownHosts, read_key
from tests.integration.ssh.conftest import Connect, StartServer, write_pair
from tests.integration.ssh.server import Server
from tests.waiting import PATIENCE


def fingerprint(text: str) -> str:
    key = read_key(text)
    assert key is not None
    return key.fingerprint


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """The user's own home."""
    (tmp_path / "user" / ".ssh").mkdir(parents=True)
    return tmp_path / "user"


def run_true(keys: SSHKeys, home: Path, user: Path, host: Host) -> None:
    with build_connections(keys, home, {"HOME": str(user)}) as connections:
        connections.run(host, Command("true"))


def test_a_first_contact_is_stored_and_said_once(
    server: Server, connect: Connect, home: Path, logged: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        connect().run(server.host, Command("true"))
    store = home / "known_hosts"
    assert store.read_text() == f"[127.0.0.1]:{server.port} {server.host_key}\n"
    assert store.stat().st_mode & 0o777 == 0o600
    said = [record for record in logged.records if "first contact" in record.getMessage()]
    assert len(said) == 1
    assert said[0].levelname == "INFO"
    assert fingerprint(server.host_key) in said[0].getMessage()


def test_a_changed_key_stops_with_what_to_do(server: Server, connect: Connect, home: Path) -> None:
    connect().run(server.host, Command("true"))
    old = server.host_key
    new = server.renew_host_key()
    with pytest.raises(HostKeyError) as caught:
        connect().run(server.host, Command("touch", server.home / "ran"))
    assert not (server.home / "ran").exists()
    assert "Failed publickey" not in server.log
    text = str(caught.value)
    assert fingerprint(old) in text
    assert fingerprint(new) in text
    assert f"{home / 'known_hosts'}:1" in text
    command = f"ssh-keygen -R '[127.0.0.1]:{server.port}' -f '{home / 'known_hosts'}'"
    assert command in text
    # What it says to do helps.
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    connect().run(server.host, Command("true"))


def test_a_host_that_the_user_knows_is_held_to_that(
    server: Server, keys: SSHKeys, home: Path, user: Path
) -> None:
    known = user / ".ssh" / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    run_true(keys, home, user, server.host)
    assert not (home / "known_hosts").exists()
    server.renew_host_key()
    with pytest.raises(HostKeyError, match=str(known)):
        run_true(keys, home, user, server.host)


def test_a_key_of_another_kind_is_no_first_contact(
    server: Server, keys: SSHKeys, home: Path, user: Path
) -> None:
    public = write_pair(user / "rsa", "rsa")
    (user / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {public}")
    with pytest.raises(HostKeyError, match="has changed"):
        run_true(keys, home, user, server.host)


def test_a_host_shows_the_key_that_is_known_where_it_has_several(
    start_server: StartServer, keys: SSHKeys, home: Path, user: Path
) -> None:
    public = write_pair(user / "rsa", "rsa")
    server = start_server("several", f"HostKey {user / 'rsa'}")
    # A mark says nothing of the kind that this host has.
    (user / ".ssh" / "known_hosts").write_text(
        f"@revoked * {keys.public_key}\n[127.0.0.1]:{server.port} {public}"
    )
    run_true(keys, home, user, server.host)


def test_a_revoked_key_is_refused(server: Server, keys: SSHKeys, home: Path, user: Path) -> None:
    line = f"@revoked * {server.host_key}\n[127.0.0.1]:{server.port} {server.host_key}\n"
    (user / ".ssh" / "known_hosts").write_text(line)
    with pytest.raises(HostKeyError, match="revoked"):
        run_true(keys, home, user, server.host)


def test_the_revoked_key_of_another_host_says_nothing_of_this_one(
    server: Server, keys: SSHKeys, home: Path, user: Path
) -> None:
    (user / ".ssh" / "known_hosts").write_text(f"@revoked * {keys.public_key}\n")
    run_true(keys, home, user, server.host)
    assert (home / "known_hosts").read_text().split()[1:] == server.host_key.split()
    server.renew_host_key()
    with pytest.raises(HostKeyError, match="has changed"):
        run_true(keys, home, user, server.host)


def test_a_key_of_the_config_decides_alone(server: Server, connections: Connections) -> None:
    connections.run(replace(server.host, host_keys=(server.host_key,)), Command("true"))
    other = server.host_key
    server.renew_host_key()
    with pytest.raises(HostKeyError, match="put its new key into the config"):
        connections.run(replace(server.host, name="w", host_keys=(other,)), Command("true"))
    with pytest.raises(ConfigError, match="OpenSSH text"):
        connections.run(replace(server.host, host_keys=("nonsense",)), Command("true"))


def test_contacts_of_many_threads_and_processes_are_all_kept(
    start_server: StartServer, keys: SSHKeys, connections: Connections, home: Path, tmp_path: Path
) -> None:
    servers = [start_server(f"web-{number}") for number in range(4)]
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from nvoi.ssh.host import Host\n"
        "from nvoi.ssh.known_hosts import KnownHosts, read_key\n"
        "keys = KnownHosts(Path(sys.argv[1]))\n"
        "for number in range(20):\n"
        "    keys.check(Host('h', f'10.0.0.{number}'), read_key(sys.argv[2]))\n"
    )
    store = home / "known_hosts"
    # Another run beside this one.
    process = subprocess.Popen([sys.executable, "-c", script, str(store), keys.public_key])
    work_on_all(
        [server.host for server in servers], lambda host: connections.run(host, Command("true"))
    )
    assert process.wait(PATIENCE) == 0
    lines = store.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 24
    assert {f"[127.0.0.1]:{server.port}" for server in servers} <= {
        line.split()[0] for line in lines
    }


def test_a_store_that_cannot_be_written_lets_nobody_in(
    server: Server, keys: SSHKeys, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with (
        Connections(Identities(keys), KnownHosts(tmp_path / "file" / "known_hosts")) as connections,
        pytest.raises(NvoiError, match="host keys cannot be kept"),
    ):
        connections.run(server.host, Command("true"))


def sign(public: Path, authority: Path, *options: str) -> None:
    """Make a certificate for the key of a host, beside it."""
    words = ["ssh-keygen", "-q", "-s", str(authority), "-I", "web", "-h", *options, str(public)]
    subprocess.run(words, check=True, capture_output=True)


def certify(server: Server, authority: Path, name: str) -> None:
    """Have a host show a certificate for the key that it has."""
    public = server.folder / "host_key.pub"
    public.write_text(f"{server.host_key}\n")
    sign(public, authority, "-n", name)


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_an_authority_stands_for_hosts_that_are_made_anew(
    start_server: StartServer, keys: SSHKeys, home: Path, user: Path, kind: str
) -> None:
    authority = user / "ca"
    public = write_pair(authority, kind)
    (user / ".ssh" / "known_hosts").write_text(f"@cert-authority 127.0.0.* {public}")
    certificate = home.parent / "hosts" / "web-1" / "host_key-cert.pub"
    server = start_server("web-1", f"HostCertificate {certificate}")
    with pytest.raises(HostKeyError, match="shows no host certificate"):
        run_true(keys, home, user, server.host)
    for _ in range(2):
        server.stop()
        server.change_host_key()
        certify(server, authority, "127.0.0.1")
        server.start()
        run_true(keys, home, user, server.host)
    assert not (home / "known_hosts").exists()
    server.stop()
    certify(server, authority, "127.0.0.2")
    server.start()
    with pytest.raises(HostKeyError, match=r"is for 127\.0\.0\.2 and not for 127\.0\.0\.1"):
        run_true(keys, home, user, server.host)


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_a_certificate_is_asked_for_where_a_host_has_keys_without_one(
    start_server: StartServer, keys: SSHKeys, home: Path, user: Path, kind: str
) -> None:
    authority, key = user / "ca", user / "key"
    public = write_pair(authority, "ed25519")
    write_pair(key, kind)
    sign(key, authority)
    server = start_server("web-1", f"HostKey {key}", f"HostCertificate {key}-cert.pub")
    (user / ".ssh" / "known_hosts").write_text(f"@cert-authority * {public}")
    run_true(keys, home, user, server.host)
    assert not (home / "known_hosts").exists()
    # Who knows no authority is shown the host's usual key.
    (user / ".ssh" / "known_hosts").unlink()
    run_true(keys, home, user, server.host)
    assert (home / "known_hosts").read_text().split()[1:] == server.host_key.split()
