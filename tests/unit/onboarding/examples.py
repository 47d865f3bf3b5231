"""Answers to test with: every provider, every database."""

from __future__ import annotations

from dataclasses import replace

from nvoi.config.schema import (
    AppService,
    AWSProvider,
    Cloudflare,
    ComputeProvider,
    Database,
    HetznerProvider,
    LocalProvider,
    ScalewayProvider,
    SSHProvider,
    Volume,
)
from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.onboarding.answers import Answers, build_groups
from nvoi.onboarding.databases import KINDS, SQLITE, DatabaseKind, complete
from nvoi.secret import Secret

PROVIDERS: dict[str, ComputeProvider] = {
    "local": LocalProvider(),
    "ssh": SSHProvider(),
    "hetzner": HetznerProvider(Secret("token: #1"), "cx23", "nbg1", "x86"),
    "aws": AWSProvider(Secret("id"), Secret("key"), "eu-central-1", "t3.small", "arm64"),
    "scaleway": ScalewayProvider(
        Secret("key"), "5ca1e3a7-0000-4000-8000-000000000001", "DEV1-S", "x86"
    ),
}
DATABASES: dict[str, DatabaseKind | None] = {"none": None} | {kind.title: kind for kind in KINDS}
KEYS = generate_ssh_keys("nvoi-shop")


def build_answers(provider: str = "local", database: str = "none", servers: int = 1) -> Answers:
    """An app of two services that uses all there is."""
    local, kind = provider == "local", DATABASES[database]
    hosts = tuple(f"{number}.example.com" for number in range(servers))
    answers = Answers(
        name="shop",
        provider=PROVIDERS[provider],
        ssh_keys=None if local else KEYS,
        groups=()
        if local
        else build_groups(hosts=hosts, user="root", port=22)
        if provider == "ssh"
        else build_groups(count=servers),
        cloudflare=Cloudflare(Secret("cf-token"), "account"),
        apps=(
            AppService(
                "web",
                command='bin/serve --port "$PORT"',
                port=8000,
                domain="example.com",
                subdomain="www",
                pre_run_command="bin/migrate: all",
            ),
            AppService("1", command="yes"),
        ),
        env={"LOG_LEVEL": "info", "EMPTY": "", "YES": "yes", "NUMBER": "0042", "no": "# 1"},
        secrets={"TOKEN": Secret('a"b\\c: {d}')},
        callback_url="https://dashboard.example.com/callbacks",
    )
    if kind is None:
        return answers
    if local and kind is not SQLITE:
        url = Secret(f"{kind.adapter}://app:pass%40word@db.example.com/shop")
        return replace(answers, database=Database(adapter=kind.adapter, url=url))
    made = complete(Database(), kind)
    return replace(answers, database=made, volume=Volume("database", 20))


def build_service(
    name: str, command: str | None = None, port: int | None = None, release: str | None = None
) -> AppService:
    """A service as a checkout suggests it."""
    return AppService(name, command=command, port=port, pre_run_command=release)
