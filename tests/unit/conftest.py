from __future__ import annotations

from pathlib import Path

import pytest

from nvoi.config.schema import Application, Config, LocalProvider
from nvoi.operation import Request


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    application = Application(name="shop", compute_provider=LocalProvider())
    return Request(Config(application), tmp_path, tmp_path, "id")
