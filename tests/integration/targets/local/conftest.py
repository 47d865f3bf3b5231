"""What the tests of the local target share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.targets.local.application import App


@pytest.fixture
def folder() -> Iterator[Path]:
    # Short: a Unix socket's path must fit in 108 bytes, and pytest's own folders are long.
    path = Path(tempfile.mkdtemp(prefix="nv-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def app(folder: Path) -> Iterator[App]:
    made = App(folder)
    yield made
    made.tear_down()
