"""What is told before k3s is installed, and the command that does it."""

from __future__ import annotations

import logging

import pytest

from nvoi.k3s.install import tell_insecure
from nvoi.k3s.plan import INSTALL_URL, K3sSettings, build_tasks
from tests.unit.k3s.servers import build_facts, build_server


@pytest.mark.parametrize(
    ("url", "downloader", "told"),
    [
        (INSTALL_URL, "curl", []),
        (INSTALL_URL, "wget", []),
        (INSTALL_URL, "busybox", ["shop-main-1: BusyBox wget"]),
        ("http://mirror.example/k3s", "busybox", ["k3s.install_url is not https"]),
    ],
)
def test_an_installer_that_may_be_anybodys_is_warned_of(
    caplog: pytest.LogCaptureFixture, url: str, downloader: str, told: list[str]
) -> None:
    caplog.set_level(logging.INFO, logger="nvoi")
    server = build_server(1)
    facts = {server.name: build_facts(1, downloader=downloader)}
    tell_insecure(url, build_tasks([server], facts, K3sSettings()), facts)
    assert len(caplog.messages) == len(told)
    assert all(text in one for text, one in zip(told, caplog.messages, strict=True))
