"""The config as frozen dataclasses: what is left of a document once it is checked.

Every name, default and meaning is of docs/config.md. Mappings keep the order of the document.
Durations are seconds, sizes are gigabytes. A field is a key, and its type says how the key is
read: :mod:`nvoi.config.reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any

from nvoi.config import fields
from nvoi.secret import Secret, build_basic

EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class At:
    """Where a field's key is, as a path, if it is not called what the field is."""

    path: str


@dataclass(frozen=True)
class OneOf:
    """A section that holds one of several records, under the name of its kind."""

    kinds: Mapping[str, type[Any]]


#: The field that holds the name a user gave its section.
OWN_NAME = "own name"
OwnName = Annotated[str, OWN_NAME]


@dataclass(frozen=True)
class LocalProvider:
    """``compute_provider.local``: this machine."""


@dataclass(frozen=True)
class SSHProvider:
    """``compute_provider.ssh``: servers that the user already has.

    ``architecture`` is theirs; where it is left out the servers are asked.
    """

    architecture: fields.Architecture | None = None


@dataclass(frozen=True)
class HetznerProvider:
    api_token: fields.SecretText
    server_type: fields.Text
    server_location: fields.Text
    architecture: fields.Architecture


@dataclass(frozen=True)
class AWSProvider:
    access_key_id: fields.SecretText
    secret_access_key: fields.SecretText
    region: fields.Text
    instance_type: fields.Text
    architecture: fields.Architecture


@dataclass(frozen=True)
class ScalewayProvider:
    secret_key: fields.SecretText
    project_id: fields.Text
    server_type: fields.Text
    architecture: fields.Architecture
    zone: fields.Text = "fr-par-1"


ComputeProvider = LocalProvider | SSHProvider | HetznerProvider | AWSProvider | ScalewayProvider
#: The providers by their names in a config.
PROVIDERS: Mapping[str, type[ComputeProvider]] = {
    "local": LocalProvider,
    "ssh": SSHProvider,
    "hetzner": HetznerProvider,
    "aws": AWSProvider,
    "scaleway": ScalewayProvider,
}


@dataclass(frozen=True)
class Cloudflare:
    api_token: fields.SecretText
    account_id: fields.Text


@dataclass(frozen=True)
class Ingress:
    """``domain_provider.ingress``: k3s' own Traefik, with certificates by ACME.

    ``email`` is whom the authority may write to, ``directory_url`` where it is asked.
    """

    email: fields.Email
    directory_url: fields.URL = "https://acme-v02.api.letsencrypt.org/directory"


@dataclass(frozen=True)
class SSHKeys:
    """``ssh_keys``: an Ed25519 pair as OpenSSH text."""

    private_key: fields.PrivateKey
    public_key: fields.PublicKey


@dataclass(frozen=True)
class Login:
    """``registries.R``: what a registry of finished images is logged in to with."""

    username: fields.LoginName
    password: fields.SecretText

    @property
    def basic(self) -> Secret:
        return build_basic(self.username, self.password)


@dataclass(frozen=True)
class Volume:
    """``servers.G.volumes.V``; ``size`` in GB, ``uid`` of the one user who may open it."""

    name: OwnName
    size: fields.Positive = 10
    uid: fields.Positive | None = None


@dataclass(frozen=True)
class ServerGroup:
    """``servers.G``.

    ``hosts``, ``user``, ``port``, ``private_ip`` and ``host_keys`` are for ``ssh`` only; a key
    ``host`` stands for ``hosts`` of one.
    """

    name: OwnName
    master: fields.Boolean = False
    type: fields.Text | None = None
    location: fields.Text | None = None
    count: fields.Positive = 1
    volumes: Mapping[fields.GroupName, Volume] = field(default_factory=lambda: EMPTY)
    hosts: tuple[fields.Host, ...] = ()
    user: fields.User | None = None
    port: fields.Port | None = None
    private_ip: fields.Address | None = None
    host_keys: tuple[fields.HostKey, ...] = ()


@dataclass(frozen=True)
class Resources:
    """``resources`` of a service: what it is promised and what it may use, as Kubernetes writes it.

    None stands for the default.
    """

    requested_memory: Annotated[fields.Memory | None, At("requests.memory")] = None
    requested_cpu: Annotated[fields.CPUTime | None, At("requests.cpu")] = None
    memory_limit: Annotated[fields.Memory | None, At("limits.memory")] = None
    cpu_limit: Annotated[fields.CPUTime | None, At("limits.cpu")] = None
    disk_limit: Annotated[fields.Memory | None, At("limits.ephemeral_storage")] = None


@dataclass(frozen=True)
class Security:
    """``security`` of a service: what its processes may do beside what they may anyway."""

    capabilities: tuple[fields.Capability, ...] = ()
    privilege_escalation: fields.Boolean = False


