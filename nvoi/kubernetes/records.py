"""Records of releases: the manifests of each one, kept in the cluster to go back to.

A record holds the app's own services as they were applied. Their Secrets are objects of their
own, which stay as long as a record needs them.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nvoi.kubernetes.labels import DEPLOY_ID, STAMP, build_labels, build_metadata
from nvoi.kubernetes.names import NAMESPACE
from nvoi.kubernetes.ownership import RECORD, Json, Reference, is_owned, read_reference
from nvoi.kubernetes.workload import Manifest, Release
from nvoi.naming import build_label, build_prefix, shorten

TYPE = "nvoi.io/release"
KEY = "manifests"


@dataclass(frozen=True)
class Record:
    """A release that can be gone back to."""

    stamp: str
    deploy_id: str
    reference: Reference
    manifests: tuple[Manifest, ...]

    @property
    def images(self) -> tuple[str, ...]:
        """The images that it runs, each once."""
        deployments: list[Any] = [one for one in self.manifests if one["kind"] == "Deployment"]
        return tuple(
            dict.fromkeys(
                container["image"]
                for item in deployments
                for container in item["spec"]["template"]["spec"]["containers"]
            )
        )


def build_record(release: Release, apps: Iterable[Manifest]) -> Manifest:
    """The record of a release; ``apps`` are the manifests of its stage of that name.

    It is a Secret: commands and settings of an app are not for everyone. The same release
    gives the same bytes.
    """
    app = release.application.name
    name = shorten(f"{build_label(build_prefix(app))}-release-{release.stamp}")
    labels = build_labels(app, RECORD, name, RECORD, release.stamp)
    text = json.dumps([*apps], sort_keys=True).encode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": build_metadata(name, labels, release.deploy_id) | {"namespace": NAMESPACE},
        "type": TYPE,
        "data": {KEY: b64encode(gzip.compress(text, mtime=0)).decode()},
    }


def list_records(app: str, live: Iterable[Json]) -> list[Record]:
    """The releases that an app can go back to, newest first."""
    found = [read_record(item) for item in live if item.get("type") == TYPE and is_owned(item, app)]
    return sorted(found, key=lambda record: record.stamp, reverse=True)


def read_record(item: Json) -> Record:
    """What a record holds."""
    metadata = item["metadata"]
    manifests: list[Any] = json.loads(gzip.decompress(b64decode(item["data"][KEY])))
    return Record(
        stamp=metadata["labels"][STAMP],
        deploy_id=metadata["annotations"][DEPLOY_ID],
        reference=read_reference(item),
        manifests=tuple(manifests),
    )


def find_running(app: str, live: Iterable[Json]) -> str | None:
    """The stamp of the release whose Deployments there are, None before the first.

    After a rollout that was cut off there may be two; the older one has served before.
    """
    stamps = [
        item["metadata"]["labels"].get(STAMP)
        for item in live
        if item["kind"] == "Deployment" and is_owned(item, app)
    ]
    return min(filter(None, stamps), default=None)


def find_expired(records: Iterable[Record], running: str, keep: int) -> list[Record]:
    """The records to remove: all but ``keep`` beside the one that runs.

    Those that are older than it are kept first: going back is what they are for.
    """
    others = [record for record in records if record.stamp != running]
    newest = sorted(others, key=lambda record: record.stamp, reverse=True)
    ranked = sorted(newest, key=lambda record: record.stamp > running)
    return ranked[keep:]
