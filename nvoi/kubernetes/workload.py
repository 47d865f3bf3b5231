"""What one workload needs to know of itself, whatever part of the config it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from nvoi.config import schema
from nvoi.config.schema import Application
from nvoi.kubernetes.labels import build_labels
from nvoi.kubernetes.names import build_checksum, build_secret_name

Manifest = dict[str, object]


@dataclass(frozen=True)
class Resources:
    """What a container is promised, and what it may use at most, as Kubernetes writes it."""

    requested_memory: str = "128Mi"
    requested_cpu: str = "100m"
    memory_limit: str = "512Mi"
    cpu_limit: str = "500m"

    def change(self, given: schema.Resources) -> Resources:
        """These, with what the config gives in their place."""
        values = {key: value for key, value in asdict(given).items() if value is not None}
        return replace(self, **values)


DEFAULT_RESOURCES = Resources()
# MySQL 8.4 alone takes about 500 MB with its defaults (MySQL Reference Manual, "How MySQL Uses
# Memory"): the limit of an app's service would end it.
DATABASE_RESOURCES = Resources("256Mi", "100m", "1Gi", "1000m")


@dataclass(frozen=True)
class Release:
    """One release of an app, as it goes to the cluster.

    Args:
        application: the app's config.
        stamp: ``YYYYMMDDHHMMSS``.
        deploy_id: the run's deploy id.
        image: the full reference of the app's own image.
    """

    application: Application
    stamp: str
    deploy_id: str
    image: str


@dataclass(frozen=True)
class Mount:
    """A volume of the server, and where the container sees it.

    ``folder`` is the server's: it has to be there before the pod is.
    """

    volume: str
    folder: str
    path: str


@dataclass(frozen=True)
class Probes:
    """A container's probes as Kubernetes takes them, None for each that is not made."""

    startup: Manifest | None = None
    readiness: Manifest | None = None
    liveness: Manifest | None = None


@dataclass(frozen=True)
class Workload:
    """Something that runs: an app's service, an auxiliary one, or the database.

    ``environment`` has its secrets revealed. ``groups`` are the server groups that it may run
    on. ``stamp`` is None where it does not follow the app's releases. ``claim`` is the path at
    which it sees a disk that the cluster finds for it. ``drain_seconds`` go by
    between the end of new connections and SIGTERM, ``stop_seconds`` between that and SIGKILL.
    """

    app: str
    service: str
    name: str
    component: str
    deploy_id: str
    image: str
    environment: Mapping[str, str] = field(repr=False)
    resources: Resources
    groups: tuple[str, ...] = ()
    stamp: str | None = None
    command: str | None = field(default=None, repr=False)
    arguments: tuple[str, ...] = ()
    port: int | None = None
    mounts: tuple[Mount, ...] = ()
    claim: str | None = None
    probes: Probes = field(default_factory=Probes, repr=False)
    replicas: int = 1
    history: int = 2
    drain_seconds: int = 0
    stop_seconds: int = 30

    @property
    def checksum(self) -> str:
        """64 hex that change with the environment."""
        return build_checksum(self.environment)

    @property
    def secret_name(self) -> str:
        """The Secret that holds the environment."""
        return build_secret_name(self.name, self.checksum)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its objects."""
        return build_labels(self.app, self.service, self.name, self.component, self.stamp)

    @property
    def pod_labels(self) -> dict[str, str]:
        """The labels of its pods: not those of a release, or each would start all pods anew."""
        return build_labels(self.app, self.service, self.name, self.component)
