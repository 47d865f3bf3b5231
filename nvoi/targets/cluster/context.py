"""What the steps of one run share, and how a run on a cluster begins and ends."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from nvoi.config.schema import Application
from nvoi.domains import Domains, get_domains
from nvoi.errors import NvoiError
from nvoi.images.build import Build
from nvoi.images.engines import Engine
from nvoi.images.push import open_registry
from nvoi.images.registries import Registry
from nvoi.invocation import name_command
from nvoi.k3s.facts import Facts
from nvoi.k3s.nodes import ClusterNode
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.manifests import Manifests, build_manifests
from nvoi.kubernetes.names import build_app_selector
from nvoi.kubernetes.ownership import Json, Manifest, Reference
from nvoi.kubernetes.registry import Credentials
from nvoi.kubernetes.workloads import DATABASE_RESOURCES, Release
from nvoi.naming import build_image_tag, build_prefix
from nvoi.operation import Request
from nvoi.outcome import Serving
from nvoi.protocol import Tunnel
from nvoi.providers import Provider, Server, get_provider
from nvoi.ssh.connections import Connections, build_connections
from nvoi.targets.cluster.lock import Lock
from nvoi.targets.cluster.lock_file import Holder
from nvoi.targets.cluster.state import State, build_stamp


@dataclass
class Survey:
    """The servers, the master first, and by their names what they are like and their nodes' names.

    It ``is_complete`` once they were found to be all that a deploy needs. ``away`` are the names
    of nodes that a deploy goes on without, ``leaving`` the nodes whose servers have left the
    config, ``surplus`` such servers that were rented, ``all_nodes`` those of the cluster once k3s
    is as it should, ``regrouped`` the groups that nodes had before, by their names. ``registry`` is
    the address and port of the cluster's registry, as the master sees them, and ``credentials``
    what it is logged in to with.
    """

    servers: tuple[Server, ...] = ()
    facts: dict[str, Facts] = field(default_factory=dict)
    is_complete: bool = False
    nodes: dict[str, str] = field(default_factory=dict)
    away: tuple[str, ...] = ()
    leaving: tuple[ClusterNode, ...] = ()
    surplus: tuple[Server, ...] = ()
    all_nodes: tuple[ClusterNode, ...] = ()
    regrouped: dict[str, str] = field(default_factory=dict)
    registry: tuple[str, int] | None = None
    credentials: Credentials | None = None

    @property
    def is_reached(self) -> bool:
        """Whether there is a master, and it has told what it is like."""
        return any(one.is_master and one.name in self.facts for one in self.servers)

    @property
    def has_cluster(self) -> bool:
        return self.is_reached and self.facts[self.servers[0].name].k3s.role is not None

    def list_reached(self) -> list[Server]:
        return [server for server in self.servers if server.name in self.facts]


@dataclass
class Image:
    """The app's own image, built for ``platform``, such as ``linux/amd64``.

    ``tags`` are the stamps of the app's images in the registry, as they were before the push;
    ``reference`` is the image as the nodes pull it, empty until that is known, and ``user`` whom
    it names to run as.
    """

    platform: Future[str] = field(default_factory=Future)
    engine: Engine | None = None
    build: Build | None = None
    tags: tuple[str, ...] = ()
    reference: str = ""
    user: str = ""


@dataclass
class Rollout:
    """What this run puts into the cluster.

    ``stamp`` is the new release's name: the moment the run began, or later than all stamps there.
    ``applied`` may have to be taken back, unless all ``is_restored``; what of it has come up is
    ``ready``. Once the release ``is_kept`` it serves, and nothing is taken back any more.
    ``apps`` are the manifests of the app's own services in the release, and ``services`` the
    Services in front of it, as they are in the cluster. ``routes`` lead visitors to it. Workloads
    that stay as they are are ``watched`` once it is known which of their pods are well. A database
    for which the config says no processor time has ``database_cpu``.
    """

    stamp: str
    applied: list[Manifest] = field(default_factory=list)
    is_restored: bool = False
    is_kept: bool = False
    ready: set[Reference] = field(default_factory=set)
    apps: tuple[Manifest, ...] = ()
    services: list[Json] = field(default_factory=list)
    routes: tuple[Manifest, ...] = ()
    watched: set[Reference] = field(default_factory=set)
    database_cpu: str = DATABASE_RESOURCES.cpu_limit


@dataclass
class Deletion:
    """What a deletion has begun and could not do, and whether the cluster does not answer.

    Of rented servers it ``is_known`` which there are. What leads visitors to the app goes once
    these are gone, where it ``is_served`` until then. ``remark`` is its last line, once it is done.
    """

    is_known: bool = True
    has_begun: bool = False
    is_served: bool = False
    failures: list[str] = field(default_factory=list)
    is_unreachable: bool = False
    remark: str = ""


@dataclass
class ClusterContext:
    """One run on a cluster.

    ``stack`` gives back what has to be when the run ends in any way. The run began at ``moment``,
    in UTC. ``state`` is what the app had in the cluster when the run looked first. ``tunnels``
    and ``urls`` tell how the app can be reached, once the run is done.
    """

    request: Request
    provider: Provider
    connections: Connections
    stack: ExitStack
    moment: datetime
    rollout: Rollout
    domains: Domains = field(default_factory=Domains)
    survey: Survey = field(default_factory=Survey)
    state: State = field(default_factory=State)
    image: Image = field(default_factory=Image)
    deletion: Deletion = field(default_factory=Deletion)
    lock: Lock | None = None
    tunnels: list[Tunnel] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    @property
    def application(self) -> Application:
        return self.request.config.application

    @property
    def repository(self) -> str:
        return build_prefix(self.application.name)

    @property
    def tag(self) -> str:
        return build_image_tag(self.application.name, self.moment)

    @property
    def needs_image(self) -> bool:
        return any(service.image is None for service in self.application.app.values())

    @property
    def master(self) -> Server:
        """The server that runs the cluster.

        Raises:
            NvoiError: there is none.
        """
        servers = self.survey.servers
        if not servers or not servers[0].is_master:
            what = "master" if servers else "servers"
            raise NvoiError(
                f"{self.application.name} has no {what} yet",
                hint=f"{name_command('deploy')} makes what it lacks",
            )
        return servers[0]

    @cached_property
    def cluster(self) -> Cluster:
        cluster = Cluster(self.connections, self.master.host, self.check_lock)
        return self.stack.enter_context(cluster)

    @property
    def release(self) -> Release:
        image, rollout = self.image, self.rollout
        return Release(
            self.application,
            rollout.stamp,
            self.request.deploy_id,
            image.reference,
            image.user,
            rollout.database_cpu,
        )

    @property
    def stamp(self) -> str:
        return self.rollout.stamp if self.rollout.apps else ""

    @property
    def remark(self) -> str:
        return self.deletion.remark

    def find_serving(self) -> Serving | None:
        """The release that served when the run looked first, where all is as it was then."""
        is_mixed = bool(self.rollout.applied) and not self.rollout.is_restored
        is_lost = self.lock is not None and self.lock.is_lost
        if (
            self.state.has_adopted
            or not self.state.app
            or is_mixed
            or is_lost
            or self.deletion.has_begun
        ):
            return None
        return Serving(self.rollout.stamp if self.rollout.is_kept else self.state.running or "")

    def find_log(self) -> str:
        """The command that prints what all pods of the app have printed last."""
        if not self.state.app or self.deletion.has_begun:
            return ""
        host, selector = self.master.host, build_app_selector(self.application.name)
        way = f"ssh -p {host.port} {host.user}@{host.address}"
        rights = "" if host.user == "root" else "sudo "
        return f"{way} {rights}k3s kubectl logs -l {selector} --prefix --tail 100"

    @property
    def manifests(self) -> Manifests:
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

    def list_servers(self) -> None:
        """Find the servers that there are; none is reached."""
        self.survey.servers = self.provider.list_servers()

    def open_registry(self) -> AbstractContextManager[Registry]:
        """The way to the cluster's registry, to which one run at a time may push.

        Raises:
            LockError: the run's lock is lost.
            NvoiError: there is none.
        """
        self.check_lock()
        if self.survey.registry is None:
            raise NvoiError("the cluster has no registry")
        address, port = self.survey.registry
        host, credentials = self.master.host, self.survey.credentials
        return open_registry(self.connections, host, address, port, credentials=credentials)

    def check_lock(self) -> None:
        """Return while this run may change the cluster.

        Raises:
            LockError: its lock is lost.
        """
        if self.lock is not None:
            self.lock.check()


def preview(request: Request) -> ClusterContext:
    """The context of a run that only says what it would do: it reaches and touches nothing."""
    moment = datetime.now(UTC)
    application = request.config.application
    provider = get_provider(application, request.environ)
    return ClusterContext(
        request=request,
        provider=provider,
        connections=build_connections(
            application.ssh_keys, request.home, request.environ, provider.routes
        ),
        stack=ExitStack(),
        moment=moment,
        rollout=Rollout(build_stamp(moment)),
        domains=get_domains(application, request.environ),
    )


@contextmanager
def open_context(request: Request) -> Iterator[ClusterContext]:
    """The context of a run. Connections, a build and the lock end with it."""
    context = preview(request)
    with context.stack:
        context.stack.callback(context.connections.close)
        yield context
