"""Objects of a cluster by way of its master: its API through a port forward, commands by SSH."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

from nvoi import parallel
from nvoi.command import Result, build_script
from nvoi.errors import (
    ClusterSilenceError,
    ConnectionFailedError,
    HostsError,
    RemoteError,
    RequestError,
)
from nvoi.http import Client
from nvoi.kubernetes.api import FIELD_MANAGER, Api
from nvoi.kubernetes.diagnosis import describe_stopping
from nvoi.kubernetes.kubeconfig import FIND_K3S, Access
from nvoi.kubernetes.names import NAMESPACE
from nvoi.kubernetes.ownership import Json, Manifest, Reference, sign
from nvoi.kubernetes.refusals import explain, is_temporary, summarize
from nvoi.log.levels import get_logger
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, as_root
from nvoi.waiting import NotReadyError, wait_for

T = TypeVar("T")
H = TypeVar("H")

log = get_logger("nvoi.kubernetes")

EXECUTE = f'{FIND_K3S}; exec k3s kubectl exec "$@"'
#: Seconds that a command in a container may take where nothing else is said.
EXECUTE_SECONDS = 300.0
#: The kinds that a rollout is about.
FOLLOWED = frozenset({"Deployment", "StatefulSet", "Job"})
#: Requests at one time: each more has a connection of its own to open, through SSH and with TLS,
#: which takes longer than to wait for one that is open.
AT_ONCE = 4
#: Seconds that deleted objects have to be gone, and between two looks at that at most.
DELETE_SECONDS = 300.0
LONGEST_PAUSE = 0.5
LOOKING, APPLYING = "looking at the cluster", "applying to the cluster"
DELETING = "deleting from the cluster"


@dataclass(frozen=True)
class Query:
    """Objects of a kind that have labels; of them the metadata alone, with ``names_only``."""

    name: str
    selector: str | None = None
    names_only: bool = False


class Objects:
    """The objects of a cluster, whose kubeconfig is read by one SSH command when it is first asked.

    A cluster that does not answer for a moment is asked again; said once. Usable from any
    thread; whoever makes one closes it. All methods raise NvoiError where the cluster cannot be
    asked, RemoteError where it refuses, and LockError where this run may not change it.

    Args:
        connections: the way to the master.
        host: the master.
        check: called before the cluster is changed; raises where this run may not.
        pace: seconds until a cluster that did not answer is asked again.
    """

    def __init__(
        self,
        connections: Connections,
        host: Host,
        check: Callable[[], None] = lambda: None,
        *,
        pace: float = 1.0,
    ) -> None:
        self._connections = connections
        self._host = host
        self._check = check
        self._access = Access(connections, host)
        self._client = Client(
            self._access.connect, pause=pace, listen=tell_trouble, is_temporary=is_temporary
        )
        self._api = Api(self._client)
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the way to the API. A later use opens another one."""
        self._client.close()
        self._access.close()

    def get(
        self,
        kinds: Sequence[str | Query],
        *,
        selector: str | None = None,
        fields: str | None = None,
        namespace: str | None = NAMESPACE,
    ) -> tuple[Json, ...]:
        """All objects of some kinds, which are named as in the API's paths.

        Each may come with a selector of its own; ``selector`` is that of the others. ``fields`` are
        such as ``spec.nodeName=main-1``; no ``namespace`` is every one.
        """
        queries = [one if isinstance(one, Query) else Query(one, selector) for one in kinds]

        def look(query: Query) -> tuple[Json, ...]:
            return self._api.list_all(
                query.name,
                namespace,
                selector=query.selector,
                fields=fields,
                names_only=query.names_only,
            ).items

        with self._telling(LOOKING):
            found = self._ask_all([*dict.fromkeys(queries)], look)
        return tuple(item for items in found.values() for item in items)

    def find_existing(self, references: Iterable[Reference]) -> frozenset[Reference]:
        """Those of the objects that there are; nothing of what they hold is read."""
        with self._telling(LOOKING):
            found = self._ask_all([*references], lambda one: self._api.find(one, names_only=True))
        return frozenset(reference for reference, item in found.items() if item)

    def apply(
        self, manifests: Iterable[Manifest], *, owner: str = FIELD_MANAGER
    ) -> tuple[Json, ...]:
        """Have the cluster hold ``manifests``, and return what it holds then.

        Where it refuses one, the others are applied.
        """
        # Others own but a part of what they apply.
        items = [sign(one) if owner == FIELD_MANAGER else one for one in manifests]

        def apply(number: int) -> Json | RequestError:
            try:
                return self._api.apply(items[number], owner)
            except RequestError as error:
                if error.is_silence:
                    raise
                return error

        found: dict[int, Json | RequestError] = {}
        # Workloads come last: their pods start with what the other objects hold.
        for is_workload in (False, True):
            numbers = [n for n, one in enumerate(items) if (one["kind"] in FOLLOWED) == is_workload]
            if numbers:
                self._check()
            with self._telling(APPLYING):
                found |= self._ask_all(numbers, apply)
        refusals = [one for one in found.values() if isinstance(one, RequestError)]
        if refusals:
            raise self._build_error(refusals, APPLYING, items)
        return tuple(one for one in found.values() if not isinstance(one, RequestError))

    def change(self, reference: Reference, change: Json) -> None:
        """Merge ``change`` into an object; what is None there goes."""
        self._check()
        with self._telling(f"changing {reference}"):
            self._api.patch(reference, change)

    def delete(
        self, references: Iterable[Reference], *, wait: bool = True, orphans: bool = False
    ) -> None:
        """Delete objects; those that are gone are no error.

        With ``wait`` it returns once their pods are gone too: what is made anew must not write
        to a folder beside what it replaces. With ``orphans`` what was made for them goes on by
        itself.
        """
        items = [*dict.fromkeys(references)]
        propagation = "Orphan" if orphans else "Foreground" if wait else "Background"
        if items:
            self._check()
        with self._telling(DELETING):
            found = self._ask_all(items, lambda one: self._api.delete(one, propagation))
            left = [one for one, is_gone in found.items() if not is_gone]
            deadline = time.monotonic() + DELETE_SECONDS
            for reference in left if wait else ():
                self._wait_until_gone(reference, deadline)

    def evict(self, pods: Iterable[Reference]) -> list[Reference]:
        """Ask for the end of pods; returns those that a PodDisruptionBudget keeps for now."""
        self._check()
        with self._telling("evicting pods"):
            return [pod for pod in pods if not self._api.evict(pod)]

    def execute(
        self,
        target: str,
        words: Sequence[str],
        *,
        seconds: float = EXECUTE_SECONDS,
        namespace: str = NAMESPACE,
        check: bool = False,
    ) -> Result:
        """Run a command in a container, by kubectl on the master. Several go on side by side.

        ``target`` is a pod's name, or ``deployment/NAME``. With ``check`` an exit code other than 0
        is an error; it is 1 as well where there is no such container.
        """
        arguments = (f"--namespace={namespace}", target, "--", *words)
        script = build_script("nvoi-exec", EXECUTE, *arguments)
        return self._connections.run(
            self._host,
            as_root(self._host, script),
            timeout=seconds,
            idle_timeout=seconds,
            level=None,
            check=check,
        )

    def read_lines(self, pod: Reference, container: str, *, lines: int) -> tuple[str, ...]:
        """The last lines that a container has printed."""
        with self._telling(LOOKING):
            return self._api.read_lines(pod, container, lines=lines)

    def _wait_until_gone(self, reference: Reference, deadline: float) -> None:
        def look() -> None:
            if self._api.find(reference, names_only=True) is not None:
                raise NotReadyError(partial(self._describe_stopping, reference))

        what, seconds = f"the end of {reference}", deadline - time.monotonic()
        try:
            wait_for(look, what=what, seconds=seconds, log=log, longest_pause=LONGEST_PAUSE)
        except NotReadyError:
            outcome = f"{reference} is not gone after {DELETE_SECONDS:g} s"
            raise RemoteError(str(self._host), DELETING, outcome) from None

    def _describe_stopping(self, reference: Reference) -> str:
        """The pods of a workload that are still stopping, in words."""
        beginning = f"{reference.name}-"
        with suppress(RequestError, ConnectionFailedError):
            pods = self._api.list_all("Pod", reference.namespace, names_only=True, patience=0).items
            own = (pod for pod in pods if f"{pod['metadata']['name']}-".startswith(beginning))
            return "; ".join(describe_stopping(own))
        return ""

    def _ask_all(self, items: Sequence[H], ask: Callable[[H], T]) -> dict[H, T]:
        """Ask for all side by side; for the first alone where the way has yet to be opened."""

        def take_turn(item: H) -> T:
            with self._turns:
                return ask(item)

        first = [] if self._client.is_connected else items[:1]
        found = {item: ask(item) for item in first}
        rest = items[len(first) :]
        return found | (parallel.work_on_all(rest, take_turn) if rest else {})

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Have what the API refuses told as what was done to the cluster."""
        try:
            yield
        except HostsError as error:
            refusals = [one for one in error.errors if isinstance(one, RequestError)]
            raise (self._build_error(refusals, what) if refusals else error.errors[0]) from error
        except RequestError as error:
            raise self._build_error([error], what) from error

    def _build_error(
        self,
        errors: Sequence[RequestError],
        what: str,
        manifests: Sequence[Manifest] = (),
    ) -> RemoteError:
        found = (text for one in errors for text in explain(one, manifests))
        sentences = [*dict.fromkeys(found)]
        host, summary, output = str(self._host), summarize(sentences), sentences[1:]
        if any(one.is_silence or is_temporary(one) for one in errors):
            hint = errors[0].hint or f"see `systemctl status k3s` on {self._host.name}"
            return ClusterSilenceError(host, what, summary, hint=hint, output=output)
        return RemoteError(host, what, summary, hint=errors[0].hint, output=output)


def tell_trouble(error: RequestError | None) -> None:
    if error is None:
        log.info("The cluster answers again")
    else:
        reason = summarize(explain(error))
        log.warning("The cluster does not answer, and is asked again: %s", reason)
