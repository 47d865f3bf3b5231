"""Hosts that ~/.ssh/config leads to, directly and through others."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nvoi.command import Command, script
from nvoi.config.schema import SSHKeys
from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.errors import AccessError, ConnectionFailedError, ConnectionLostError, HostKeyError
from nvoi.parallel import work_on_all
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, Timeouts
from nvoi.ssh.keys import Identities
from nvoi.ssh.known_hosts import KnownHosts
from nvoi.ssh.routes import Destination, read_routes
from tests.integration.ssh.conftest import StartRelay, StartServer
from tests.integration.ssh.server import Server
from tests.ports import find_port
from tests.waiting import PATIENCE

BEHIND = "  ProxyJump bastion\n"


class User:
    """Who runs nvoi: a home, and the connections of runs."""

    def __init__(self, folder: Path, keys: SSHKeys | None, state: Path) -> None:
        self.home = folder
        self.ssh = folder / ".ssh"
        self.ssh.mkdir(parents=True, mode=0o700)
        self.known_hosts = self.ssh / "known_hosts"
        self.store = state / "known_hosts"
        self.keys = keys
        self.stack = ExitStack()

    def configure(self, *hosts: Host, **more: str) -> None:
        """Have ~/.ssh/config lead to hosts; ``more`` are further lines, by the hosts' names."""
        text = "".join(
            f"Host {host.name}\n  HostName {host.address}\n  Port {host.port}\n"
            f"  User {host.user}\n{more.pop(host.name, '')}"
            for host in hosts
        )
        file = self.ssh / "config"
        file.write_text(text + "".join(more.values()))
        file.chmod(0o600)

    def find(self, name: str) -> Host:
        """A server whose host the deploy config calls ``name``."""
        routes = read_routes({"HOME": str(self.home)})
        return routes.build_host(Destination(name, name=f"shop-{name}"))

    def connect(self, agent: str | None = None, **timeouts: float) -> Connections:
        routes = read_routes({"HOME": str(self.home)})
        identities = Identities(self.keys, agent=agent, folder=self.ssh)
        known = KnownHosts(self.store, [self.known_hosts])
        made = Connections(identities, known, Timeouts(**timeouts), routes)
        return self.stack.enter_context(made)

    def list_known(self) -> list[str]:
        """What the state folder's known_hosts calls hosts."""
        return [line.split()[0] for line in self.store.read_text().splitlines()]


@pytest.fixture
def user(tmp_path: Path, keys: SSHKeys, home: Path) -> Iterator[User]:
    made = User(tmp_path / "user", keys, home)
    with made.stack:
        yield made


@pytest.fixture
def bastion(start_server: StartServer) -> Server:
    return start_server("bastion")


@pytest.fixture
def web(start_server: StartServer) -> Server:
    """A host behind ``bastion``."""
    return start_server("web")


def label(server: Server) -> str:
    return f"[{server.address}]:{server.port}"


def test_hosts_behind_a_bastion_share_one_connection_to_it(
    start_server: StartServer, user: User
) -> None:
    everywhere = "Host *\n  ProxyJump bastion\n"
    servers = [start_server(name) for name in ("bastion", "web", "db", "queue")]
    direct = "  ProxyJump none\n"
    user.configure(*(one.host for one in servers), bastion=direct, rest=everywhere)
    hosts = [user.find(name) for name in ("web", "db", "queue")]
    connections = user.connect()
    for _ in range(2):
        work_on_all(hosts, lambda host: connections.run(host, Command("true")))
    assert [one.connection_count for one in servers] == [1, 1, 1, 1]
    assert [one.command_count for one in servers] == [0, 2, 2, 2]
    assert sorted(user.list_known()) == sorted(map(label, servers))
    assert str(hosts[0]) == f"shop-web (127.0.0.1 port {servers[1].port} through bastion)"


