"""A cloud as a deploy sees it: the course that all of them have, over what each does in its way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, ClassVar, Generic, TypeVar

from nvoi.account import Pace
from nvoi.command import Command
from nvoi.config.schema import Application
from nvoi.errors import HostsError, NvoiError, RequestError
from nvoi.log.levels import get_logger
from nvoi.providers import disks
from nvoi.providers.cloud_init import replace_host_key_labels
from nvoi.providers.inventory import Inventory
from nvoi.providers.provider import Server
from nvoi.providers.rented import GROUP, WantedServer
from nvoi.providers.wording import build_strangers_error, describe_silence, describe_wanted
from nvoi.ssh.routes import Routes

log = get_logger("nvoi.providers")

S = TypeVar("S", bound=Inventory[Any])

#: What reading an answer of another form fails with.
UNREADABLE_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
#: The first of the statuses by which an API says that the fault is its own.
FAULT = 500


class RentedServers(ABC, Generic[S]):
    """One account. What it has of an app is looked at once in a run, and after changes.

    Attributes:
        api: the cloud's API; a plan gives up on it sooner.
    """

    is_rented = True

    #: What the cloud is called, and where its owner may delete things.
    title: ClassVar[str]
    console: ClassVar[str]

    def __init__(self, application: Application, routes: Routes, api: Any) -> None:
        self.application, self.routes, self.api = application, routes, api
        #: What was seen last; servers that are worked on side by side change it.
        self._seen: S | None = None
        self._lock = Lock()

    @abstractmethod
    def _read(self) -> S:
        """What there is.

        Raises:
            NvoiError: the account cannot be asked.
        """

    @abstractmethod
    def _build_server(self, seen: S, wanted: WantedServer, found: Any) -> Server: ...

    @abstractmethod
    def _relabel(self, found: Any, labels: dict[str, str]) -> Any:
        """The server, once it bears these labels and no others."""

    def _look_everywhere(self) -> S:
        """What there is, also in places that the config no longer names."""
        return self._look()

    @abstractmethod
    def _delete_own(self, seen: S, *, with_volumes: bool) -> Sequence[str]:
        """Delete all that bears the app's labels; returns the names of the disks that stay.

        Raises:
            NvoiError: something is left.
        """

    @abstractmethod
    def _describe(self, *, with_volumes: bool) -> list[str]: ...

    @abstractmethod
    def _describe_deletion(self, *, with_volumes: bool) -> list[str]: ...

    def list_servers(self) -> tuple[Server, ...]:
        seen = self._look()
        return tuple(
            self._build_server(seen, wanted, found)
            for wanted in seen.wanted
            if (found := seen.find_server(wanted.name)) is not None
        )

    def list_unlabelled(self) -> Sequence[str]:
        return [str(one) for one in self._look().strangers]

    def list_surplus(self) -> tuple[Server, ...]:
        seen = self._look()
        return tuple(
            self._build_server(seen, WantedServer(one.name, one.labels.get(GROUP, "")), one)
            for one in seen.surplus
        )

    def keep_host_keys(self, server: Server, keys: Sequence[str]) -> Server:
        found = self._seen.find_server(server.name) if self._seen is not None else None
        if found is None:
            raise NvoiError(f"server {server.name} is not there any more")
        self._note(self._relabel(found, replace_host_key_labels(found.labels, keys)))
        return server.known_by(keys)

    def build_volumes(self, server: Server, lacking: Sequence[str]) -> Command:
        return disks.build_volumes(server, lacking)

    def build_volumes_removal(self, server: Server) -> Command | None:
        # Nothing of an app is on the disks that its servers start from.
        del server
        return None

    def delete_servers(self, *, with_volumes: bool) -> Sequence[str]:
        seen = self._look_everywhere()
        for clash in seen.list_clashes():
            log.warning("%s, and stays", clash)
        self._seen = None
        kept: Sequence[str] = ()
        errors: list[NvoiError] = []
        try:
            kept = self._delete_own(seen, with_volumes=with_volumes)
        except NvoiError as error:
            errors.append(error)
        spared = [one for one in seen.strangers if one.is_data and not with_volumes]
        if strangers := [one for one in seen.strangers if one not in spared]:
            errors.append(build_strangers_error(self.title, strangers, seen.word, self.console))
        if errors:
            raise errors[0] if len(errors) == 1 else HostsError(errors)
        # These cost money too, whoever has made them.
        return [*kept, *(one.name for one in spared)]

    def describe(self, *, with_volumes: bool = False) -> list[str]:
        self._hurry()
        try:
            return self._describe(with_volumes=with_volumes)
        except RequestError as error:
            return [*tell_silence(error), *describe_wanted(self.application)]

    def describe_deletion(self, *, with_volumes: bool) -> list[str]:
        self._hurry()
        try:
            return self._describe_deletion(with_volumes=with_volumes)
        except RequestError as error:
            return tell_silence(error)

    def _check_names(self, seen: S) -> None:
        """See that what has the app's names may be used, and is one.

        Raises:
            NvoiError: it is another's, or there are two; it names them.
        """
        if clashes := seen.list_clashes():
            hint = f"rename or delete it {self.console}, or give this app another name"
            raise NvoiError("\n".join(clashes), hint=hint)
        if doubles := seen.list_doubles():
            hint = f"keep the one with your servers or data, and delete the other {self.console}"
            raise NvoiError("\n".join(doubles), hint=hint)

    def _hurry(self) -> None:
        pace: Pace = self.api.pace
        self.api.pace = pace.hurry()

    def _look(self) -> S:
        """What this run has seen last."""
        if self._seen is None:
            with self._asking():
                self._seen = self._read()
        return self._seen

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Tell of questions that were asked side by side by the first that got no answer.

        All were asked with the same credentials: where these are refused, the config is at fault.
        """
        try:
            yield
        except (HostsError, RequestError) as failed:
            told = self._explain(failed.errors[0] if isinstance(failed, HostsError) else failed)
            if told is failed:
                raise
            raise told from failed

    def _explain(self, error: NvoiError) -> NvoiError:
        """The error as it is told, which may be one of the config."""
        return error

    def _note(self, changed: Any) -> None:
        """Have it be seen as it is now."""
        with self._lock:
            if self._seen is not None:
                self._seen = self._seen.replace([changed])


@contextmanager
def reading(cloud: str) -> Iterator[None]:
    """Have it be told in words that an answer is of another form.

    Only for what reads answers: of all else a fault of nvoi's own would look like the cloud's.

    Raises:
        NvoiError: it is. Nothing of the answer is shown, which may hold anything.
    """
    try:
        yield
    except UNREADABLE_ERRORS as error:
        reason = f"the answer cannot be read: {type(error).__name__}"
        raise NvoiError(f"{cloud}: {reason}", hint="this may be a fault of nvoi") from error


def tell_silence(error: RequestError) -> list[str]:
    """The line of a plan for which the API does not answer; what it refuses is raised again."""
    if not error.is_silence and (error.status or 0) < FAULT:
        raise error
    return [describe_silence(error)]
