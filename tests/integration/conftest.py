"""What the tests of the callback share."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from tests.fakes.receiver import Receiver
from tests.integration.streams import KEY


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A dashboard that is well until a test says otherwise."""
    with Receiver(KEY) as made:
        yield made


@pytest.fixture
def bare() -> Iterator[Receiver]:
    """A receiver of records alone, of handlers that have no stream."""
    with Receiver(KEY, whole_runs=False) as made:
        yield made


@pytest.fixture
def bare_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no CA bundle is named in the environment."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in {
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
        }:
            monkeypatch.delenv(name)


class Memory(logging.Handler):
    """Keeps the messages of what passes."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What the callback tells the console of itself, in order."""
    memory, logger = Memory(), logging.getLogger("nvoi.callback")
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(memory)
    yield memory.messages
    logger.removeHandler(memory)
    logger.setLevel(before)
