"""``nvoi dashboard project``: the apps of a dashboard that serves several."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nvoi.cli.options import add_place_options
from nvoi.cli.store import add_database_option, get_database, open_store, prepare_database
from nvoi.cli.values import parse_hours
from nvoi.errors import UsageError

if TYPE_CHECKING:
    from nvoi.dashboard.database import Database
    from nvoi.dashboard.projects import Project, ProjectSummary
    from nvoi.secret import Secret

    Run = Callable[[argparse.Namespace, Mapping[str, str]], int]

EXAMPLES = """\
examples:
  nvoi dashboard project add shop -d ~/src/shop      with the key of that checkout
  nvoi dashboard project list
  nvoi dashboard project rotate-key shop --key-file new.key --grace 48
  nvoi dashboard project rm shop

They work while the dashboard runs, and it sees what they change at once.
"""

#: Where a dashboard that was never started will be found.
URL = "http://127.0.0.1:8787"
_URL_OPTION = "url"

GRACE_HOURS = 24.0


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``project`` and what it can do."""
    parser = commands.add_parser(
        "project",
        help="serve several apps, each with its own key",
        description="The apps that the dashboard takes deploys of, each with its own key.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    deeds = parser.add_subparsers(metavar="COMMAND", required=True)
    add = _add(deeds, "add", "add an app, and print its callback_url", add_project)
    add_place_options(add, inherited=True)
    _add(deeds, "list", "list the apps", list_projects, named=False)
    remove = _add(deeds, "rm", "remove an app and its deploys", remove_project)
    remove.add_argument("-y", "--yes", action="store_true", help="do not ask")
    rotate = _add(deeds, "rotate-key", "give an app a new key", rotate_key)
    rotate.add_argument(
        "--grace",
        type=parse_hours,
        default=GRACE_HOURS,
        metavar="HOURS",
        help="how long the earlier key is taken as well (24)",
    )
    add_place_options(rotate, inherited=True)


def _add(
    deeds: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    run: Run,
    *,
    named: bool = True,
) -> argparse.ArgumentParser:
    parser = deeds.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    if named:
        parser.add_argument("name", metavar="NAME", help="a-z, 0-9, - and _")
    add_database_option(parser, inherited=True)
    parser.set_defaults(run=run)
    return parser


def add_project(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Add an app with its key, and say what goes into its config.

    Raises:
        InputError: the name cannot be used or is taken, or there is no key.
    """
    from nvoi.dashboard import projects  # noqa: PLC0415 - pulls in cryptography

    key, source = _get_key(options, environ)
    with open_store(prepare_database(options, environ)) as (database, keyring):
        with database.write() as connection:
            project = projects.add_project(connection, keyring, options.name, key)
        url = find_url(database)
    sys.stdout.write(
        f"Added the project {project.name}, with the key of {source}. For its config:\n\n"
        f"callback_url: {build_callback_url(url, project)}\n"
    )
    return 0


def list_projects(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print the apps, how many deploys they have, and where they send."""
    from nvoi.dashboard import projects  # noqa: PLC0415 - pulls in cryptography

    with open_store(get_database(options, environ)) as (database, _):
        with database.read() as connection:
            summaries = projects.list_summaries(connection)
        url = find_url(database)
    rows = [("NAME", "DEPLOYS", "LAST SEEN", "CALLBACK URL")]
    rows += [_describe(summary, url) for summary in summaries]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for *cells, last in rows:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        sys.stdout.write("  ".join([*padded, last]) + "\n")
    return 0


def remove_project(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Remove an app and its deploys, once that was confirmed.

    Raises:
        UsageError: there is none, or nobody can be asked.
    """
    from nvoi.dashboard import projects  # noqa: PLC0415 - pulls in cryptography

    with open_store(get_database(options, environ)) as (database, _):
        with database.read() as connection:
            name = projects.get_project(connection, options.name).name
        if not options.yes and not _confirm(f"Remove the project {name} and all its deploys?"):
            sys.stdout.write("Nothing was removed.\n")
            return 1
        with database.write() as connection:
            projects.remove_project(connection, name)
    sys.stdout.write(f"Removed the project {name}.\n")
    return 0


def rotate_key(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Give an app a new key; the earlier one is taken for a while as well.

    Raises:
        InputError: there is no such app, or no key, or it is the one that the app has.
    """
    from nvoi.dashboard import projects  # noqa: PLC0415 - pulls in cryptography

    key, source = _get_key(options, environ)
    with (
        open_store(get_database(options, environ)) as (database, keyring),
        database.write() as connection,
    ):
        projects.rotate_key(
            connection, keyring, options.name, key, grace_seconds=options.grace * 3600
        )
    sys.stdout.write(
        f"The project {options.name} has the key of {source}. "
        f"The earlier one is taken for another {options.grace:g} hours.\n"
    )
    return 0


def remember_url(database: Database, url: str) -> None:
    """Keep where the dashboard is found, for the URLs that these commands print."""
    from nvoi.dashboard.projects import find_option, store_option  # noqa: PLC0415 - slow

    with database.read() as connection:
        if find_option(connection, _URL_OPTION) == url:
            return
    with database.write() as connection:
        store_option(connection, _URL_OPTION, url)


def find_url(database: Database) -> str:
    """Where the dashboard was found when it was started last."""
    from nvoi.dashboard.projects import find_option  # noqa: PLC0415 - slow

    with database.read() as connection:
        return find_option(connection, _URL_OPTION) or URL


def build_callback_url(url: str, project: Project) -> str:
    """What stands in the config of a project's app."""
    if project.token is None:
        return f"{url}/api/deploys"
    return f"{url}/api/projects/{project.token}/deploys"


def _get_key(options: argparse.Namespace, environ: Mapping[str, str]) -> tuple[Secret, str]:
    """The app's key, and where it was found."""
    from nvoi.config.credentials import get_key  # noqa: PLC0415 - pulls in cryptography

    key = get_key(
        options.dir, environ=environ, config_file=options.config, key_file=options.key_file
    )
    if key.warning:
        sys.stderr.write(f"nvoi: warning: {key.warning}\n")
    return key.value, key.source


def _describe(summary: ProjectSummary, url: str) -> tuple[str, str, str, str]:
    seen = "never"
    if summary.last_seen_at is not None:
        seen = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(summary.last_seen_at / 1000))
    callback_url = build_callback_url(url, summary.project)
    return summary.project.name, str(summary.deploys), seen, callback_url


def _confirm(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here whether that is meant", hint="add --yes")
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
