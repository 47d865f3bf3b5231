"""What the tests of the dashboard share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.dashboard.serving import Serving
from tests.integration.dashboard.watching import browser, chromium, failed, page, shared

# Fixtures of a session are made once where they are known from here, else once a module.
__all__ = ["browser", "chromium", "failed", "page", "shared"]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """A dashboard whose default project has the tests' key."""
    with Serving(tmp_path) as made:
        yield made
