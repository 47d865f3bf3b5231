"""Servers that one already has, as the config and ~/.ssh/config name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvoi.errors import ConfigError
from nvoi.providers import get_provider
from tests.unit.config.texts import parse, ssh

TEXT = """\
servers:
  work: {hosts: [inner-1, inner-2], user: deploy, port: 2222}
  main: {host: gate, master: true}
app: {web: {servers: [main], port: 3000}}
"""


def write(home: Path, text: str) -> dict[str, str]:
    file = home / ".ssh" / "config"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o600)
    return {"HOME": str(home)}


def test_the_config_says_where_servers_are_then_the_users_own_file(tmp_path: Path) -> None:
    application = parse(ssh(TEXT)).application
    environ = write(
        tmp_path,
        "Host gate\n  HostName 192.0.2.1\n  User me\n  Port 23\n"
        "Host inner-*\n  HostName %h.lan\n  User never\n  Port 99\n  ProxyJump gate\n",
    )
    provider = get_provider(application, environ)
    assert provider.find_faults() == []
    assert provider.describe() == [
        "reaches shop-main-1 (192.0.2.1 port 23) as me, the master",
        "reaches shop-work-1 (inner-1.lan port 2222 through shop-main-1) as deploy",
        "reaches shop-work-2 (inner-2.lan port 2222 through shop-main-1) as deploy",
    ]
    main, *work = provider.list_servers()
    # All share the master's own connection.
    assert {server.host.route.jump for server in work} == {main.host}


def test_without_such_a_file_root_logs_in_at_port_22(tmp_path: Path) -> None:
    application = parse(ssh(TEXT)).application
    provider = get_provider(application, {"HOME": str(tmp_path)})
    assert provider.describe()[:2] == [
        "reaches shop-main-1 (gate) as root, the master",
        "reaches shop-work-1 (inner-1 port 2222) as deploy",
    ]


def test_a_way_that_cannot_be_gone_is_a_fault(tmp_path: Path) -> None:
    application = parse(ssh(TEXT)).application
    provider = get_provider(application, write(tmp_path, "Host *\n  ProxyJump gate\n"))
    with pytest.raises(ConfigError, match="in a circle: gate → gate: write `ProxyJump none`"):
        provider.find_faults()
