"""What is told before k3s is installed, and the command that does it."""

from __future__ import annotations

import logging

import pytest

from nvoi.k3s.install import build_input, build_setup, tell_insecure
from nvoi.k3s.plan import INSTALL_URL, K3sSettings, build_tasks
from tests.unit.k3s.servers import VERSION, build_facts, build_server


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


def test_the_command_says_what_is_to_be_done_and_has_no_secret_in_its_words() -> None:
    servers = [build_server(1), build_server(2)]
    facts = {server.name: build_facts(number) for number, server in enumerate(servers, 1)}
    task = build_tasks(servers, facts, K3sSettings(VERSION))[1]
    command = build_setup(task, "https://get.k3s.io", 60, installs=False, starts=True).reveal()
    sizes = f"{len(task.config.encode())} {len(task.registries.encode())}"
    words = f"agent {VERSION} https://get.k3s.io {sizes} {task.stamp} no yes 60 /opt/nvoi/registry"
    assert command.endswith(f" nvoi-k3s {words}")
    token = task.node.token.reveal()
    assert token not in command
    assert token.encode() in build_input(task)
