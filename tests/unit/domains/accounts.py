"""Configs with domains at Cloudflare, and what a deploy of them does there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nvoi.config.schema import Application, Config
from nvoi.domains import Domains, get_domains
from tests.fakes.clouds.cloudflare import ACCOUNT, TOKEN, Cloudflare
from tests.unit.config.texts import parse, ssh

WEB = "web: {servers: [main], port: 3000, domain: example.com, subdomain: www}"
API = "api: {servers: [main], port: 4000, domain: example.com, subdomain: api}"


def build_config(*apps: str, token: str = TOKEN, account: str = ACCOUNT) -> Config:
    """A config of these services."""
    lines = "\n".join(f"  {app}" for app in apps or (WEB,))
    section = f"domain_provider: {{cloudflare: {{api_token: {token}, account_id: {account}}}}}\n"
    return parse(ssh(f"{section}servers: {{main: {{host: 10.0.0.1}}}}\napp:\n{lines}\n"))


def build_application(*apps: str, **account: str) -> Application:
    return build_config(*apps, **account).application


def open_domains(cloudflare: Cloudflare, application: Application) -> Domains:
    """What a run has of them."""
    return get_domains(application, {"CLOUDFLARE_BASE_URL": cloudflare.url})


def deploy(
    cloudflare: Cloudflare, application: Application, live: Sequence[Any] = ()
) -> Sequence[Any]:
    """A deploy from its beginning to its end; what the cluster is to hold."""
    domains = open_domains(cloudflare, application)
    domains.check()
    domains.check_addresses(["192.0.2.1"])
    manifests = domains.connect("run")
    domains.publish()
    domains.trim(live)
    return manifests


def delete(cloudflare: Cloudflare, application: Application, live: Sequence[Any] = ()) -> None:
    open_domains(cloudflare, application).disconnect(live)