def test_every_host_on_the_way_is_logged_in_to_and_verified(
    start_server: StartServer, user: User
) -> None:
    servers = [start_server(name) for name in ("gate", "bastion", "web")]
    user.configure(*(one.host for one in servers), web="  ProxyJump gate,bastion\n")
    lines = [f"{label(one)} {one.host_key}\n" for one in servers]
    user.known_hosts.write_text("".join(lines))
    subprocess.run(
        ["ssh-keygen", "-q", "-H", "-f", str(user.known_hosts)], check=True, capture_output=True
    )
    user.connect().run(user.find("web"), Command("true"))
    assert [one.connection_count for one in servers] == [1, 1, 1]
    assert not user.store.exists()
    for server, place in zip(servers, ("gate", "bastion", "shop-web"), strict=True):
        old = server.host_key
        server.renew_host_key()
        before = [one.connection_count for one in servers]
        with pytest.raises(HostKeyError, match=rf"{place} \(.* the host key has changed") as caught:
            user.connect().run(user.find("web"), Command("true"))
        assert str(caught.value).startswith("shop-web (127.0.0.1 port ")
        # No key was shown to it, and nobody behind it was asked.
        reached = servers.index(server)
        after = [one.connection_count for one in servers]
        assert [b - a for a, b in zip(before, after, strict=True)] == [
            int(number < reached) for number in range(3)
        ]
        text = user.known_hosts.read_text()
        user.known_hosts.write_text(f"{text}{label(server)} {server.host_key}\n")
        assert old != server.host_key


def test_a_first_contact_that_the_user_forbids_is_refused_at_the_bastion(
    bastion: Server, web: Server, user: User
) -> None:
    strict = "Host *\n  StrictHostKeyChecking yes\n"
    user.configure(bastion.host, web.host, web=BEHIND, rest=strict)
    with pytest.raises(HostKeyError, match="allows no first contact") as caught:
        user.connect().run(user.find("web"), Command("true"))
    assert label(bastion) in caught.value.hint
    assert not user.store.exists()
    more = user.ssh / "more"
    more.write_text("".join(f"{label(one)} {one.host_key}\n" for one in (bastion, web)))
    strict += f"  UserKnownHostsFile /dev/null {more}\n"
    user.configure(bastion.host, web.host, web=BEHIND, rest=strict)
    user.connect().run(user.find("web"), Command("true"))


def test_hosts_of_one_address_behind_several_bastions_are_told_apart_by_an_alias(
    bastion: Server, web: Server, user: User
) -> None:
    user.configure(bastion.host, web.host, web=BEHIND)
    user.connect().run(user.find("web"), Command("true"))
    web.renew_host_key()
    with pytest.raises(HostKeyError, match="give this one a HostKeyAlias"):
        user.connect().run(user.find("web"), Command("true"))
    user.configure(bastion.host, web.host, web=BEHIND + "  HostKeyAlias second-web\n")
    user.connect().run(user.find("web"), Command("true"))
    assert user.list_known() == [label(bastion), label(web), "second-web"]


def test_a_bastion_that_forbids_it_is_told_with_what_to_do(
    start_server: StartServer, web: Server, user: User
) -> None:
    bastion = start_server("closed", "AllowTcpForwarding no")
    user.configure(bastion.host, web.host, web="  ProxyJump closed\n")
    with pytest.raises(
        ConnectionFailedError, match=r"cannot be reached: closed .* answers"
    ) as caught:
        user.connect().run(user.find("web"), Command("true"))
    assert caught.value.hint.startswith("let closed forward connections: AllowTcpForwarding")


def test_what_the_bastion_cannot_reach_is_told(bastion: Server, user: User) -> None:
    user.configure(bastion.host, Host("web", "127.0.0.1", find_port()), web=BEHIND)
    with pytest.raises(ConnectionFailedError, match=r"bastion .* answers: Connect") as caught:
        user.connect().run(user.find("web"), Command("true"))
    assert "does its firewall let bastion in?" in caught.value.hint


