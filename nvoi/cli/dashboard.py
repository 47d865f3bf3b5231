"""``nvoi dashboard``: receives deploys and shows them live."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nvoi.cli import projects
from nvoi.cli.options import add_command, add_place_options
from nvoi.cli.store import (
    add_database_option,
    find_database,
    open_own_store,
    prepare_database,
)
from nvoi.cli.values import parse_amount, parse_count, parse_port, parse_url
from nvoi.errors import UsageError

if TYPE_CHECKING:
    from nvoi.dashboard.context import Settings
    from nvoi.dashboard.database import Database
    from nvoi.dashboard.keyring import Keyring

EXAMPLES = """\
examples:
  nvoi dashboard                                  in an app's checkout: it finds the app's key
  nvoi dashboard --key-file ~/shop/deploy.key --port 9000
  nvoi dashboard --host 0.0.0.0 --password-file password --public-url https://deploys.example.com
  nvoi dashboard project add shop -d ~/src/shop   one more app, with a key and a URL of its own

Ctrl-C, SIGTERM, SIGHUP and SIGQUIT end it, with exit code 0: that is how a server ends.

exit codes: 0 it was ended, 1 it failed, 2 bad usage: an address that is taken, no key, …
"""

#: Addresses to listen on that nobody can connect to from another machine.
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with

#: What the extra ``dashboard`` installs and nvoi does without otherwise.
PACKAGES = ("starlette", "uvicorn", "jinja2")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = add_command(
        subparsers,
        "dashboard",
        "Receives what deploys send to their callback_url, keeps it in a SQLite file, and shows "
        "it live in a browser. The app's deploy key says which deploys are believed.",
        EXAMPLES,
        run,
    )
    add_server_options(parser)
    add_database_option(parser)
    add_place_options(parser)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    projects.add_parser(commands)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Where it listens, who may read, and for how long deploys are kept."""
    server = parser.add_argument_group("server")
    server.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    server.add_argument(
        "--port", type=parse_port, default=8787, help="the port; 0 takes any that is free (8787)"
    )
    server.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="holds what readers have to know, on one line; needed beyond this machine",
    )
    server.add_argument(
        "--trust-proxy",
        action="store_true",
        help="a reverse proxy stands before it, and decides who may read",
    )
    server.add_argument(
        "--public-url", metavar="URL", help="where senders and readers find it (its own address)"
    )
    server.add_argument(
        "--rate",
        type=parse_amount,
        default=200.0,
        metavar="N",
        help="requests a second that a project may send for long (200)",
    )
    keeping = parser.add_argument_group("keeping")
    keeping.add_argument(
        "--keep",
        type=parse_count,
        default=200,
        metavar="N",
        help="deploys kept of each project; 0 keeps all (200)",
    )
    keeping.add_argument(
        "--keep-days", type=parse_amount, metavar="D", help="days for which they are kept"
    )


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Serve until asked to end.

    Raises:
        InputError: it cannot be served as asked.
    """
    check_extra()
    from nvoi.dashboard import server  # noqa: PLC0415 - of the extra
    from nvoi.dashboard.database import StorageError  # noqa: PLC0415 - slow

    open_error_log(environ)
    settings = build_settings(options, find_database(options, environ))
    server.check_reach(settings)
    path = prepare_database(options, environ)
    with open_own_store(path) as (database, keyring):
        source = ensure_key(options, environ, database, keyring)

        def tell(url: str) -> None:
            # It serves already: what is said of it is not worth its end.
            with contextlib.suppress(StorageError):
                projects.remember_url(database, url)
            say(describe(url, source, path, settings))

        server.serve(settings, database, keyring, tell)
    return 0


def open_error_log(environ: Mapping[str, str]) -> None:
    """Let warnings go to standard error; a reader of it that has gone disturbs nobody."""
    from nvoi.log.console import ConsoleFormatter, choose_palette, set_up  # noqa: PLC0415

    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(ConsoleFormatter(choose_palette(sys.stderr, environ)))
    set_up(handler)


def check_extra() -> None:
    """Make sure that the extra is installed.

    Raises:
        UsageError: it is not.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the dashboard needs {', '.join(missing)}", hint="pip install 'nvoi[dashboard]'"
        )


def build_settings(options: argparse.Namespace, path: Path) -> Settings:
    """What the options say.

    Raises:
        UsageError: the password's file or the public URL cannot be used.
    """
    from nvoi.dashboard.context import Settings, read_password  # noqa: PLC0415 - of the extra

    return Settings(
        path,
        host=options.host,
        port=options.port,
        password=read_password(options.password_file) if options.password_file else None,
        trust_proxy=options.trust_proxy,
        public_url=parse_url(options.public_url) if options.public_url is not None else None,
        keep=options.keep or None,
        keep_days=options.keep_days,
        rate=options.rate,
    )


def ensure_key(
    options: argparse.Namespace,
    environ: Mapping[str, str],
    database: Database,
    keyring: Keyring,
) -> str:
    """Give the default project the key that is found; without one there must be a project.

    Returns:
        where the key was found, empty where there is none.

    Raises:
        InputError: there is neither a key nor a project, or the key cannot be read.
    """
    from nvoi.config.credentials import find_key  # noqa: PLC0415 - pulls in cryptography
    from nvoi.dashboard.projects import ensure_default_project, list_projects  # noqa: PLC0415

    key = find_key(
        options.dir, environ=environ, config_file=options.config, key_file=options.key_file
    )
    if key is None:
        with database.read() as connection:
            if list_projects(connection):
                return ""
        raise UsageError(
            "there is no deploy key, so nobody could send anything",
            hint="start it in an app's checkout, name the key with --key-file, set $DEPLOY_KEY, "
            "or add a project: nvoi dashboard project add NAME --key-file FILE",
        )
    if key.warning:
        sys.stderr.write(f"nvoi: warning: {key.warning}\n")
    with database.write() as connection:
        ensure_default_project(connection, keyring, key.value)
    return key.source


def say(text: str) -> None:
    """Print it, if somebody reads."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        # What is still buffered would fail again, loudly, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
