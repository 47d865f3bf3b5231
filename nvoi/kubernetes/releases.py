"""Records of releases: the manifests of each one, kept in the cluster to go back to.

A record holds all workloads as they were applied. The app's own services are gone back to; what
they need, the database and the finished services, comes back only where a deploy has broken it.
Their Secrets are objects of their own, which stay as long as a record needs them.
"""

from __future__ import annotations

import gzip
import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nvoi.kubernetes.names import (
    COMPONENT,
    DEPLOY_ID,
    STAMP,
    build_labels,
    build_metadata,
    build_object,
)
from nvoi.kubernetes.ownership import (
    RECORD,
    Json,
    Manifest,
    Reference,
    get_label,
    is_owned,
    read_reference,
)
from nvoi.kubernetes.workloads import Release
from nvoi.log.levels import get_logger
from nvoi.naming import build_label, build_prefix, shorten

log = get_logger("nvoi.kubernetes")

TYPE = "nvoi.io/release"
KEY = "manifests"
BEFORE = "nvoi.io/release-before"
PROGRESS = "nvoi.io/release-progress"
BEGUN, SERVED = "begun", "served"


@dataclass(frozen=True)
class ReleaseRecord:
    """A release: one that can be gone back to, or one that has only begun.

    ``before`` is the stamp of the release that served when this one was deployed. There are no
    ``manifests`` where the record is damaged.
    """

    stamp: str
    deploy_id: str
    reference: Reference
    manifests: tuple[Manifest, ...]
    before: str | None = None
    is_begun: bool = False

    @property
    def apps(self) -> tuple[Manifest, ...]:
        """The app's own services."""
        return tuple(one for one in self.manifests if get_label(one, COMPONENT) == "app")

    @property
    def images(self) -> tuple[str, ...]:
        deployments: list[Any] = [one for one in self.apps if one["kind"] == "Deployment"]
        return tuple(
            dict.fromkeys(
                container["image"]
                for item in deployments
                for container in item["spec"]["template"]["spec"]["containers"]
            )
        )


def build_record(
    release: Release,
    manifests: Iterable[Manifest],
    *,
    before: str | None = None,
    is_begun: bool = False,
) -> Manifest:
    """The record of a release: ``manifests`` of its database, its services and the app's own.

    It is a Secret: commands and settings of an app are not for everyone. The same release
    gives the same bytes. ``before`` is the stamp of the release that serves while this one is
    deployed. Where a record is found that ``is_begun``, a run was cut off before it served.
    """
    app = release.application.name
    name = shorten(f"{build_label(build_prefix(app))}-release-{release.stamp}")
    labels = build_labels(app, RECORD, name, RECORD, release.stamp)
    text = json.dumps([*manifests], sort_keys=True).encode()
    marks = {BEFORE: before or "", PROGRESS: BEGUN if is_begun else SERVED}
    metadata = build_metadata(name, labels, release.deploy_id, annotations=marks)
    data = {KEY: b64encode(gzip.compress(text, mtime=0)).decode()}
    return build_object("Secret", metadata, type=TYPE, data=data)


def read_records(app: str, live: Iterable[Json]) -> list[ReleaseRecord]:
    """An app's releases, also those that have only begun, newest first."""
    found = [one for one in live if one.get("type") == TYPE and is_owned(one, app)]
    return sorted(map(read_record, found), key=lambda record: record.stamp, reverse=True)


def read_record(item: Json) -> ReleaseRecord:
    """A record; one whose manifests are damaged still says when its release was, and how far."""
    annotations = item["metadata"].get("annotations") or {}
    manifests: list[Any] = []
    try:
        manifests = json.loads(gzip.decompress(b64decode(item["data"][KEY])))
    except (LookupError, TypeError, ValueError, OSError, EOFError, zlib.error):
        log.warning(
            "%s cannot be read, and its release cannot be gone back to: delete it with kubectl",
            read_reference(item),
        )
    return ReleaseRecord(
        stamp=get_label(item, STAMP) or "",
        deploy_id=annotations.get(DEPLOY_ID, ""),
        reference=read_reference(item),
        manifests=tuple(manifests),
        before=annotations.get(BEFORE) or None,
        is_begun=annotations.get(PROGRESS) == BEGUN,
    )


def list_stamps(app: str, live: Iterable[Json]) -> set[str]:
    """The stamps of the Deployments that there are. Several where a run was cut off."""
    return {
        stamp
        for item in live
        if item["kind"] == "Deployment" and is_owned(item, app)
        if (stamp := item["metadata"]["labels"].get(STAMP))
    }


def find_running(stamps: Iterable[str], records: Iterable[ReleaseRecord]) -> str | None:
    """The stamp of the release that serves, None before the first.

    ``stamps`` are those of the Deployments that there are. Where the newest one was cut off, it is
    the one that served before.
    """
    known = {record.stamp: record for record in records}
    kept = [stamp for stamp, record in known.items() if not record.is_begun]
    stamp = max([*stamps] or kept, default=None)
    while stamp is not None and stamp in known and known[stamp].is_begun:
        stamp = known[stamp].before
    return stamp


def is_same(one: ReleaseRecord, other: ReleaseRecord) -> bool:
    """Whether two releases' own services run the same: only their names and deploys differ.

    How many old ReplicaSets are kept beside them counts for nothing.
    """
    specs = [{read_reference(item): read_run(item) for item in r.apps} for r in (one, other)]
    return specs[0] == specs[1]


def read_run(item: Manifest) -> dict[str, Any]:
    spec: Any = item.get("spec") or {}
    return {key: value for key, value in spec.items() if key != "revisionHistoryLimit"}


def find_previous(records: Iterable[ReleaseRecord], running: str) -> ReleaseRecord | None:
    """The release to go back to from ``running``: the one that served when it was deployed.

    Where that is not kept, not known, or runs the same, it is the newest of those that are older
    and do not.
    """
    kept = {record.stamp: record for record in records}
    present = kept.get(running)
    others = {s: r for s, r in kept.items() if present is None or not is_same(r, present)}
    known = present.before if present else None
    older = [stamp for stamp in others if stamp < running]
    return others.get(known or "") or others.get(max(older, default=""))


def find_expired(records: Iterable[ReleaseRecord], running: str, keep: int) -> list[ReleaseRecord]:
    """The records to remove: all but ``keep`` beside the one that runs.

    Those that one comes to by going back again and again are kept first. What runs the same as
    one of those that stay is not counted, and is removed.
    """
    kept = {record.stamp: record for record in records}
    ranked: dict[str, ReleaseRecord] = {}
    while (step := find_previous(kept.values(), next(reversed(ranked), running))) is not None:
        if step.stamp in {running, *ranked}:
            break
        ranked[step.stamp] = step
    stay = [*([kept[running]] if running in kept else []), *ranked.values()]
    rest = sorted(kept.keys() - ranked.keys() - {running}, reverse=True)
    rest.sort(key=lambda stamp: stamp > running)
    same: list[ReleaseRecord] = []
    for record in (kept[stamp] for stamp in rest):
        (same if any(is_same(record, one) for one in stay) else stay).append(record)
    counted = [record for record in stay if record.stamp != running]
    return [*counted[keep:], *same]