def test_a_bastion_that_is_away_or_takes_no_key_is_named(
    bastion: Server, web: Server, user: User
) -> None:
    user.configure(bastion.host, web.host, web=BEHIND)
    bastion.authorize(generate_ssh_keys("another").public_key)
    with pytest.raises(AccessError, match=r"^shop-web .*: bastion .* does not let .* in"):
        user.connect().run(user.find("web"), Command("true"))
    bastion.stop()
    with pytest.raises(ConnectionFailedError, match=r"^shop-web .*: bastion .* cannot be reached"):
        user.connect().run(user.find("web"), Command("true"))
    assert web.connection_count == 0


def test_a_host_that_never_answers_costs_the_others_behind_a_bastion_nothing(
    bastion: Server, web: Server, user: User
) -> None:
    with ExitStack() as stack:
        # A listener whose queue is full: who connects waits.
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = full.getsockname()
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        hosts = Host("dead", *address), Host("mute", *mute.getsockname())
        user.configure(bastion.host, web.host, *hosts, web=BEHIND, dead=BEHIND, mute=BEHIND)
        connections = user.connect(connect=1.0)
        connections.run(user.find("web"), Command("true"))
        with pytest.raises(ConnectionFailedError, match=r"no answer within 1 s"):
            connections.run(user.find("dead"), Command("true"))
        with pytest.raises(ConnectionFailedError, match=r"^shop-mute .*SSH could not begin"):
            connections.run(user.find("mute"), Command("true"))
        # No jump: another connection of its own.
        assert not connections.reaches(user.find("bastion"), *address)
        connections.run(user.find("web"), Command("true"))
    assert (bastion.connection_count, web.connection_count) == (2, 1)


def test_a_loss_on_the_way_is_told_and_the_way_made_again(
    bastion: Server, web: Server, user: User, start_relay: StartRelay
) -> None:
    relay = start_relay(bastion.host)
    user.configure(relay.host, web.host, web=BEHIND)
    host, connections = user.find("web"), user.connect()

    def cut(line: str) -> None:
        if line == "begun":
            relay.cut()

    with pytest.raises(ConnectionLostError, match=r"through bastion.*the connection was lost"):
        connections.run(host, script("echo begun; sleep 60"), on_line=cut)
    connections.run(host, Command("true"))
    relay.cut()
    connections.run(host, Command("true"))
    assert (bastion.connection_count, web.connection_count) == (3, 3)
    relay.refuse()
    relay.cut()
    with pytest.raises(ConnectionFailedError, match=r"^shop-web .*: bastion .* cannot be reached"):
        connections.run(host, Command("true"))


def test_much_goes_both_ways_and_a_port_leads_through_it(
    bastion: Server, web: Server, user: User
) -> None:
    user.configure(bastion.host, web.host, web=BEHIND)
    host, connections = user.find("web"), user.connect()
    data = os.urandom(3 << 20)
    result = connections.run(host, script("tee /dev/stderr | sha256sum"), stdin=data, level=None)
    assert result.stdout.split()[0] == hashlib.sha256(data).hexdigest()
    # What the host sees is sshd itself.
    with (
        connections.forward(host, web.address, web.port) as port,
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client,
    ):
        assert client.recv(4) == b"SSH-"
    assert connections.reaches(host, web.address, web.port)
    assert not connections.reaches(host, "127.0.0.1", find_port())
    assert (bastion.connection_count, web.connection_count) == (1, 1)


def test_a_bastion_at_an_ipv6_address(start_server: StartServer, web: Server, user: User) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("needs IPv6")
    bastion = start_server("bastion", address="::1")
    jump = f"  ProxyJump {bastion.user}@[::1]:{bastion.port}\n"
    user.configure(web.host, web=jump)
    user.connect().run(user.find("web"), Command("true"))
    assert bastion.connection_count == 1
    assert user.list_known()[0] == f"[::1]:{bastion.port}"


def test_the_first_contact_with_a_changed_address_goes_where_the_name_leads(
    web: Server, user: User
) -> None:
    user.configure(web.host)
    other = Host("shop-web", "web", user.find("web").port, web.user)
    # As a server that the config no longer names is reached.
    user.connect().run(other, Command("true"))
    assert user.list_known() == [label(web)]
