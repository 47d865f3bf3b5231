"""``nvoi dashboard project``: the apps of a dashboard that serves several, and its database."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nvoi.cli.inputs import ask_yes, find_home
from nvoi.config.credentials import get_key
from nvoi.config.sealing import DeployKey
from nvoi.dashboard import projects
from nvoi.dashboard.database import Database
from nvoi.dashboard.projects import (
    Keyring,
    Project,
    ProjectSummary,
    find_option,
    open_keyring,
    store_option,
)
from nvoi.dashboard.schema import open_database
from nvoi.errors import InputError, UsageError
from nvoi.folders import check_way, make_own

#: Where a dashboard that was never started will be found.
URL = "http://127.0.0.1:8787"
_URL_OPTION = "url"


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """List the apps, or add, change or remove one; 1 where that was not confirmed."""
    if options.action == "add":
        add_project(options, environ)
    elif options.action == "list":
        list_projects(options, environ)
    elif options.action == "rotate-key":
        rotate_key(options, environ)
    elif not remove_project(options, environ):
        sys.stdout.write("Nothing was removed.\n")
        return 1
    return 0


def add_project(options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    key = get_own_key(options, environ)
    with open_store(prepare_database(options.db, environ)) as (database, keyring):
        with database.write() as connection:
            project = projects.add_project(connection, keyring, options.name, key.value)
        url = find_url(database)
    sys.stdout.write(
        f"Added the project {project.name}, with the key of {key.source}. For its config:\n\n"
        f"callback_url: {build_callback_url(url, project)}\n"
    )


def list_projects(options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    with open_store(get_database(options.db, environ)) as (database, _):
        with database.read() as connection:
            summaries = projects.list_summaries(connection)
        url = find_url(database)
    rows = [("NAME", "DEPLOYS", "LAST SEEN", "CALLBACK URL")]
    rows += [describe(summary, url) for summary in summaries]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for *cells, last in rows:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        sys.stdout.write("  ".join([*padded, last]) + "\n")


def describe(summary: ProjectSummary, url: str) -> tuple[str, str, str, str]:
    seen = "never"
    if summary.last_seen_at is not None:
        seen = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(summary.last_seen_at / 1000))
    callback_url = build_callback_url(url, summary.project)
    return summary.project.name, str(summary.deploys), seen, callback_url


def remove_project(options: argparse.Namespace, environ: Mapping[str, str]) -> bool:
    """Remove an app and its deploys, once that was confirmed; whether it was."""
    with open_store(get_database(options.db, environ)) as (database, _):
        with database.read() as connection:
            name = projects.get_project(connection, options.name).name
        if not options.yes:
            if not sys.stdin.isatty():
                raise UsageError("no terminal is here to ask at", hint="add --yes")
            if not ask_yes(f"Remove the project {name} and all its deploys?"):
                return False
        with database.write() as connection:
            projects.remove_project(connection, name)
    sys.stdout.write(f"Removed the project {name}.\n")
    return True


def rotate_key(options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    """Give an app a new key; the earlier one is taken for a while as well."""
    key = get_own_key(options, environ)
    with (
        open_store(get_database(options.db, environ)) as (database, keyring),
        database.write() as connection,
    ):
        projects.rotate_key(
            connection, keyring, options.name, key.value, grace_seconds=options.grace * 3600
        )
    hours = "hour" if options.grace == 1 else f"{options.grace:g} hours"
    earlier = f"is taken for another {hours}" if options.grace else "has ended"
    sys.stdout.write(
        f"The project {options.name} has the key of {key.source}. The earlier one {earlier}.\n"
    )


def get_own_key(options: argparse.Namespace, environ: Mapping[str, str]) -> DeployKey:
    key = get_key(
        options.dir, environ=environ, config_file=options.config, key_file=options.key_file
    )
    if key.warning:
        sys.stderr.write(f"nvoi: warning: {key.warning}\n")
    return key


def build_callback_url(url: str, project: Project) -> str:
    """What stands in the config of a project's app."""
    if project.token is None:
        return f"{url}/api/deploys"
    return f"{url}/api/projects/{project.token}/deploys"


def remember_url(database: Database, url: str) -> None:
    """Keep where the dashboard is found, for the URLs that these commands print."""
    with database.read() as connection:
        if find_option(connection, _URL_OPTION) == url:
            return
    with database.write() as connection:
        store_option(connection, _URL_OPTION, url)


def find_url(database: Database) -> str:
    """Where the dashboard was found when it was started last."""
    with database.read() as connection:
        return find_option(connection, _URL_OPTION) or URL


def find_database(chosen: Path | None, environ: Mapping[str, str]) -> Path:
    """The database's file, as ``--db`` has it or in nvoi's own folder."""
    return chosen or find_home(environ) / "dashboard.d" / "dashboard.sqlite3"


def prepare_database(chosen: Path | None, environ: Mapping[str, str]) -> Path:
    """The database's file; nvoi's own folder is made for it where that is missing."""
    path = find_database(chosen, environ)
    try:
        if chosen is None:
            make_own(path.parent)
        path.parent.stat()
    except OSError as error:
        raise InputError(
            f"cannot use the folder {path.parent}: {error.strerror}",
            hint="name another file with --db",
        ) from error
    return path


def get_database(chosen: Path | None, environ: Mapping[str, str]) -> Path:
    """The database's file, which is there."""
    path = find_database(chosen, environ)
    if chosen is None:
        check_way(path.parent)
    if not os.path.lexists(path):
        raise UsageError(
            f"there is no dashboard's database {path}",
            hint="'nvoi dashboard' makes it, or --db names another",
        )
    return path


@contextmanager
def open_store(path: Path) -> Iterator[tuple[Database, Keyring]]:
    """The database and its keyring, beside a dashboard that may run."""
    database = open_database(path)
    try:
        yield database, open_keyring(database)
    finally:
        database.close()
