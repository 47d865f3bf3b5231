"""Configs for tests: texts that are valid but for what a test puts into them."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Mapping
from pathlib import Path

from nvoi.config.loader import load
from nvoi.config.schema import Config
from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.errors import ConfigError

EVERY_KEY = Path(__file__).parents[2] / "fixtures" / "config" / "every_key.yml"


@functools.cache
def keys() -> Mapping[str, str]:
    """An SSH key pair, as the environment that the texts below read it from."""
    pair = generate_ssh_keys("tests")
    return {"PRIVATE_KEY": pair.private_key.reveal(), "PUBLIC_KEY": pair.public_key}


def local(extra: str = "") -> str:
    """A config for this machine; ``extra`` stands under ``application``."""
    head = "application:\n  name: shop\n  compute_provider: {local: {}}\n"
    return head + textwrap.indent(textwrap.dedent(extra), "  ")


def hetzner(extra: str = "", servers: str = "servers: {main: {}}") -> str:
    """A config for rented servers."""
    head = textwrap.dedent("""\
        application:
          name: shop
          compute_provider:
            hetzner: {api_token: tok-en, server_type: cx23, server_location: x, architecture: x86}
          ssh_keys: {private_key: $PRIVATE_KEY, public_key: $PUBLIC_KEY}
          domain_provider: {cloudflare: {api_token: cf-tok, account_id: acc}}
    """)
    return head + textwrap.indent(f"{servers}\n{textwrap.dedent(extra)}", "  ")


def scaleway(extra: str = "", servers: str = "servers: {main: {}}", project: str = "") -> str:
    """A config for servers rented of Scaleway."""
    head = textwrap.dedent(f"""\
        application:
          name: shop
          compute_provider:
            scaleway:
              secret_key: 5cc0ffee-0000-4000-8000-5ca1e3a75ec7
              project_id: {project or "105bdce1-64c0-48ab-899d-868455867ecf"}
              server_type: DEV1-S
              architecture: x86
          ssh_keys: {{private_key: $PRIVATE_KEY, public_key: $PUBLIC_KEY}}
    """)
    return head + textwrap.indent(f"{servers}\n{textwrap.dedent(extra)}", "  ")


def ssh(servers: str) -> str:
    """A config for servers that one has."""
    head = "name: shop\ncompute_provider: {ssh: {}}\n"
    pair = "ssh_keys: {private_key: $PRIVATE_KEY, public_key: $PUBLIC_KEY}\n"
    return "application:\n" + textwrap.indent(head + pair + textwrap.dedent(servers), "  ")


@functools.cache
def parse(text: str, **environ: str) -> Config:
    return load(text, filename="deploy.yml", environ={**keys(), **environ})


def faults(text: str, **environ: str) -> list[str]:
    """The faults of ``text``, each as ``path: message``; none where it loads."""
    try:
        parse(text, **environ)
    except ConfigError as error:
        return [f"{fault.path}: {fault.message}" for fault in error.faults]
    return []


def fault(text: str, **environ: str) -> str:
    """The only fault of ``text``."""
    (found,) = faults(text, **environ)
    return found
