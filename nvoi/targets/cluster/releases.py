"""Which releases an app has, and which it no longer needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nvoi.kubernetes.registry import ADDRESS
from nvoi.kubernetes.releases import Record, find_running, list_records
from nvoi.targets.cluster.context import open_context
from nvoi.targets.cluster.state import get_objects
from nvoi.targets.step import KeptRelease, Request


def list_releases(request: Request) -> list[KeptRelease]:
    """The releases of the app, the newest first. Changes nothing, and needs no lock.

    Raises:
        NvoiError: the cluster cannot be asked.
    """
    app = request.config.application.name
    with open_context(request) as context:
        context.servers = context.provider.list_servers(request.config.application)
        live = get_objects(context, ["deployments"])
    running = find_running(app, live)
    return [
        KeptRelease(
            stamp=record.stamp,
            deploy_id=record.deploy_id,
            images=record.images,
            is_running=record.stamp == running,
        )
        for record in list_records(app, live)
    ]


def list_tags(records: Iterable[Record], repository: str) -> set[str]:
    """The tags of the app's own images that releases run."""
    return {tag for tag, _ in find_images(records, repository)}


def list_digests(records: Iterable[Record], repository: str) -> set[str]:
    """The digests of the app's own images that releases run, where they name one."""
    return {digest for _, digest in find_images(records, repository) if digest}


def find_images(records: Iterable[Record], repository: str) -> Iterator[tuple[str, str]]:
    """The tag and the digest of each of the app's own images."""
    prefix = f"{ADDRESS}/{repository}:"
    for record in records:
        for image in record.images:
            if image.startswith(prefix):
                tag, _, digest = image.removeprefix(prefix).partition("@")
                yield tag, digest
