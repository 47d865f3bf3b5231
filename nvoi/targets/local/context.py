"""What the steps of one run share, and how a run of the local target begins and ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from nvoi.config.schema import Application, AppService
from nvoi.folders import check_way
from nvoi.protocol import Tunnel
from nvoi.targets.local.launcher import build_service_environment
from nvoi.targets.local.lock import hold_lock
from nvoi.targets.local.record import Record, build_record, find_record
from nvoi.targets.local.state import State, build_state, list_names
from nvoi.targets.step import Request


@dataclass
class LocalContext:
    """One run on this machine.

    Attributes:
        request: what the user asked for.
        state: where the app is kept.
        was_empty: nothing of the app was here when the run began.
        previous: the release that served when the run began, None where none did.
        release: the one this run makes, empty until it has a name.
        has_switched: the run has begun to take the old release's ports.
        tunnels: the services that can be reached, once the run is done.
        urls: where a person can open them.
    """

    request: Request
    state: State
    was_empty: bool
    previous: str | None
    release: str = ""
    has_switched: bool = False
    tunnels: list[Tunnel] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    @property
    def application(self) -> Application:
        """The app's config."""
        return self.request.config.application

    @property
    def services(self) -> tuple[AppService, ...]:
        """The app's services, in the order of the config."""
        return tuple(self.application.app.values())

    @property
    def record(self) -> Record:
        """What the new release runs."""
        return build_record(self.application)

    @property
    def previous_record(self) -> Record:
        """What the release that served ran; empty where there was none."""
        return find_record(self.state, self.previous) or {}

    def build_environment(self, service: AppService, *, port: int | None = None) -> dict[str, str]:
        """The environment of ``service``; ``port`` is that of a trial."""
        return build_service_environment(
            self.application, service, self.state, self.release, self.request.environ, port=port
        )


def preview(request: Request) -> LocalContext:
    """The context of a run that only says what it would do: it holds and touches nothing."""
    state = build_state(request)
    return LocalContext(
        request=request,
        state=state,
        was_empty=not state.root.is_dir(),
        previous=state.find_current(),
    )


@contextmanager
def open_context(request: Request) -> Iterator[LocalContext]:
    """The context of a run, with the app's lock held.

    Raises:
        LockError: another run of the app is at work.
        UsageError: others could put something of theirs into the state folder.
        NvoiError: it cannot be used.
    """
    state = build_state(request)
    check_way(state.root)
    was_empty = not list_names(state.root)
    with hold_lock(state, request.deploy_id, request.user):
        yield LocalContext(
            request=request, state=state, was_empty=was_empty, previous=state.find_current()
        )
