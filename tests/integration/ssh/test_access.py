"""Which keys are shown to a host, and what is said where none of them fits."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvoi.command import Command
from nvoi.config.schema import SSHKeys
from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.errors import AccessError
from nvoi.secret import Secret
from nvoi.ssh.connections import Connections, build_connections
from nvoi.ssh.keys import Identities
from nvoi.ssh.known_hosts import KnownHosts
from tests.integration.ssh.conftest import StartServer, write_pair
from tests.integration.ssh.server import Server


def write_key(path: Path, keys: SSHKeys) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_text(keys.private_key.reveal())
    return path


@pytest.fixture
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The socket of an agent without keys."""
    path = tmp_path_factory.mktemp("a") / "s"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield str(path)
    process.terminate()
    process.communicate()


def add_key(agent: str, path: Path) -> None:
    environ = {**os.environ, "SSH_AUTH_SOCK": agent}
    subprocess.run(["ssh-add", "-q", str(path)], env=environ, check=True, capture_output=True)


def run_true(server: Server, connections: Connections) -> None:
    with connections:
        connections.run(server.host, Command("true"))


def test_the_config_key_comes_first(
    server: Server, keys: SSHKeys, tmp_path: Path, agent: str
) -> None:
    write_key(tmp_path / ".ssh" / "id_ed25519", generate_ssh_keys("file"))
    add_key(agent, write_key(tmp_path / "other", generate_ssh_keys("agent")))
    environ = {"HOME": str(tmp_path), "SSH_AUTH_SOCK": agent}
    run_true(server, build_connections(keys, tmp_path / "state", environ))
    assert "Failed publickey" not in server.log
    assert server.connection_count == 1


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_key_file_lets_in(server: Server, tmp_path: Path, kind: str) -> None:
    file = tmp_path / ".ssh" / f"id_{kind}"
    file.parent.mkdir()
    server.authorize(write_pair(file, kind).strip())
    run_true(server, build_connections(None, tmp_path / "state", {"HOME": str(tmp_path)}))


def test_more_keys_are_shown_than_one_connection_takes(
    start_server: StartServer, tmp_path: Path, agent: str
) -> None:
    server = start_server("strict", "MaxAuthTries 2")
    wanted = generate_ssh_keys("wanted")
    for number in range(5):
        add_key(agent, write_key(tmp_path / str(number), generate_ssh_keys(str(number))))
    add_key(agent, write_key(tmp_path / "wanted", wanted))
    server.authorize(wanted.public_key)
    run_true(server, build_connections(None, tmp_path / "state", {"SSH_AUTH_SOCK": agent}))


def test_a_host_that_refuses_every_key_is_told_with_what_to_do(
    server: Server, tmp_path: Path, agent: str
) -> None:
    wrong = generate_ssh_keys("wrong")
    add_key(agent, write_key(tmp_path / "a", generate_ssh_keys("the-agents")))
    locked = tmp_path / ".ssh" / "id_ed25519"
    locked.parent.mkdir()
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "passphrase", "-f", str(locked)], check=True
    )
    (tmp_path / ".ssh" / "id_rsa").write_text("nonsense")
    environ = {"HOME": str(tmp_path), "SSH_AUTH_SOCK": agent}
    with (
        build_connections(wrong, tmp_path / "state", environ) as connections,
        pytest.raises(AccessError) as caught,
    ):
        connections.run(server.host, Command("true"))
    text = str(caught.value)
    assert f"{server.host} does not let {server.user} in" in text
    assert "ssh_keys of the config: refused" in text
    assert "the agent's key" in text
    assert f"{locked} has a passphrase: add it to an SSH agent" in text
    assert "id_rsa cannot be used" in text
    assert f"authorized_keys of {server.user} there: {wrong.public_key}" in text
    assert wrong.private_key.reveal().splitlines()[2] not in text


def test_an_agent_that_is_gone_is_told(server: Server, tmp_path: Path) -> None:
    environ = {"SSH_AUTH_SOCK": str(tmp_path / "gone")}
    with pytest.raises(AccessError, match="the SSH agent does not answer"):
        run_true(server, build_connections(None, tmp_path / "state", environ))


