"""``nvoi dashboard``: receives deploys and shows them live."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from sqlite3 import Connection
from urllib.parse import urlsplit

from nvoi.cli import flush_output
from nvoi.cli.projects import find_database, open_store, prepare_database, remember_url
from nvoi.config.credentials import find_key
from nvoi.config.sealing import DeployKey
from nvoi.dashboard import server
from nvoi.dashboard.context import Settings
from nvoi.dashboard.database import Database, StorageError
from nvoi.dashboard.projects import (
    DEFAULT_PROJECT,
    Keyring,
    ensure_default_project,
    get_keys,
    list_projects,
)
from nvoi.dashboard.schema import lock_database
from nvoi.errors import CredentialsError, UsageError
from nvoi.files import is_open_to_others, read_with_mode
from nvoi.log.console import ConsoleFormatter, choose_palette, set_up
from nvoi.protocol import find_url_fault
from nvoi.secret import Secret

#: Characters of a password. At 40 guesses a minute even a poor one of this length holds.
SHORTEST, LONGEST = 12, 1024

#: Addresses to listen on that nobody can connect to from another machine.
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    open_error_log(environ)
    settings = build_settings(options)
    server.check_reach(settings)
    key = find_key(
        options.dir, environ=environ, config_file=options.config, key_file=options.key_file
    )
    if key is None and not os.path.lexists(find_database(options.db, environ)):
        # Nothing is made for what cannot be used.
        raise build_key_error()
    path = prepare_database(options.db, environ)
    with lock_database(path) as note_url, open_store(path) as (database, keyring):
        source = ensure_key(key, database, keyring)

        def tell(url: str) -> None:
            # It serves already: what is said of it is not worth its end.
            with contextlib.suppress(StorageError, OSError):
                note_url(url)
                remember_url(database, url)
            say(describe(url, source, path, settings))

        server.serve(settings, database, keyring, tell)
    return 0


def open_error_log(environ: Mapping[str, str]) -> None:
    """Let warnings go to standard error; a reader of it that has gone disturbs nobody."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(ConsoleFormatter(choose_palette(sys.stderr, environ)))
    set_up(handler)


def build_settings(options: argparse.Namespace) -> Settings:
    return Settings(
        host=options.host,
        port=options.port,
        password=read_password(options.password_file) if options.password_file else None,
        trust_proxy=options.trust_proxy,
        public_url=parse_url(options.public_url) if options.public_url is not None else None,
        keep=options.keep or None,
        keep_days=options.keep_days,
        rate=options.rate,
    )


def read_password(path: Path) -> Secret:
    """The password in a file: one line, of 12 characters at least; else a UsageError."""
    try:
        content, mode = read_with_mode(path)
    except CredentialsError as error:
        raise UsageError(f"--password-file: {error.message}") from error
    if is_open_to_others(mode):
        raise UsageError(
            f"--password-file: {path} is open to others (mode {mode & 0o777:04o})",
            hint=f"chmod 600 {path}",
        )
    try:
        text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise UsageError(f"--password-file: {path} is not UTF-8") from error
    if not text.isprintable():
        raise UsageError(
            f"--password-file: {path} holds more than one line, or what cannot be typed"
        )
    if not SHORTEST <= len(text.strip()) <= len(text) <= LONGEST:
        raise UsageError(
            f"--password-file: {path} must hold a password of {SHORTEST} to {LONGEST} characters",
            hint="make one: (umask 077; openssl rand -base64 24 > password)",
        )
    return Secret(text)


def parse_url(text: str) -> str:
    """``--public-url`` without a slash at its end."""
    # What was typed is not repeated: it may have a password.
    if fault := find_url_fault(text):
        raise UsageError(f"--public-url {fault}", hint="as https://deploys.example.com")
    parts = urlsplit(text)
    if parts.path.strip("/") or "@" in parts.netloc:
        raise UsageError(
            "--public-url has more than a scheme, a host and a port",
            hint="the dashboard needs a host name of its own",
        )
    return f"{parts.scheme}://{parts.netloc}"


def ensure_key(key: DeployKey | None, database: Database, keyring: Keyring) -> str:
    """Give the default project the key that was found; without one there must be a project.

    Returns where the key was found, empty where there is none that the project takes.
    """
    if key is None:
        with database.read() as connection:
            if list_projects(connection):
                return ""
        raise build_key_error()
    if key.warning:
        sys.stderr.write(f"nvoi: warning: {key.warning}\n")
    with database.write() as connection:
        if has_own_project(connection, keyring, key.value):
            return ""
        project = ensure_default_project(connection, keyring, key.value)
        if key.value in get_keys(connection, keyring, project):
            return key.source
    sys.stderr.write(
        f"nvoi: warning: the key of {key.source} has ended: 'nvoi dashboard project rotate-key"
        f" {project.name}' gave the project another. Deploys that sign with it are refused; start"
        " the dashboard with the new key\n"
    )
    return ""


def build_key_error() -> UsageError:
    return UsageError(
        "there is no deploy key, so nobody could send anything",
        hint="start it in an app's checkout, name the key with --key-file, set $DEPLOY_KEY, "
        "or add a project: nvoi dashboard project add NAME --key-file FILE",
    )


def has_own_project(sql: Connection, keyring: Keyring, key: Secret) -> bool:
    """Whether a key is that of an app which has a project of its own name, and no other."""
    projects = list_projects(sql)
    return all(project.name != DEFAULT_PROJECT for project in projects) and any(
        key in get_keys(sql, keyring, project) for project in projects
    )


def say(text: str) -> None:
    """Print it, if somebody reads."""
    with contextlib.suppress(OSError):
        sys.stdout.write(text)
    flush_output(0)


def describe(url: str, source: str, path: Path, settings: Settings) -> str:
    """What is said once it serves; the first line names its URL."""
    lines = [f"nvoi dashboard: {url}"]
    if source:
        lines.append(f"  for the config   callback_url: {url}/api/deploys   (key: {source})")
    else:
        lines.append("  callback URLs    nvoi dashboard project list")
    lines.append(f"  data             {path}")
    if settings.public_url is None and settings.host in WILDCARDS:
        lines.append("  from elsewhere   name with --public-url where it is found")
    if settings.password is not None:
        lines.append("  readers          need the password")
    elif settings.trust_proxy:
        lines.append("  readers          whoever the proxy lets through")
    return "\n".join(lines) + "\n"
