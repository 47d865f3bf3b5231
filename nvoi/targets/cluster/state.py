"""What the app has in the cluster, as a run finds it before it changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from nvoi.errors import NvoiError, RemoteError
from nvoi.invocation import name_command
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.names import (
    COMPONENT,
    LOGINS,
    STAMP,
    build_app_selector,
)
from nvoi.kubernetes.objects import Query
from nvoi.kubernetes.ownership import (
    LISTED,
    RECORD,
    WORKLOADS,
    Json,
    Reference,
    is_adopted,
    is_owned,
    read_reference,
)
from nvoi.kubernetes.progress import list_conditions
from nvoi.kubernetes.releases import ReleaseRecord, find_running, list_stamps, read_records
from nvoi.outcome import STAMP_FORMAT, find_moment

#: The app's Secrets of which a run needs what they hold, and all others.
READ, UNREAD = (f"{COMPONENT} {word} ({RECORD},{LOGINS})" for word in ("in", "notin"))
#: The exit code of a shell that does not find a program (POSIX, "Exit Status for Commands").
NOT_FOUND = 127


@dataclass(frozen=True)
class State:
    """The app in the cluster.

    Of ``objects`` that are Secrets, and neither records nor logins, there are names and labels
    alone.
    """

    app: str = ""
    objects: tuple[Json, ...] = ()

    @cached_property
    def _all_records(self) -> list[ReleaseRecord]:
        return read_records(self.app, self.objects)

    @property
    def served(self) -> list[ReleaseRecord]:
        """The releases that have served, newest first, also those whose records are damaged."""
        return [record for record in self._all_records if not record.is_begun]

    @property
    def records(self) -> list[ReleaseRecord]:
        """Those of them that can be gone back to."""
        return [record for record in self.served if record.manifests]

    @property
    def begun(self) -> list[ReleaseRecord]:
        """Those that were cut off before they served, newest first."""
        return [record for record in self._all_records if record.is_begun]

    @property
    def running(self) -> str | None:
        """The stamp of the one that serves."""
        return find_running(list_stamps(self.app, self.objects), self._all_records)

    @property
    def has_adopted(self) -> bool:
        """Whether what serves, or a part of it, was made by the Ruby gem."""
        return any(is_adopted(item) for item in self.objects if item["kind"] in WORKLOADS)

    def find(self, reference: Reference) -> Json | None:
        return next((item for item in self.objects if read_reference(item) == reference), None)

    def find_record(self, stamp: str | None) -> ReleaseRecord | None:
        return next((record for record in self.records if record.stamp == stamp), None)

    def list_stamps(self) -> Iterator[str]:
        for item in self.objects:
            if is_owned(item, self.app):
                yield item["metadata"]["labels"].get(STAMP, "")

    def list_unfinished_jobs(self) -> Iterator[tuple[Reference, int]]:
        """The app's Jobs that have not ended, and how many seconds each may take."""
        for item in self.objects:
            if item["kind"] != "Job" or not is_owned(item, self.app):
                continue
            if not {"Complete", "Failed"} & list_conditions(item).keys():
                yield read_reference(item), item["spec"]["activeDeadlineSeconds"]


def read_state(cluster: Cluster, app: str) -> State:
    # What is in an environment is needed by nobody here: its name holds it.
    environments = Query("secrets", f"{build_app_selector(app)},{UNREAD}", names_only=True)
    return State(app, read_objects(cluster, app, LISTED, environments))


def read_objects(
    cluster: Cluster, app: str, kinds: Sequence[str], *others: Query
) -> tuple[Json, ...]:
    """The app's objects of ``kinds``, the records of its releases, its logins, and ``others``.

    Raises:
        NvoiError: there is no cluster, or it does not answer.
    """
    own = build_app_selector(app)
    queries = [*(Query(kind, own) for kind in kinds), Query("secrets", f"{own},{READ}"), *others]
    try:
        return cluster.get(queries)
    except RemoteError as error:
        if error.status != NOT_FOUND:
            raise
        message = f"{error.host} has no k3s: nothing was deployed to it yet"
        raise NvoiError(message, hint=f"{name_command('deploy')} installs it") from error


def build_stamp(moment: datetime) -> str:
    return f"{moment:{STAMP_FORMAT}}"


def choose_stamp(stamp: str, used: Iterable[str]) -> str:
    """``stamp``, or the second after the newest of ``used`` where that is not older.

    Two runs may have begun in the same second, and clocks of two machines differ. What is no
    stamp among ``used`` counts for nothing.
    """
    newest = max(filter(None, map(find_moment, used)), default=None)
    if newest is None or build_stamp(newest) < stamp:
        return stamp
    return build_stamp(newest + timedelta(seconds=1))
