"""Warnings of what may come with every request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nvoi.dashboard.errors import PAUSE_SECONDS, Complaints

if TYPE_CHECKING:
    import pytest


def test_the_same_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    complaints = Complaints(logging.getLogger("complaints"), clock=lambda: now)
    for text in ("the disk is full", "the disk is full", "it is locked", "the disk is full"):
        complaints.warn(text)
        now += 1
    assert caplog.messages == ["the disk is full", "it is locked"]
    now = PAUSE_SECONDS
    complaints.warn("the disk is full")
    assert caplog.messages == ["the disk is full", "it is locked", "the disk is full"]
