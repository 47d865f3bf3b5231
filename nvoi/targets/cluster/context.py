"""What the steps of one run share, and how a run on a cluster begins and ends."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from nvoi.config.schema import Application
from nvoi.errors import NvoiError
from nvoi.images.build import Build
from nvoi.images.engines import Engine
from nvoi.k3s.facts import Facts
from nvoi.kubernetes.application import Manifests, build_manifests
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.records import Record
from nvoi.kubernetes.workload import Manifest, Release
from nvoi.naming import build_image_tag, build_prefix
from nvoi.protocol import Tunnel
from nvoi.providers import Provider, Server, get_provider
from nvoi.ssh.connections import Connections, build_connections
from nvoi.targets.cluster.holder import Holder
from nvoi.targets.cluster.lock import Lock
from nvoi.targets.cluster.stamps import build_stamp
from nvoi.targets.step import Request

Json = Mapping[str, Any]


@dataclass
class ClusterContext:
    """One run on a cluster.

    Attributes:
        request: what the user asked for.
        provider: who has the servers.
        connections: the way to them.
        stack: what has to be given back when the run ends in any way.
        moment: when the run began, in UTC; the image has its tag from it.
        stamp: the new release's name, ``YYYYMMDDHHMMSS``: that moment, or later than all that
            the cluster knows of.
        servers: the servers, the master first; empty until they have been found.
        facts: what they are like, by their names.
        surveyed: whether they were found to be all that a deploy needs.
        nodes: the names of their nodes by their own, once they are in the cluster.
        platform: what the image is built for, such as ``linux/amd64``, once that is known.
        lock: the lock on the master, once it is taken.
        engine: what builds images here, once that is known.
        build: the image's build, once it was begun.
        registry: address and port of the cluster's registry, as the master sees them.
        tags: the stamps of the app's images in it, as they were before the push.
        image: the image of the release, as the nodes pull it; empty until that is known.
        live: what the app had in the cluster when the run looked first; of its Secrets but
            records the names and labels alone.
        records: the releases that were kept then, newest first.
        begun: the releases that were cut off before they served, newest first.
        running: the stamp of the release that served then.
        applied: what this run has applied and may have to take back.
        serving: the manifests of the app's own services in the release.
        services: the Services in front of the release, as they are in the cluster.
        failures: what a deletion could not do.
        is_away: whether it found that the cluster does not answer.
        tunnels: the services that can be reached, once the run is done.
        urls: where a person can open them.
    """

    request: Request
    provider: Provider
    connections: Connections
    stack: ExitStack
    moment: datetime
    stamp: str
    servers: tuple[Server, ...] = ()
    facts: dict[str, Facts] = field(default_factory=dict)
    surveyed: bool = False
    nodes: dict[str, str] = field(default_factory=dict)
    platform: Future[str] = field(default_factory=Future)
    lock: Lock | None = None
    engine: Engine | None = None
    build: Build | None = None
    registry: tuple[str, int] | None = None
    tags: tuple[str, ...] = ()
    image: str = ""
    live: tuple[Json, ...] = ()
    records: tuple[Record, ...] = ()
    begun: tuple[Record, ...] = ()
    running: str | None = None
    applied: list[Manifest] = field(default_factory=list)
    serving: tuple[Manifest, ...] = ()
    services: list[Json] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    is_away: bool = False
    tunnels: list[Tunnel] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    @property
    def application(self) -> Application:
        """The app's config."""
        return self.request.config.application

    @property
    def repository(self) -> str:
        """The repository of the app's images."""
        return build_prefix(self.application.name)

    @property
    def tag(self) -> str:
        """The image that a build makes."""
        return build_image_tag(self.application.name, self.moment)

    @property
    def needs_image(self) -> bool:
        """Whether a service runs the app's own image."""
        return any(service.image is None for service in self.application.app.values())

    @property
    def master(self) -> Server:
        """The server that runs the cluster.

        Raises:
            NvoiError: there is none.
        """
        if not self.servers:
            raise NvoiError(
                f"{self.application.name} has no servers yet", hint="`nvoi deploy` makes them"
            )
        return self.servers[0]

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster, by way of its master."""
        cluster = Cluster(self.connections, self.master.host, self.check_lock)
        return self.stack.enter_context(cluster)

    @property
    def release(self) -> Release:
        """The new release."""
        return Release(self.application, self.stamp, self.request.deploy_id, self.image)

    @property
    def manifests(self) -> Manifests:
        """All that the new release has in the cluster."""
        return build_manifests(self.release)

    @property
    def holder(self) -> Holder:
        """What others are told of this run while it holds the lock."""
        return Holder(
            user=self.request.user,
            machine=socket.gethostname(),
            since=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            deploy_id=self.request.deploy_id,
            app=self.application.name,
        )

    def check_lock(self) -> None:
        """Return while this run may change the cluster.

        Raises:
            LockError: its lock is lost.
        """
        if self.lock is not None:
            self.lock.check()


def preview(request: Request) -> ClusterContext:
    """The context of a run that only says what it would do: it reaches and touches nothing."""
    provider = get_provider(request.config.application)
    moment = datetime.now(UTC)
    return ClusterContext(
        request=request,
        provider=provider,
        connections=connect(request),
        stack=ExitStack(),
        moment=moment,
        stamp=build_stamp(moment),
    )


@contextmanager
def open_context(request: Request) -> Iterator[ClusterContext]:
    """The context of a run. Connections, a build and the lock end with it."""
    with ExitStack() as stack:
        context = preview(request)
        context.stack = stack
        stack.callback(context.connections.close)
        yield context


def connect(request: Request) -> Connections:
    """The way to the servers; nothing is opened yet."""
    return build_connections(request.config.application.ssh_keys, request.home, request.environ)
