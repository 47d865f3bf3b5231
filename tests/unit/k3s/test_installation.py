"""What is told before k3s is installed."""

from __future__ import annotations

import logging

import pytest

from nvoi.k3s.configuration import INSTALL_URL, K3sSettings
from nvoi.k3s.installation import tell_insecure
from nvoi.k3s.planning import plan
from tests.unit.k3s.servers import build_facts, build_server


@pytest.mark.parametrize(
    ("url", "downloader", "told"),
    [
        (INSTALL_URL, "curl", []),
        (INSTALL_URL, "wget", []),
        (INSTALL_URL, "busybox", ["shop-main-1: the wget of BusyBox"]),
        ("http://mirror.example/k3s", "busybox", ["k3s.install_url is not https"]),
    ],
)
def test_an_installer_that_may_be_anybodys_is_warned_of(
    caplog: pytest.LogCaptureFixture, url: str, downloader: str, told: list[str]
) -> None:
    caplog.set_level(logging.INFO, logger="nvoi")
    server = build_server(1)
    facts = {server.name: build_facts(1, downloader=downloader)}
    tell_insecure(url, plan([server], facts, K3sSettings()), facts)
    assert len(caplog.messages) == len(told)
    assert all(text in one for text, one in zip(told, caplog.messages, strict=True))
