"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nvoi.log.masking import masker


@pytest.fixture(autouse=True)
def own_secrets() -> Iterator[None]:
    """What one test has had masked is no secret to those that run after it in the same process."""
    before = masker._needles
    yield
    masker._needles = before
