"""Configs that are there before ``nvoi onboard`` runs, and what it leaves."""

from __future__ import annotations

from pathlib import Path

from nvoi.config.credentials import get_key
from nvoi.config.loader import load_file
from nvoi.config.schema import Config
from nvoi.config.sealing import decrypt, encrypt
from nvoi.secret import Secret
from tests.integration.streams import KEY

#: A config with what the wizard does not ask about, and comments.
OWN = """\
# ours
x-team: core
callback_url: http://127.0.0.1:1/c
application:
  name: shop
  keep_count: 7   # a week
  compute_provider:
    local: {}
  app:
    web:
      command: serve
      port: 8000
      healthcheck: {path: /up, interval: 2s}
      pre_run_command: |
        one
        two
  env:
    LEVEL: info   # quiet
  secrets:
    TOKEN: 0ld-5ecret
"""


def make_config(folder: Path, text: str = OWN) -> None:
    (folder / "deploy.enc").write_bytes(encrypt(text.encode(), Secret(KEY)))
    (folder / "deploy.key").write_text(KEY)
    (folder / "deploy.key").chmod(0o600)


def read_text(folder: Path) -> str:
    return decrypt((folder / "deploy.enc").read_bytes(), get_key(folder, environ={}).value).decode()


def read_config(folder: Path, **environ: str) -> Config:
    """The config, whose key nobody else may read."""
    key = get_key(folder, environ=environ)
    assert key.warning is None
    return load_file(folder / "deploy.enc", key=key, environ={})