@dataclass(frozen=True)
class K3s:
    """``k3s``: the cluster's software and where it comes from.

    Attributes:
        version: a k3s release, ``v1.33.4+k3s1``; None for the one nvoi is tested with.
        install_url: the installer.
        system_default_registry: where k3s pulls the images of its own parts from.
        registry_image: the image of the registry that holds the app's images.
        mirrors: endpoints by the registry that they stand for.
        secrets_encryption: whether a new cluster encrypts the Secrets in its datastore.
        datastore_copies: how many daily copies of the datastore are kept.
        container_log_size: at this size a container's log goes on in another file.
        container_log_files: how many of these files are kept.
    """

    version: fields.K3sVersion | None = None
    install_url: fields.URL = "https://get.k3s.io"
    system_default_registry: fields.Registry | None = None
    registry_image: fields.Image | None = None
    mirrors: Mapping[fields.MirroredName, tuple[fields.URL, ...]] = field(
        default_factory=lambda: EMPTY
    )
    secrets_encryption: fields.Boolean = True
    datastore_copies: fields.Positive = 7
    container_log_size: fields.Memory = "10Mi"
    container_log_files: fields.Several = 3


@dataclass(frozen=True)
class Healthcheck:
    """``app.N.healthcheck``; ``interval``, ``timeout`` and ``restart_after`` in seconds.

    ``restart_after`` is how long it may fail until the service is started again.
    """

    type: fields.CheckType = "http"
    path: fields.HTTPPath = "/health"
    port: fields.Port | None = None
    command: fields.ShellText | None = None
    interval: fields.Duration = 10.0
    timeout: fields.Duration = 5.0
    retries: fields.Positive = 3
    restart_after: fields.Duration | None = None


@dataclass(frozen=True)
class AppService:
    """``app.N``.

    ``mounts`` maps a volume's name to the path the service sees it at, ``image`` is a finished
    one to run instead of the app's own, ``pre_run_timeout`` and ``min_ready`` are in seconds.
    """

    name: OwnName
    servers: tuple[fields.Text, ...] = ()
    command: fields.ShellText | None = None
    port: fields.Port | None = None
    domain: fields.Domain | None = None
    subdomain: fields.Subdomain | None = None
    healthcheck: Healthcheck | None = None
    pre_run_command: fields.ShellText | None = None
    env: Mapping[fields.EnvName, fields.EnvText] = field(default_factory=lambda: EMPTY)
    mounts: Mapping[str, fields.Text] = field(default_factory=lambda: EMPTY)
    replicas: fields.Positive | None = None
    image: fields.Image | None = None
    pre_run_timeout: fields.Duration = 600.0
    min_ready: fields.ReadyTime = 10.0
    resources: Resources = field(default_factory=Resources)
    security: Security = field(default_factory=Security)


@dataclass(frozen=True)
class Database:
    """``database``; ``adapter`` as written, ``engine`` what it stands for."""

    servers: tuple[fields.Text, ...] = ()
    adapter: fields.Adapter | None = None
    url: fields.SecretText | None = None
    image: fields.Text | None = None
    mount: Mapping[str, fields.Text] = field(default_factory=lambda: EMPTY)
    secrets: Mapping[fields.EnvName, fields.EnvSecret] = field(default_factory=lambda: EMPTY)
    resources: Resources = field(default_factory=Resources)
    security: Security = field(default_factory=Security)

    @property
    def engine(self) -> str | None:
        """``postgres``, ``mysql``, ``sqlite3``, or None without an adapter."""
        return "postgres" if self.adapter == "postgresql" else self.adapter


@dataclass(frozen=True)
class AuxiliaryService:
    """``services.N``: a finished image beside the app, such as Redis."""

    name: OwnName
    image: fields.Text
    servers: tuple[fields.Text, ...] = ()
    port: fields.Port | None = None
    command: fields.ShellText | None = None
    env: Mapping[fields.EnvName, fields.EnvText] = field(default_factory=lambda: EMPTY)
    mount: Mapping[str, fields.Text] = field(default_factory=lambda: EMPTY)
    resources: Resources = field(default_factory=Resources)
    security: Security = field(default_factory=Security)


@dataclass(frozen=True)
class Application:
    name: fields.ApplicationName
    compute_provider: Annotated[ComputeProvider, OneOf(PROVIDERS)]
    environment: fields.Text = "production"
    keep_count: fields.KeepCount = fields.DEFAULT_KEEP_COUNT
    cloudflare: Annotated[Cloudflare | None, At("domain_provider.cloudflare")] = None
    ingress: Annotated[Ingress | None, At("domain_provider.ingress")] = None
    ssh_keys: SSHKeys | None = None
    registries: Mapping[fields.RegistryName, Login] = field(default_factory=lambda: EMPTY)
    servers: Mapping[fields.GroupName, ServerGroup] = field(default_factory=lambda: EMPTY)
    app: Mapping[fields.ServiceName, AppService] = field(default_factory=lambda: EMPTY)
    database: Database | None = None
    services: Mapping[fields.ServiceName, AuxiliaryService] = field(default_factory=lambda: EMPTY)
    env: Mapping[fields.EnvName, fields.EnvText] = field(default_factory=lambda: EMPTY)
    secrets: Mapping[fields.EnvName, fields.EnvSecret] = field(default_factory=lambda: EMPTY)
    k3s: K3s = field(default_factory=K3s)
    let_in: tuple[fields.Peer, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether the app runs on this machine."""
        return isinstance(self.compute_provider, LocalProvider)

    @property
    def uses_ingress(self) -> bool:
        """Whether the public reaches a service through the cluster's own ingress."""
        return self.ingress is not None and any(one.domain for one in self.app.values())


@dataclass(frozen=True)
class Config:
    application: Application
    callback_url: fields.CallbackURL | None = None

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
