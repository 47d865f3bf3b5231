"""The host key of a new server: verified, replaced, and known from then on, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from nvoi.command import Command
from nvoi.config.schema import SSHKeys
from nvoi.errors import ConnectionFailedError, HostKeyError, NvoiError
from nvoi.providers.cloud_init import build_user_data, generate_host_key
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections
from nvoi.targets.cluster import boot
from nvoi.targets.cluster.context import ClusterContext
from tests.fakes.cluster_state import ClusterState
from tests.integration.providers.rented_machine import RentedMachine
from tests.integration.ssh.conftest import Connect
from tests.ports import find_port
from tests.unit.targets.cluster.rented import Account
from tests.unit.targets.cluster.runs import see

PRIVATE_IP = "10.0.1.2"


@pytest.fixture
def machine(tmp_path: Path, keys: SSHKeys) -> Iterator[RentedMachine]:
    """A server that has just been made."""
    state = ClusterState(tmp_path / "cluster")
    data = build_user_data("shop-main-1", keys.public_key, generate_host_key())
    made = RentedMachine(
        tmp_path / "machine",
        data,
        state,
        PRIVATE_IP,
        name="shop-main-1",
        address="127.0.0.1",
        port=find_port(),
    )
    yield made
    made.stop()
    state.close()


@pytest.fixture
def server(machine: RentedMachine) -> Server:
    host = replace(machine.host, host_keys=(machine.host_key,))
    return Server("shop-main-1", "main", host, private_ip=PRIVATE_IP, is_new=True)


def build_context(connections: Connections, account: Account) -> ClusterContext:
    """A run that has asked nothing yet."""
    context = see([])
    context.provider, context.connections = account, connections
    return context


def read_key(machine: RentedMachine) -> str:
    return machine.read(f"{boot.KEY_FILE}.pub").strip()


def find_as_noted(server: Server, account: Account) -> Server:
    """The server as the next run finds it."""
    noted = account.keys[-1] if account.keys else server.host.host_keys
    is_new = not account.keys or len(noted) > 1
    return replace(server, host=replace(server.host, host_keys=noted), is_new=is_new)


def check_known(server: Server, connect: Connect, machine: RentedMachine, first: str) -> None:
    """That it is known by the key that it has, which is not the one that it was made with."""
    assert not server.is_new
    assert server.host.host_keys == (read_key(machine),)
    assert first not in server.host.host_keys
    connect().run(server.host, Command("true"))
    with pytest.raises(HostKeyError):
        connect().run(replace(server.host, host_keys=(first,)), Command("true"))
    # Nobody else may read it.
    assert (machine.root / boot.KEY_FILE.lstrip("/")).stat().st_mode & 0o777 == 0o600
    assert not (machine.root / boot.NEXT_FILE.lstrip("/")).exists()


def test_a_new_server_gets_a_host_key_that_only_it_has(
    machine: RentedMachine, server: Server, connect: Connect
) -> None:
    account = Account()
    (known,) = boot.welcome(build_context(connect(), account), [server])
    first = machine.host_key
    # Both are noted before the server shows the second one.
    assert account.keys == [(first, read_key(machine)), (read_key(machine),)]
    check_known(known, connect, machine, first)
    assert boot.welcome(build_context(connect(), account), [known]) == (known,)
    assert len(account.keys) == 2


class Cut(Account):
    """The provider of a run that ends at its ``last`` word to it."""

    last = 0

    def keep_host_keys(self, server: Server, keys: object) -> Server:
        if len(self.keys) == self.last:
            raise NvoiError("the run was cut off")
        return super().keep_host_keys(server, keys)  # type: ignore[arg-type]


@pytest.mark.parametrize("last", [0, 1])
def test_a_run_that_is_cut_off_before_it_has_noted_a_key_is_gone_on_from(
    machine: RentedMachine, server: Server, connect: Connect, last: int
) -> None:
    account = Cut()
    account.last = last
    with pytest.raises(NvoiError, match="cut off"):
        boot.welcome(build_context(connect(), account), [server])
    rest = Account(keys=[*account.keys])
    found = find_as_noted(server, rest)
    (known,) = boot.welcome(build_context(connect(), rest), [found])
    check_known(known, connect, machine, machine.host_key)


@pytest.mark.parametrize("command", ["mv", "systemctl"])
def test_a_run_that_is_cut_off_while_the_key_is_put_in_place_is_gone_on_from(
    machine: RentedMachine, server: Server, connect: Connect, command: str
) -> None:
    account = Account()
    programs = machine.root / "usr/local/bin"
    whole = (programs / command).read_text() if (programs / command).exists() else None
    machine.k3s.add_program(command, "#!/bin/sh\nexit 1\n")
    with pytest.raises(NvoiError):
        boot.welcome(build_context(connect(), account), [server])
    assert len(account.keys[-1]) == 2
    (programs / command).unlink()
    if whole:
        machine.k3s.add_program(command, whole)
    found = find_as_noted(server, account)
    (known,) = boot.welcome(build_context(connect(), account), [found])
    check_known(known, connect, machine, machine.host_key)


def test_another_server_at_its_address_gets_nothing(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "RELOAD_SECONDS", 0.1)
    other = replace(server.host, host_keys=(generate_host_key().public,))
    # As is one of which another run has replaced the key meanwhile: that is not waited for long.
    with pytest.raises(HostKeyError, match="the host key has changed") as caught:
        boot.welcome(build_context(connect(), Account()), [replace(server, host=other)])
    assert "another run may have given the server a key" in caught.value.hint
    known = replace(server, host=other, is_new=False)
    with pytest.raises(HostKeyError, match="the host key has changed") as caught:
        boot.welcome(build_context(connect(), Account()), [known])
    assert "remove its label `host-key` at the cloud" in caught.value.hint


def test_a_server_that_never_answers_is_told_with_what_was_seen_last(
    machine: RentedMachine, server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "ANSWER_SECONDS", 0.1)
    machine.stop()
    with pytest.raises(ConnectionFailedError, match=r"not to be had after 0 s: .* refused"):
        boot.welcome(build_context(connect(), Account()), [server])


def test_a_server_that_was_switched_on_again_is_waited_for_and_one_that_is_gone_is_not_missed(
    machine: RentedMachine, server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = Account()
    known = replace(server, is_new=False)
    machine.stop()
    starting = Thread(target=machine.start)
    starting.start()
    assert boot.welcome(build_context(connect(), account), [known]) == (known,)
    starting.join()
    connect().run(known.host, Command("true"))
    monkeypatch.setattr(boot, "START_SECONDS", 0.1)
    machine.stop()
    assert boot.welcome(build_context(connect(), account), [known]) == (known,)
    assert account.keys == []


def test_cloud_init_that_does_not_end_is_an_error(
    machine: RentedMachine, server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "CLOUD_INIT_SECONDS", 1)
    machine.k3s.add_program("cloud-init", "#!/bin/sh\nexec sleep 600\n")
    account = Account()
    with pytest.raises(NvoiError) as caught:
        boot.welcome(build_context(connect(), account), [server])
    assert "cloud-init has not come to its end within 1 s" in caught.value.output
    assert account.keys == []


def test_a_server_of_the_gem_s_is_known_from_its_first_contact_on(
    machine: RentedMachine, server: Server, connect: Connect
) -> None:
    account = Account()
    context = build_context(connect(), account)
    old = replace(server, host=replace(server.host, host_keys=()), is_new=False)
    context.survey.servers = boot.welcome(context, [old])
    boot.note_host_keys(context)
    assert account.keys == []
    context.survey.facts[old.name] = None  # type: ignore[assignment]
    boot.note_host_keys(context)
    assert account.keys == [(machine.host_key,)]
    assert context.survey.servers[0].host.host_keys == (machine.host_key,)
