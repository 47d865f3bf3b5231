"""What the tests of building and pushing share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest

from nvoi.config.schema import Login
from nvoi.images.build import Build
from nvoi.images.engines import BuiltImage, Engine, Podman
from nvoi.images.registries import NO_LOGINS
from nvoi.images.registries import Registry as Client
from nvoi.source import read_source
from tests.integration.images.podman import build_podman_environ, write_checkout, write_noise
from tests.integration.images.registry import Registry
from tests.integration.ssh.conftest import (
    connect,
    connections,
    home,
    keys,
    logged,
    relay,
    server,
    start_relay,
    start_server,
)

__all__ = [
    "connect",
    "connections",
    "home",
    "keys",
    "logged",
    "relay",
    "server",
    "start_relay",
    "start_server",
]

REPOSITORY = "nvoi-shop"
PLATFORM = "linux/amd64"
PODMAN = Podman()
#: Bytes of a layer that takes a while to be sent.
HEAVY = 3 << 20

StartBuild = Callable[..., Build]
MakeImage = Callable[..., BuiltImage]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with podman, whose store is empty."""
    return build_podman_environ(tmp_path / "podman")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The checkout of an app."""
    return write_checkout(tmp_path / "checkout")


def start_build(
    environ: Mapping[str, str],
    checkout: Path,
    stamp: str = "20260101000000",
    platform: Future[str] | str = PLATFORM,
    logins: Mapping[str, Login] = NO_LOGINS,
    *,
    engine: Engine = PODMAN,
    cache: Client | None = None,
) -> Build:
    known: Future[str] = Future()
    if isinstance(platform, str):
        known.set_result(platform)
    return Build(
        engine=engine,
        source=read_source(checkout, environ),
        dockerfile=checkout / "Dockerfile",
        tag=f"{REPOSITORY}:{stamp}",
        platform=known if isinstance(platform, str) else platform,
        environ=environ,
        cache=lambda: cache,
        logins=logins,
    ).start()


@pytest.fixture
def begin(environ: dict[str, str], checkout: Path) -> Iterator[StartBuild]:
    """Starts builds of the checkout, with more variables than there are."""
    begun: list[Build] = []

    def begin(
        stamp: str = "20260101000000",
        platform: Future[str] | str = PLATFORM,
        logins: Mapping[str, Login] = NO_LOGINS,
        **more: str,
    ) -> Build:
        begun.append(start_build({**environ, **more}, checkout, stamp, platform, logins))
        return begun[-1]

    yield begin
    for build in begun:
        build.cancel()


@pytest.fixture
def make(begin: StartBuild) -> MakeImage:
    """Builds the checkout."""

    def make(stamp: str = "20260101000000") -> BuiltImage:
        return begin(stamp).wait()

    return make


@dataclass(frozen=True)
class Stock:
    """Images that tests push and leave as they are; ``same`` is ``first`` by another name.

    ``heavy`` has a layer more than ``first``, which takes a while to be sent.
    """

    environ: dict[str, str]
    first: BuiltImage
    same: BuiltImage
    changed: BuiltImage
    heavy: BuiltImage


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    folder = tmp_path_factory.mktemp("stock")
    environ = build_podman_environ(folder / "podman")
    checkout = write_checkout(folder / "checkout")
    write_noise(checkout / "noise", HEAVY)
    texts = {"first": "one\n", "same": "one\n", "changed": "two\n", "heavy": "one\n"}
    images: dict[str, BuiltImage] = {}
    for number, (name, text) in enumerate(texts.items(), 1):
        more = ["COPY noise /noise"] if name == "heavy" else []
        write_checkout(checkout, *more, text=text)
        images[name] = start_build(environ, checkout, f"2026010100000{number}").wait()
    return Stock(environ, **images)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry that is well until a test says otherwise."""
    made = Registry(tmp_path / "registry")
    yield made
    made.stop()
