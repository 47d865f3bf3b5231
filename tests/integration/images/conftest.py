"""What the tests of building and pushing share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest

from nvoi.config.schema import Login
from nvoi.images.build import Build
from nvoi.images.engines import Image, Podman
from nvoi.images.login import NO_LOGINS
from nvoi.source import read_source
from tests.integration.podman import build_podman_environ, write_checkout
from tests.integration.registry import Registry
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

StartBuild = Callable[..., Build]
MakeImage = Callable[..., Image]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with podman, whose store is empty."""
    return build_podman_environ(tmp_path / "podman")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The checkout of an app."""
    return write_checkout(tmp_path / "checkout")


@pytest.fixture
def begin(environ: dict[str, str], checkout: Path) -> Iterator[StartBuild]:
    """Starts builds of the checkout."""
    begun: list[Build] = []

    def begin(
        stamp: str = "20260101000000",
        platform: Future[str] | str = PLATFORM,
        logins: Mapping[str, Login] = NO_LOGINS,
        **more: object,
    ) -> Build:
        known: Future[str] = Future()
        if isinstance(platform, str):
            known.set_result(platform)
        build = Build(
            engine=Podman(),
            source=read_source(checkout, environ),
            dockerfile=checkout / "Dockerfile",
            tag=f"{REPOSITORY}:{stamp}",
            platform=known if isinstance(platform, str) else platform,
            environ={**environ, **more},  # type: ignore[dict-item]  # more variables
            logins=logins,
        )
        begun.append(build)
        return build.start()

    yield begin
    for build in begun:
        build.cancel()


@pytest.fixture
def make(begin: StartBuild) -> MakeImage:
    """Builds the checkout."""

    def make(stamp: str = "20260101000000") -> Image:
        return begin(stamp).wait()

    return make


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry that is well until a test says otherwise."""
    made = Registry(tmp_path / "registry")
    yield made
    made.stop()
