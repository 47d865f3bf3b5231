"""Pushes of real images into a real registry, through forwards over a real sshd."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from nvoi.errors import CommandError, NvoiError
from nvoi.images.engines import BuiltImage, Podman
from nvoi.images.push import open_registry, push
from nvoi.images.registries import Registry as Client
from nvoi.images.registries import find_same
from nvoi.ssh.host import Host
from tests.integration.images.conftest import HEAVY, Stock
from tests.integration.images.processes import find_processes
from tests.integration.images.registry import Registry
from tests.integration.ssh.conftest import Connect
from tests.integration.ssh.relay import Relay
from tests.integration.ssh.server import Server
from tests.waiting import PATIENCE, wait_until

ENGINE = Podman()


Reach = Callable[[Host], AbstractContextManager[Client]]


@pytest.fixture
def reach(connect: Connect, registry: Registry) -> Reach:
    """The registry as it is reached through a host, over a connection of its own each time."""
    return lambda host: open_registry(connect(), host, "127.0.0.1", registry.port)


def list_uploads(registry: Registry) -> list[str]:
    """The digests of what the registry was sent, in order."""
    return [
        one.path.partition("digest=")[2]
        for one in registry.asked
        if one.method == "PUT" and "/blobs/uploads/" in one.path and one.status == 201
    ]


@contextmanager
def in_the_middle(relay: Relay, act: Callable[[], None]) -> Iterator[None]:
    """Act once a part of the heavy image has gone through the relay."""
    sent = relay.sent

    def wait() -> None:
        wait_until(lambda: relay.sent > sent + HEAVY // 4, "a part of the image")
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join()


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_registry_has_the_image_under_its_own_stamp_or_another(
    reach: Reach, server: Server, registry: Registry, stock: Stock
) -> None:
    image, direct = stock.first, Client(registry.address)
    with reach(server.host) as client:
        digest = push(ENGINE, image, client, stock.environ)
        manifest = direct.find_manifest("nvoi-shop", image.stamp)
        assert manifest is not None
        assert (manifest.digest, manifest.config) == (digest, f"sha256:{image.id}")
        assert direct.list_tags("nvoi-shop") == (image.stamp,)
        assert push(ENGINE, image, client, stock.environ, stamp="20990101000000") == digest
    assert sorted(direct.list_tags("nvoi-shop")) == [image.stamp, "20990101000000"]
    assert direct.find_digest("nvoi-shop", "20990101000000") == digest


def test_only_layers_that_the_registry_lacks_are_sent_and_the_same_image_is_found(
    reach: Reach, server: Server, registry: Registry, stock: Stock
) -> None:
    direct = Client(registry.address)
    assert find_same(direct, "nvoi-shop", "0" * 64) is None
    with reach(server.host) as client:
        digest = push(ENGINE, stock.first, client, stock.environ)
        first = len(list_uploads(registry))
        assert find_same(direct, "nvoi-shop", stock.same.id) == (stock.first.stamp, digest)
        push(ENGINE, stock.same, client, stock.environ)
        assert len(list_uploads(registry)) == first
    assert find_same(direct, "nvoi-shop", stock.changed.id) is None
    # As a later run does it: the port here is the same.
    with reach(server.host) as client:
        push(ENGINE, stock.changed, client, stock.environ)
    # The layer of the file, and the config.
    assert len(list_uploads(registry)) == first + 2


def test_a_push_whose_connection_is_cut_goes_on_over_a_new_one(
    reach: Reach, relay: Relay, registry: Registry, stock: Stock
) -> None:
    image = stock.heavy
    with reach(relay.host) as client:
        relay.cut_after(HEAVY // 2)
        digest = push(ENGINE, image, client, stock.environ)
    assert relay.accepted == 2
    assert Client(registry.address).find_digest("nvoi-shop", image.stamp) == digest


def test_a_registry_that_is_restarted_in_the_middle_gets_the_image(
    reach: Reach, relay: Relay, registry: Registry, stock: Stock
) -> None:
    image = stock.heavy

    def restart() -> None:
        registry.stop()
        registry.start()

    with reach(relay.host) as client, in_the_middle(relay, restart):
        digest = push(ENGINE, image, client, stock.environ)
    assert Client(registry.address).find_digest("nvoi-shop", image.stamp) == digest


def test_a_push_that_is_cut_every_time_ends_after_three_attempts(
    registry: Registry, stock: Stock, tmp_path: Path, logged: pytest.LogCaptureFixture
) -> None:
    image = stock.first
    client = Client(registry.address)
    # An engine that loses its connection each time, which takes real ones half a minute.
    program = tmp_path / "engine"
    write_program(program, "echo x >>$TRIES; echo 'Error: connection reset by peer'; exit 125")
    tries = tmp_path / "tries"
    with pytest.raises(CommandError, match="cannot be pushed with podman: connection reset"):
        push(Podman(str(program)), image, client, {**stock.environ, "TRIES": str(tries)})
    assert len(tries.read_text().split()) == 3
    assert [one for one in logged.messages if "trying again, 3 of 3" in one]
    assert client.find_digest("nvoi-shop", image.stamp) is None
    # The next run needs nothing else than a connection that holds.
    push(ENGINE, image, client, stock.environ)


def test_a_push_that_was_interrupted_sends_the_rest_in_the_next_run(
    registry: Registry, reach: Reach, relay: Relay, stock: Stock
) -> None:
    image = stock.heavy
    direct = Client(registry.address)
    with reach(relay.host) as client:
        push(ENGINE, stock.first, client, stock.environ)
        relay.refuse()
        relay.cut_after(HEAVY // 2)
        with pytest.raises(CommandError, match="has not answered for"):
            push(ENGINE, image, client, stock.environ, patience=1)
    assert direct.find_digest("nvoi-shop", image.stamp) is None
    relay.accept_again()
    before = list_uploads(registry)
    with reach(relay.host) as client:
        push(ENGINE, image, client, stock.environ)
    assert direct.find_digest("nvoi-shop", image.stamp)
    # The layer of the noise, and the config.
    sent = list_uploads(registry)[len(before) :]
    assert len(sent) == 2
    assert not set(before) & set(sent)


def test_a_push_that_is_interrupted_ends_at_once_with_all_that_it_runs(
    reach: Reach, relay: Relay, registry: Registry, stock: Stock
) -> None:
    image = stock.heavy

    def interrupt() -> None:
        relay.stall()
        os.kill(os.getpid(), signal.SIGINT)

    with reach(relay.host) as client:
        with in_the_middle(relay, interrupt), pytest.raises(KeyboardInterrupt):
            push(ENGINE, image, client, stock.environ)
        assert find_processes(client.address) == []
        relay.resume()
    assert Client(registry.address).find_digest("nvoi-shop", image.stamp) is None


def test_a_registry_that_is_down_is_told_before_anything_is_sent(
    reach: Reach, server: Server, registry: Registry, stock: Stock
) -> None:
    image = stock.first
    registry.stop()
    began = time.monotonic()
    with (
        reach(server.host) as client,
        pytest.raises(CommandError, match="registry on web-1 has not answered for 1 s") as caught,
    ):
        push(ENGINE, image, client, stock.environ, patience=1)
    assert "k3s kubectl" in caught.value.hint
    assert time.monotonic() - began < PATIENCE


def test_an_image_that_is_not_here_is_told_with_the_engines_reason(
    registry: Registry, stock: Stock
) -> None:
    image = BuiltImage("nvoi-shop:20260101000000", "0" * 64)
    with pytest.raises(CommandError, match=r"cannot be pushed with podman: .*image not known"):
        push(ENGINE, image, Client(registry.address), stock.environ)


def test_done_is_only_said_when_the_registry_has_the_image(
    registry: Registry, environ: dict[str, str], tmp_path: Path, logged: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "engine"
    write_program(program, "exit 0")
    image = BuiltImage("nvoi-shop:20260101000000", "0" * 64)
    with pytest.raises(CommandError, match="does not have it"):
        push(Podman(str(program)), image, Client(registry.address), environ)
    assert not [one for one in logged.messages if one.startswith("pushed")]


def test_the_port_here_is_the_same_in_every_run_and_another_where_it_is_taken(
    reach: Reach, server: Server, registry: Registry
) -> None:
    with reach(server.host) as client:
        first = client.address
        with reach(server.host) as other:
            assert other.address != first
            assert other.is_up()
    with reach(server.host) as client:
        assert client.address == first
        assert client.is_up()


def test_a_host_that_cannot_be_reached_is_told_at_once(
    reach: Reach, server: Server, registry: Registry
) -> None:
    server.stop()
    with pytest.raises(NvoiError, match="web-1"), reach(server.host):
        pass
