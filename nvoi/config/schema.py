"""The config as frozen dataclasses: what is left of a document once it is checked.

Every name, default and meaning is of docs/config.md. Mappings keep the order of
the document. Durations are seconds, sizes are gigabytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from nvoi.secret import Secret

EMPTY: Mapping[str, str] = MappingProxyType({})
NO_SECRETS: Mapping[str, Secret] = MappingProxyType({})


@dataclass(frozen=True)
class LocalProvider:
    """``compute_provider.local``: this machine."""


@dataclass(frozen=True)
class SSHProvider:
    """``compute_provider.ssh``: servers that the user already has.

    ``architecture`` is theirs; where it is left out the servers are asked.
    """

    architecture: str | None = None


@dataclass(frozen=True)
class HetznerProvider:
    """``compute_provider.hetzner``."""

    api_token: Secret
    server_type: str
    server_location: str
    architecture: str


@dataclass(frozen=True)
class AWSProvider:
    """``compute_provider.aws``."""

    access_key_id: Secret
    secret_access_key: Secret
    region: str
    instance_type: str
    architecture: str


@dataclass(frozen=True)
class ScalewayProvider:
    """``compute_provider.scaleway``."""

    secret_key: Secret
    project_id: str
    server_type: str
    architecture: str
    zone: str = "fr-par-1"


ComputeProvider = LocalProvider | SSHProvider | HetznerProvider | AWSProvider | ScalewayProvider


@dataclass(frozen=True)
class Cloudflare:
    """``domain_provider.cloudflare``."""

    api_token: Secret
    account_id: str


@dataclass(frozen=True)
class SSHKeys:
    """``ssh_keys``: an Ed25519 pair as OpenSSH text."""

    private_key: Secret
    public_key: str


@dataclass(frozen=True)
class Volume:
    """``servers.G.volumes.V``; ``size`` in GB."""

    name: str
    size: int = 10


@dataclass(frozen=True)
class ServerGroup:
    """``servers.G``.

    ``hosts``, ``user``, ``port``, ``private_ip`` and ``host_keys`` are for ``ssh`` only.
    """

    name: str
    master: bool = False
    type: str | None = None
    location: str | None = None
    count: int = 1
    volumes: Mapping[str, Volume] = field(default_factory=lambda: MappingProxyType({}))
    hosts: tuple[str, ...] = ()
    user: str | None = None
    port: int | None = None
    private_ip: str | None = None
    host_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resources:
    """``resources`` of a service: what it is promised and what it may use, as Kubernetes writes it.

    None stands for the default.
    """

    requested_memory: str | None = None
    requested_cpu: str | None = None
    memory_limit: str | None = None
    cpu_limit: str | None = None


@dataclass(frozen=True)
class K3s:
    """``k3s``: the cluster's software and where it comes from.

    Attributes:
        version: a k3s release, ``v1.33.4+k3s1``; None for the one nvoi is tested with.
        install_url: the installer.
        system_default_registry: where k3s pulls the images of its own parts from.
        registry_image: the image of the registry that holds the app's images.
        mirrors: endpoints by the registry that they stand for.
    """

    version: str | None = None
    install_url: str = "https://get.k3s.io"
    system_default_registry: str | None = None
    registry_image: str | None = None
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Healthcheck:
    """``app.N.healthcheck``; ``interval`` and ``timeout`` in seconds."""

    type: str = "http"
    path: str = "/health"
    port: int | None = None
    command: str | None = None
    interval: float = 10.0
    timeout: float = 5.0
    retries: int = 3


@dataclass(frozen=True)
class AppService:
    """``app.N``.

    ``mounts`` maps a volume's name to the path the service sees it at, ``image`` is a finished
    one to run instead of the app's own, ``pre_run_timeout`` is in seconds.
    """

    name: str
    servers: tuple[str, ...] = ()
    command: str | None = None
    port: int | None = None
    domain: str | None = None
    subdomain: str | None = None
    healthcheck: Healthcheck | None = None
    pre_run_command: str | None = None
    env: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    mounts: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    replicas: int | None = None
    image: str | None = None
    pre_run_timeout: float = 600.0
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True)
class Database:
    """``database``; ``adapter`` as written, ``engine`` what it stands for."""

    servers: tuple[str, ...] = ()
    adapter: str | None = None
    url: Secret | None = None
    image: str | None = None
    mount: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    secrets: Mapping[str, Secret] = field(default_factory=lambda: NO_SECRETS)
    resources: Resources = field(default_factory=Resources)

    @property
    def engine(self) -> str | None:
        """``postgres``, ``mysql``, ``sqlite3``, or None without an adapter."""
        return "postgres" if self.adapter == "postgresql" else self.adapter


@dataclass(frozen=True)
class AuxiliaryService:
    """``services.N``: a finished image beside the app, such as Redis."""

    name: str
    image: str
    servers: tuple[str, ...] = ()
    port: int | None = None
    command: str | None = None
    env: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    mount: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True)
class Application:
    """Everything under ``application:``."""

    name: str
    compute_provider: ComputeProvider
    environment: str = "production"
    keep_count: int = 2
    env: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    secrets: Mapping[str, Secret] = field(default_factory=lambda: NO_SECRETS)
    ssh_keys: SSHKeys | None = None
    cloudflare: Cloudflare | None = None
    servers: Mapping[str, ServerGroup] = field(default_factory=lambda: MappingProxyType({}))
    app: Mapping[str, AppService] = field(default_factory=lambda: MappingProxyType({}))
    database: Database | None = None
    services: Mapping[str, AuxiliaryService] = field(default_factory=lambda: MappingProxyType({}))
    k3s: K3s = field(default_factory=K3s)


@dataclass(frozen=True)
class Config:
    """A whole deploy config: ``callback_url`` and ``application``."""

    application: Application
    callback_url: str | None = None

    def for_branch(self, branch: str) -> Config:
        """The config of ``--branch``: the app's name and every subdomain carry it.

        ``branch`` is ``[a-z0-9-]+``; the caller has checked it.
        """
        services = {
            name: replace(service, subdomain=branch_subdomain(branch, service.subdomain))
            for name, service in self.application.app.items()
        }
        application = replace(
            self.application,
            name=f"{self.application.name}-{branch}",
            app=MappingProxyType(services),
        )
        return replace(self, application=application)


def branch_subdomain(branch: str, subdomain: str | None) -> str:
    """``B-<subdomain>``, or ``B`` where there was none (blank or ``@``)."""
    return branch if subdomain in (None, "", "@") else f"{branch}-{subdomain}"