def test_a_config_key_that_is_none_is_told_without_showing_it(
    server: Server, tmp_path: Path
) -> None:
    keys = SSHKeys(Secret("not-a-key-but-secret"), "ssh-ed25519 AAAA")
    connections = Connections(Identities(keys), KnownHosts(tmp_path / "known_hosts"))
    with pytest.raises(AccessError) as caught:
        run_true(server, connections)
    assert "not-a-key" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_host_that_takes_no_keys_is_told(
    start_server: StartServer, keys: SSHKeys, tmp_path: Path
) -> None:
    server = start_server("closed", "PubkeyAuthentication no", "PasswordAuthentication yes")
    with pytest.raises(AccessError, match="PubkeyAuthentication"):
        run_true(server, build_connections(keys, tmp_path / "state", {}))


def test_the_private_key_is_never_on_disk(server: Server, keys: SSHKeys, tmp_path: Path) -> None:
    state = tmp_path / "state"
    run_true(server, build_connections(keys, state, {"HOME": str(tmp_path)}))
    line = keys.private_key.reveal().splitlines()[2]
    assert [
        path for path in tmp_path.rglob("*") if path.is_file() and line in path.read_text()
    ] == []


def configure(user: Path, *lines: str) -> None:
    """Have the user's ~/.ssh/config say something of every host."""
    file = user / ".ssh" / "config"
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))
    file.chmod(0o600)


def test_a_key_file_of_the_users_config_is_shown_instead_of_the_usual_ones(
    server: Server, keys: SSHKeys, tmp_path: Path
) -> None:
    own = generate_ssh_keys("own")
    server.authorize(own.public_key)
    write_key(tmp_path / ".ssh" / "id_ed25519", generate_ssh_keys("usual"))
    write_key(tmp_path / "keys" / "own key", own)
    configure(tmp_path, f"User {server.user}", 'IdentityFile "~/keys/own key"')
    run_true(server, build_connections(keys, tmp_path / "state", {"HOME": str(tmp_path)}))
    # The config's own.
    assert server.log.count("Failed publickey") == 1


@pytest.mark.parametrize("is_public", [False, True])
def test_only_keys_of_the_users_config_are_shown_also_of_the_agents(
    server: Server, tmp_path: Path, agent: str, is_public: bool
) -> None:
    own = tmp_path / "keys" / "own"
    own.parent.mkdir()
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-f", str(own)]
    subprocess.run([*words, "-N", ""], check=True)
    for number in range(3):
        add_key(agent, write_key(tmp_path / str(number), generate_ssh_keys(str(number))))
    add_key(agent, own)
    # What is in the agent is all that can be used.
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(own)], check=True)
    server.authorize(own.with_suffix(".pub").read_text().strip())
    environ = {"HOME": str(tmp_path), "SSH_AUTH_SOCK": agent}
    configure(tmp_path, f"IdentityFile {own}{'.pub' * is_public}")
    run_true(server, build_connections(None, tmp_path / "state", environ))
    assert "Failed publickey" not in server.log
    configure(tmp_path, f"IdentityFile {own}", "IdentitiesOnly yes")
    server.authorize(generate_ssh_keys("another").public_key)
    with pytest.raises(AccessError) as caught:
        run_true(server, build_connections(None, tmp_path / "state", environ))
    assert server.log.count("Failed publickey") == 1
    own.with_suffix(".pub").unlink()
    with pytest.raises(AccessError, match=f"SSH agent, and its public half to {own}.pub"):
        run_true(server, build_connections(None, tmp_path / "state", environ))
    assert "there is no key" not in str(caught.value)


def test_a_key_file_that_is_missing_is_told(server: Server, tmp_path: Path) -> None:
    configure(tmp_path, "IdentityFile ~/gone")
    with pytest.raises(AccessError, match=f"{tmp_path}/gone is not there"):
        run_true(server, build_connections(None, tmp_path / "state", {"HOME": str(tmp_path)}))


def test_an_agent_of_the_users_config_is_asked(server: Server, tmp_path: Path, agent: str) -> None:
    own = generate_ssh_keys("agent")
    server.authorize(own.public_key)
    add_key(agent, write_key(tmp_path / "own", own))
    environ = {"HOME": str(tmp_path), "SSH_AUTH_SOCK": agent}
    configure(tmp_path, "IdentityAgent none")
    with pytest.raises(AccessError, match="there is no key to show"):
        run_true(server, build_connections(None, tmp_path / "state", environ))
    configure(tmp_path, f"IdentityAgent {agent}")
    run_true(server, build_connections(None, tmp_path / "state", {"HOME": str(tmp_path)}))
