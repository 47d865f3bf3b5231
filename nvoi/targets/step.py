"""What a target is made of: steps, the context they share, and what they leave behind."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

from nvoi.config.schema import Config
from nvoi.errors import UsageError
from nvoi.protocol import Tunnel


@dataclass(frozen=True)
class Request:
    """What the user asked for, as every target sees it.

    ``directory`` is the checkout, ``home`` the folder that holds nvoi's own state,
    ``environ`` the caller's environment, ``key_file`` the file that the config's key was
    read from, None where it came from the environment or was not needed. ``lock_wait`` is
    how many seconds to wait for another run to end, ``dockerfile`` what to build the image
    from instead of the checkout's own, ``with_cluster`` whether ``delete`` takes the cluster
    away too, ``stamp`` the release that ``rollback`` goes to, None for the one before.
    """

    config: Config
    directory: Path
    home: Path
    deploy_id: str
    delete_volumes: bool = False
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    key_file: Path | None = None
    lock_wait: float = 0.0
    dockerfile: Path | None = None
    with_cluster: bool = False
    stamp: str | None = None

    @property
    def user(self) -> str:
        """Who runs nvoi, for those who wait: a name, or the number of a user without one."""
        try:
            return self.environ.get("USER") or pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            return str(os.getuid())


@dataclass(frozen=True)
class KeptRelease:
    """A release that can be gone back to; ``images`` are those that its services run."""

    stamp: str
    deploy_id: str
    images: Sequence[str]
    is_running: bool


class Context(Protocol):
    """What the steps of one run share. A target's own context adds to it."""

    @property
    def tunnels(self) -> list[Tunnel]:
        """The services that can be reached, once the run is done."""
        ...

    @property
    def urls(self) -> list[str]:
        """The app's addresses for a person to open."""
        ...


C = TypeVar("C")


@dataclass(frozen=True)
class Step(Generic[C]):
    """One step of a run.

    ``plan`` says for ``--dry-run`` what ``run`` would change, a line each, and touches
    nothing. ``undo`` takes back what ``run`` did or had begun to do; it is called in
    reverse order for every step that was started when a later one fails or the run
    is interrupted. ``undoes`` is what that takes back, where it is more than the step.
    """

    name: str
    run: Callable[[C], None]
    plan: Callable[[C], Iterable[str]]
    undo: Callable[[C], None] | None = None
    undoes: str = ""


@dataclass(frozen=True)
class Target(Generic[C]):
    """A place an app can run: how its context is opened, and its two tuples of steps.

    ``check`` raises :class:`~nvoi.errors.ConfigError` where a valid config asks for what
    this target cannot do. ``open`` makes the context of a run and holds the app's lock;
    ``preview`` makes one for ``--dry-run`` that holds and touches nothing.

    ``rollback`` is empty where a target keeps no releases. What else a target may not have
    are methods, which refuse unless its own class has them. ``has_cluster`` says whether
    ``delete`` can take more away than the app.
    """

    has_cluster: ClassVar[bool] = False

    name: str
    check: Callable[[Request], None]
    open: Callable[[Request], AbstractContextManager[C]]
    preview: Callable[[Request], C]
    deploy: tuple[Step[C], ...]
    delete: tuple[Step[C], ...]
    rollback: tuple[Step[C], ...] = ()

    def list_releases(self, request: Request) -> Sequence[KeptRelease]:
        """The releases that are kept, the newest first. Changes nothing.

        Raises:
            UsageError: the target keeps none.
            NvoiError: they cannot be read.
        """
        del request
        raise UsageError(
            f"the {self.name} target has no releases to go back to",
            hint="check an earlier commit out and deploy it",
        )

    def unlock(self, request: Request) -> None:
        """Tell who holds the app's lock, and end that run's hold on it.

        Raises:
            UsageError: the lock ends with its holder.
            NvoiError: the lock cannot be had.
        """
        del request
        raise UsageError(
            f"the lock of the {self.name} target ends with the run that holds it",
            hint="end that run",
        )
