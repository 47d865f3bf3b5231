"""A dashboard of this machine that takes an app's deploys: its project, and a server that stays."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from nvoi.cli.commands import COMMANDS
from nvoi.config.credentials import KEY_VARIABLES
from nvoi.demo.watcher import choose_port, wait_for_dashboard
from nvoi.errors import NvoiError, UsageError
from nvoi.onboarding.prompts import StartedDashboard
from nvoi.secret import Secret


def is_installed() -> bool:
    (command,) = (command for command in COMMANDS if command.name == "dashboard")
    return all(importlib.util.find_spec(name) for name in command.packages)


class OwnDashboard:
    """What was started and added so far, so that it can be undone where nothing is saved."""

    def __init__(self, key: Secret, environ: Mapping[str, str]) -> None:
        self._key = key
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        #: The name of the project that was added, as is the app, and the callback URLs it has had.
        self.project = ""
        self._urls: list[str] = []
        self.log_file: Path | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, name: str) -> StartedDashboard:
        """Have a dashboard take the deploys of the app ``name``; one that runs does that too."""
        try:
            if self.project != name:
                self._remove_project()
            token_path = self._add_project(name)
            url = self._find_running() or self._start_server()
        except NvoiError as error:
            self.undo()
            return StartedDashboard("", f"No dashboard could be started: {error}")
        self._urls.append(f"{url}{token_path}")
        return StartedDashboard(self._urls[-1], f"Its page: {url}/projects/{name}")

    def settle(self, url: str | None, name: str) -> str | None:
        """The callback URL that an app ``name`` is saved with in the place of ``url``.

        The project is called as the app is; nothing is left of a dashboard that is not called.
        """
        if url not in self._urls:
            self.undo()
            return url
        if self.project not in {"", name}:
            self._remove_project()
            parts = urlsplit(url)
            self._urls.append(f"{parts.scheme}://{parts.netloc}{self._add_project(name)}")
        return self._urls[-1]

    def undo(self) -> None:
        """Leave nothing of it: nothing was saved."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            self._process.wait()
            self._process = None
        self._remove_project()

    def _add_project(self, name: str) -> str:
        """The path of the callback URL of the app's project, made where there is none."""
        from nvoi.cli import projects as commands  # noqa: PLC0415 - the extra may be missing
        from nvoi.dashboard import projects  # noqa: PLC0415

        with (
            commands.open_store(commands.prepare_database(None, self._environ)) as store,
            store[0].write() as connection,
        ):
            known = projects.find_project(connection, name)
            if known is None:
                known = projects.add_project(connection, store[1], name, self._key)
                self.project = name
            elif self._key not in projects.get_keys(connection, store[1], known):
                raise UsageError(
                    f"the dashboard has a project {name} with another key",
                    hint=f"nvoi dashboard project rotate-key {name}, or another name for the app",
                )
        return commands.build_callback_url("", known)

    def _remove_project(self) -> None:
        from nvoi.cli import projects as commands  # noqa: PLC0415
        from nvoi.dashboard import projects  # noqa: PLC0415

        if self.project:
            path = commands.get_database(None, self._environ)
            with commands.open_store(path) as (database, _), database.write() as connection:
                projects.remove_project(connection, self.project)
            self.project = ""

    def _find_running(self) -> str:
        """The URL of the dashboard that serves the database already, or ""."""
        from nvoi.cli import projects as commands  # noqa: PLC0415
        from nvoi.dashboard.database import lock_database  # noqa: PLC0415

        path = commands.get_database(None, self._environ)
        try:
            with lock_database(path):
                return ""
        except UsageError:
            with commands.open_store(path) as (database, _):
                return commands.find_url(database)

    def _start_server(self) -> str:
        """The URL of a server that goes on when this command has ended."""
        from nvoi.cli import projects as commands  # noqa: PLC0415

        folder = commands.find_database(None, self._environ).parent
        self.log_file = folder / "dashboard.log"
        environ = {k: v for k, v in self._environ.items() if k not in KEY_VARIABLES}
        with os.fdopen(os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)) as out:
            self._process = subprocess.Popen(  # noqa: S603 - our own words, no shell
                [sys.executable, "-m", "nvoi", "dashboard", "--port", str(choose_port())],
                # Where no key is: the app's is that of its own project.
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return wait_for_dashboard(self._process, self.log_file)
