"""``nvoi config init``: a new config, its key and its SSH key pair."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from nvoi.cli.inputs import read_name
from nvoi.config.credentials import KEY_VARIABLES, check_ignore_files, create_config
from nvoi.config.loader import load
from nvoi.config.sealing import CONFIG_FILE, KEY_FILE, generate_key
from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.errors import UsageError
from nvoi.onboarding.place import ACCOUNTS, AccountForm


def build_section(account: AccountForm) -> str:
    """The section of a provider; placeholders stand where an account has to be filled in."""
    fields = (f"  {field.name}: {field.default or 'CHANGE-ME'}\n" for field in account.fields)
    return f"{account.title.lower()}:\n{''.join(fields)}"


PROVIDERS = {
    "local": """\
        local: {}             # this machine; ssh uses servers, hetzner, aws and scaleway rent them
        """,
    "ssh": """\
        ssh: {}                 # servers that you have: put the public key below on each of them
        """,
} | {account.title.lower(): build_section(account) for account in ACCOUNTS if account.fields}

SERVERS = {
    "local": "",
    "ssh": """
  servers:
    main:
      host: server.example.com
      user: root
""",
}
RENTED_SERVERS = """
  servers:
    main: {}
"""

LOCAL_SERVICE = """\
      # A stand-in that serves this folder to this machine only. Your app's own command
      # goes here; it finds the port to listen on in $PORT.
      command: python3 -m http.server --bind 127.0.0.1 "$PORT"
      port: 8000
      healthcheck:
        path: /
"""
SERVER_SERVICE = """\
      servers: [main]
      port: 8000
      healthcheck:
        path: /health
      # domain: example.com     # needs a domain_provider: docs/domains.md says which
      # subdomain: www
"""

TEMPLATE = """\
# The deploy config of {name}. nvoi's docs/config.md describes every key.

# A dashboard that follows each run:
# callback_url: https://dashboard.example.com/callbacks

application:
  name: {name}
  environment: production

  compute_provider:
{provider}{servers}
  app:
    web:
{service}      # pre_run_command: ./migrate    # once, before each new release takes over

  # For every service. Secrets are masked wherever nvoi prints or sends anything.
  env: {{}}
  secrets: {{}}

  # With this pair nvoi reaches servers.
  ssh_keys:
    private_key: |
{private_key}
    public_key: {public_key}
"""


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Make the files and say what comes next; where one is there already, make none."""
    directory: Path = options.dir
    check_directory(directory)
    text = build_config(read_name(options.name), options.provider)
    key_file, config_file = directory / KEY_FILE, directory / CONFIG_FILE
    create_config(config_file, text, generate_key(), key_file=key_file, checkout=directory)
    sys.stdout.write(
        textwrap.dedent(f"""\
        Made {config_file} and {key_file}.
        Commit the config. Keep the key: without it the config cannot be read, and whoever has
        it can read everything. It is in .gitignore and .dockerignore; a CI gets it as the secret
        DEPLOY_KEY.

        Next:
          nvoi credentials edit    to fill in the config
          nvoi deploy --dry-run    to see what would be done
          nvoi deploy
        """)
    )
    for name in KEY_VARIABLES:
        if environ.get(name, "").strip():
            sys.stdout.write(f"Note: ${name} is set, and nvoi uses it before {key_file}.\n")
    return 0


def check_directory(directory: Path) -> None:
    """Make sure that nothing is there yet."""
    if not directory.is_dir():
        raise UsageError(f"there is no directory {directory}")
    for folder in (directory, directory / "config"):
        for name in (CONFIG_FILE, KEY_FILE):
            if os.path.lexists(folder / name):
                raise UsageError(
                    f"{folder / name} exists, and is not overwritten",
                    hint="nvoi credentials edit changes a config; move the file to start anew",
                )
    check_ignore_files(directory, directory)


def build_config(name: str, provider: str) -> str:
    """The text of a new config with an SSH key pair of its own."""
    keys = generate_ssh_keys(f"nvoi-{name}")
    servers = SERVERS.get(provider, RENTED_SERVERS)
    text = TEMPLATE.format(
        name=name,
        provider=textwrap.indent(textwrap.dedent(PROVIDERS[provider]), "    "),
        servers=servers,
        service=LOCAL_SERVICE if provider == "local" else SERVER_SERVICE,
        private_key=textwrap.indent(keys.private_key.reveal().rstrip("\n"), "      "),
        public_key=keys.public_key,
    )
    load(text, filename="--name", environ=None)
    return text
