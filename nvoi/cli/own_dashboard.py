"""A dashboard of this machine that takes an app's deploys: its project, and a server that stays."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from sqlite3 import Connection
from urllib.parse import urlsplit

from nvoi import process
from nvoi.cli import projects as commands
from nvoi.config.credentials import KEY_VARIABLES
from nvoi.dashboard import projects
from nvoi.dashboard.projects import Keyring
from nvoi.dashboard.schema import PEEK_SECONDS, find_server, hold_lock
from nvoi.demo.place import build_command
from nvoi.demo.watcher import START_SECONDS, start_on_free_port, wait_for_dashboard
from nvoi.errors import NvoiError, UsageError
from nvoi.log.levels import get_logger
from nvoi.onboarding.prompts import StartedDashboard
from nvoi.secret import Secret
from nvoi.signals import Shield
from nvoi.waiting import NotReadyError, wait_for

log = get_logger(__name__)


class OwnDashboard:
    """What was started and added so far, so that it can be undone where nothing is saved."""

    def __init__(self, key: Secret, environ: Mapping[str, str]) -> None:
        self._key = key
        self._environ = environ
        self._process: process.Process | None = None
        self._log_file = Path()
        #: Keeps others from a server that may end again; one that ran before is everybody's.
        self._trial = ExitStack()
        #: The names of the projects that were added, and the paths of their callback URLs.
        self._added: set[str] = set()
        self._paths: set[str] = set()
        #: Whether the config that is saved calls it.
        self.is_called = False

    def start(self, name: str) -> StartedDashboard:
        """Have a dashboard take the deploys of the app ``name``; one that runs does that too."""
        try:
            if self._process is None:
                self._begin_trial()
            path = self._add_project(name)
            url = self._find_running() or start_on_free_port(self._start_server)
        except NvoiError as error:
            self.undo()
            return StartedDashboard("", f"No dashboard could be started: {error}")
        if self._process is None:
            self._trial.close()
        return StartedDashboard(f"{url}{path}", f"Its page: {url}/projects/{name}")

    def settle(self, url: str | None, name: str) -> str | None:
        """The callback URL that an app ``name`` is saved with in the place of ``url``.

        The project is called as the app is; an NvoiError says why it cannot be.
        """
        parts = urlsplit(url or "")
        self.is_called = parts.path in self._paths
        if not self.is_called or not self._added:
            return url
        return parts._replace(path=self._add_project(name)).geturl()

    def close(self) -> str:
        """Once a config is saved: undo what it does not call; what is to be said of the rest."""
        if not self.is_called:
            self.undo()
        if self._process is None:
            return ""
        return (
            f"The dashboard runs in the background, as process {self._process.pid}; its log is "
            f"{self._log_file}. `nvoi dashboard` starts it again once it was ended."
        )

    def undo(self) -> None:
        """Leave nothing of it: nothing was saved, or a config that does not call it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            self._process.wait()
            self._process = None
        self._trial.close()
        self._remove_projects()

    def _begin_trial(self) -> None:
        """Until this is undone or has ended, no other ``nvoi onboard`` starts or takes a server."""
        path = commands.prepare_database(None, self._environ)
        self._log_file = path.with_name("dashboard.log")
        lock = hold_lock(path.with_name("onboard.lock"), seconds=PEEK_SECONDS)
        if self._trial.enter_context(lock) is None:
            raise UsageError(
                "another nvoi onboard is trying one out", hint="save or cancel there first"
            )

    def _add_project(self, name: str) -> str:
        """The path of the callback URL of the app's project, the only one that is added."""
        with (
            commands.open_store(commands.prepare_database(None, self._environ)) as store,
            store[0].write() as connection,
        ):
            known = projects.find_project(connection, name)
            if known is None:
                self._added.add(name)
                known = projects.add_project(connection, store[1], name, self._key)
            elif self._key not in projects.get_keys(connection, store[1], known):
                raise UsageError(
                    f"the dashboard has a project {name} with another key",
                    hint=f"nvoi dashboard project rotate-key {name}, or another name for the app",
                )
            self._remove(store[1], connection, self._added - {name})
        path = commands.build_callback_url("", known)
        self._paths.add(path)
        return path

    def _remove_projects(self) -> None:
        if self._added:
            path = commands.get_database(None, self._environ)
            with commands.open_store(path) as (database, keyring), database.write() as connection:
                self._remove(keyring, connection, self._added)
        self._added.clear()
        self._paths.clear()

    def _remove(self, keyring: Keyring, connection: Connection, names: set[str]) -> None:
        """Remove the projects of these ``names`` that are there, and the app's own."""
        for name in names:
            known = projects.find_project(connection, name)
            if known and self._key in projects.get_keys(connection, keyring, known):
                projects.remove_project(connection, name)

    def _find_running(self) -> str:
        """The URL of the dashboard that serves the database already, or ""."""
        path = commands.get_database(None, self._environ)

        def look() -> str:
            url = find_server(path)
            if url == "":
                raise NotReadyError("it has not named its address")
            return url or ""

        what = "the dashboard that is just starting"
        try:
            return wait_for(look, what=what, seconds=START_SECONDS, log=log)
        except NotReadyError:
            # One of an nvoi before this, or on a full disk, names none.
            with commands.open_store(path) as (database, _):
                return commands.find_url(database)

    def _start_server(self, port: int) -> str:
        """The URL of a server that goes on when this command has ended."""
        environ = {k: v for k, v in self._environ.items() if k not in KEY_VARIABLES}
        descriptor = os.open(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as out, Shield():
            self._process = process.start(
                build_command(["dashboard", "--port", str(port)]),
                environ,
                # Where no key is: the app's is that of its own project.
                folder=self._log_file.parent,
                output=out,
            )
        return wait_for_dashboard(self._process, self._log_file)
