"""Workloads: what the config says of each thing that runs, put together for its manifests.

What databases need is of their pages on Docker Hub, postgres and mysql.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from nvoi.config import schema
from nvoi.config.environment import DEFAULT_PORTS, build_environment
from nvoi.config.registry_logins import find_login
from nvoi.config.schema import Application, AppService, AuxiliaryService, Database, Healthcheck
from nvoi.kubernetes.names import build_checksum, build_labels, build_login_name, build_secret_name
from nvoi.naming import build_database_name, build_volume_path, build_workload_name

WEB_REPLICAS = 2
#: At which the Service of whatever has a domain can always be asked, whatever its own port is: who
#: leads visitors there need not change with a release.
PUBLIC_PORT, PUBLIC_NAME = 80, "public"
# It takes a moment until every node knows that a pod is about to go; until then requests come.
DRAIN_SECONDS = 5
# Under a CPU limit even a small framework takes longer to start than the 30 s of the defaults.
STARTUP_SECONDS = 60
AUXILIARY_STARTUP_SECONDS = 300
# A database is given time to write all it has in memory before SIGKILL.
DATABASE_STOP_SECONDS = 120
#: The PriorityClass of all databases of a cluster.
PRIORITY = "nvoi-database"
# While an image sets a new database up it listens on a local socket only; over TCP there is no
# answer before it is done.
ASK_POSTGRES = 'pg_isready -q -h 127.0.0.1 -U "$POSTGRES_USER" -d "$POSTGRES_DB"'
# MariaDB's images have the program under a name of its own.
ASK_MYSQL = (
    "ask=$(command -v mysqladmin || command -v mariadb-admin) && "
    'MYSQL_PWD="${MYSQL_PASSWORD:-$MYSQL_ROOT_PASSWORD}" '
    '"$ask" ping --silent -h 127.0.0.1 -u "${MYSQL_USER:-root}"'
)


@dataclass(frozen=True)
class Resources:
    """What a container is promised, and what it may use at most, as Kubernetes writes it.

    ``disk_limit`` is for its log and what it writes beside its volumes; None is no limit.
    """

    requested_memory: str = "128Mi"
    requested_cpu: str = "100m"
    memory_limit: str = "512Mi"
    cpu_limit: str = "500m"
    disk_limit: str | None = "5Gi"

    def change(self, given: schema.Resources) -> Resources:
        values = {key: value for key, value in asdict(given).items() if value is not None}
        return replace(self, **values)


DEFAULT_RESOURCES = Resources()
# MySQL 8.4 alone takes about 500 MB with its defaults (MySQL Reference Manual, "How MySQL Uses
# Memory"): the limit of an app's service would end it. A limit of disk would end its pod.
DATABASE_RESOURCES = Resources(memory_limit="1Gi", cpu_limit="1000m", disk_limit=None)


@dataclass(frozen=True)
class DatabaseEngine:
    """A kind of database: its usual image, the folder of its data, and how it is asked."""

    image: str
    folder: str
    question: str


ENGINES = {
    "postgres": DatabaseEngine("postgres:17", "/var/lib/postgresql/data", ASK_POSTGRES),
    "mysql": DatabaseEngine("mysql:8.4", "/var/lib/mysql", ASK_MYSQL),
}


@dataclass(frozen=True)
class Release:
    """One release of an app.

    ``stamp`` is ``YYYYMMDDHHMMSS``, ``image`` the app's own, in full, and ``user`` whom that names
    to run as, empty for root. ``database_cpu`` is the processor time of a database for which the
    config says none.
    """

    application: Application
    stamp: str
    deploy_id: str
    image: str
    user: str = ""
    database_cpu: str = DATABASE_RESOURCES.cpu_limit


@dataclass(frozen=True)
class Mount:
    """A volume of the server, and where the container sees it.

    ``folder`` is the server's. It must be there before the pod, which never makes one: where
    the volume failed to mount, data would end up on the server's own disk.
    """

    volume: str
    folder: str
    path: str


@dataclass(frozen=True)
class Workload:
    """Something that runs: an app's service, an auxiliary one, or the database.

    ``environment`` has its secrets revealed. ``groups`` are the server groups that it may run
    on. ``stamp`` is None where it does not follow the app's releases. ``claim`` is the path at
    which it sees a disk that the cluster finds for it. ``drain_seconds`` go by
    between the end of new connections and SIGTERM, ``stop_seconds`` between that and SIGKILL.
    A pod counts once it has been ready for ``min_ready`` seconds. ``check`` is its healthcheck,
    ``question`` the command that asks a database. ``user`` is whom its image names to run as, None
    where that is not known. ``priority`` is the name of its PriorityClass, ``login`` that of the
    Secret that its image is pulled with. Visitors from outside reach what ``is_public``.
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
    check: Healthcheck | None = None
    question: str | None = None
    startup_seconds: int = STARTUP_SECONDS
    replicas: int = 1
    history: int = 2
    drain_seconds: int = 0
    stop_seconds: int = 30
    min_ready: int = math.ceil(AppService.min_ready)
    security: schema.Security = field(default_factory=schema.Security)
    user: str | None = None
    priority: str | None = None
    is_public: bool = False
    login: str | None = None

    @property
    def checksum(self) -> str:
        """64 hex that change with the environment."""
        return build_checksum(self.environment)

    @property
    def secret_name(self) -> str:
        return build_secret_name(self.name, self.checksum)

    @property
    def labels(self) -> dict[str, str]:
        return build_labels(self.app, self.service, self.name, self.component, self.stamp)

    @property
    def pod_labels(self) -> dict[str, str]:
        """The labels of its pods: not those of a release, or each would start all pods anew."""
        return build_labels(self.app, self.service, self.name, self.component)


def build_app_workload(release: Release, service: AppService) -> Workload:
    """A service that runs the app's own image, or follows its releases with another."""
    application = release.application
    mounts = find_mounts(application, service)
    host = build_database_name(application.name) if find_engine(application) else None
    return Workload(
        app=application.name,
        service=service.name,
        name=build_workload_name(application.name, service.name),
        component="app",
        deploy_id=release.deploy_id,
        image=service.image or release.image,
        environment=build_environment(application, service, database_host=host),
        resources=DEFAULT_RESOURCES.change(service.resources),
        groups=service.servers,
        stamp=release.stamp,
        command=service.command,
        port=service.port,
        mounts=mounts,
        check=service.healthcheck,
        replicas=count_replicas(service, mounts),
        history=application.keep_count,
        drain_seconds=DRAIN_SECONDS if service.port else 0,
        min_ready=math.ceil(service.min_ready),
        security=service.security,
        user=release.user if service.image is None else None,
        is_public=service.domain is not None,
        login=find_login_name(application, service.image or release.image),
    )


def build_auxiliary_workload(release: Release, service: AuxiliaryService) -> Workload:
    """A finished image beside the app; it is ready when its port accepts connections."""
    app = release.application.name
    return Workload(
        app=app,
        service=service.name,
        name=build_workload_name(app, service.name),
        component="service",
        deploy_id=release.deploy_id,
        image=service.image,
        environment=service.env,
        resources=DEFAULT_RESOURCES.change(service.resources),
        groups=service.servers,
        command=service.command,
        port=service.port,
        mounts=build_mounts(app, service.servers, service.mount),
        startup_seconds=AUXILIARY_STARTUP_SECONDS,
        history=release.application.keep_count,
        security=service.security,
        login=find_login_name(release.application, service.image),
    )


def find_database_workload(release: Release) -> Workload | None:
    application = release.application
    database, engine = application.database, find_engine(application)
    if database is None or engine is None:
        return None
    folder, image = find_folder(database, engine), database.image or engine.image
    return Workload(
        app=application.name,
        service="database",
        name=build_database_name(application.name),
        component="database",
        deploy_id=release.deploy_id,
        image=image,
        environment=build_database_environment(database, folder),
        resources=build_database_resources(database.resources, release.database_cpu),
        groups=database.servers,
        arguments=build_database_arguments(database, engine, folder),
        port=DEFAULT_PORTS[database.engine or ""],
        mounts=build_mounts(application.name, database.servers, database.mount),
        claim=None if database.mount else folder,
        question=engine.question,
        stop_seconds=DATABASE_STOP_SECONDS,
        security=database.security,
        priority=PRIORITY,
        login=find_login_name(application, image),
    )


def find_engine(application: Application) -> DatabaseEngine | None:
    """The engine of the app's database, None where nvoi runs none: it is elsewhere, or a file."""
    database = application.database
    if database is None or database.url is not None:
        return None
    return ENGINES.get(database.engine or "")


def find_folder(database: Database, engine: DatabaseEngine) -> str:
    """The folder of the data in the container: the config's mount, else the image's own."""
    return next(iter(database.mount.values()), engine.folder).rstrip("/")


def build_database_environment(database: Database, folder: str) -> Mapping[str, str]:
    """The environment of the database's container: its own secrets, and what its image needs."""
    settings = {name: value.reveal() for name, value in database.secrets.items()}
    if database.engine == "postgres":
        # A fresh disk has a folder `lost+found`, and initdb wants an empty one.
        return {"PGDATA": f"{folder}/pgdata"} | settings
    return build_mysql_environment(settings)


def build_mysql_environment(settings: dict[str, str]) -> dict[str, str]:
    """MySQL's settings with a password for root, without which the image does not start.

    Root is let in from the container alone, and has the user's password where it has none of
    its own. A user who is root must not be named as a user as well, and is let in from the app.
    """
    if settings.get("MYSQL_USER") == "root":
        password = settings["MYSQL_PASSWORD"]
        others = {
            name: value
            for name, value in settings.items()
            if name not in {"MYSQL_USER", "MYSQL_PASSWORD"}
        }
        # Last, so that it wins: it is what the app is told to log in with.
        return others | {"MYSQL_ROOT_PASSWORD": password}
    password = settings.get("MYSQL_PASSWORD", "")
    return {"MYSQL_ROOT_PASSWORD": password, "MYSQL_ROOT_HOST": "localhost"} | settings


def build_database_arguments(
    database: Database, engine: DatabaseEngine, folder: str
) -> tuple[str, ...]:
    """MySQL is told of another folder than its own by an argument."""
    if database.engine != "mysql" or folder == engine.folder:
        return ()
    return (f"--datadir={folder}",)


def build_database_resources(
    given: schema.Resources, cpu: str = DATABASE_RESOURCES.cpu_limit
) -> Resources:
    """All that a database may use is promised to it, unless the config says less.

    Where a server runs out of memory, the kubelet and the kernel end it last then, as its pod is
    Guaranteed (Kubernetes documentation, "Pod Quality of Service Classes"). ``cpu`` counts where
    the config says nothing of processor time.
    """
    usual = DATABASE_RESOURCES if names_cpu(given) else replace(DATABASE_RESOURCES, cpu_limit=cpu)
    found = usual.change(given)
    return replace(
        found,
        requested_memory=given.requested_memory or found.memory_limit,
        requested_cpu=given.requested_cpu or found.cpu_limit,
    )


def names_cpu(given: schema.Resources) -> bool:
    return given.requested_cpu is not None or given.cpu_limit is not None


def count_replicas(service: AppService, mounts: tuple[Mount, ...]) -> int:
    """As many as the config says; else two that are asked for something, one of all others."""
    if service.replicas is not None:
        return service.replicas
    return WEB_REPLICAS if service.port is not None and not mounts else 1


def find_mounts(application: Application, service: AppService) -> tuple[Mount, ...]:
    """The service's own mounts, and the sqlite3 database's, which every service uses."""
    own = build_mounts(application.name, service.servers, service.mounts)
    database = application.database
    if database is None or database.engine != "sqlite3":
        return own
    by_path: dict[str, Mount] = {}
    for mount in (*own, *build_mounts(application.name, database.servers, database.mount)):
        # Kubernetes takes a path once.
        by_path.setdefault(mount.path.rstrip("/"), mount)
    return tuple(by_path.values())


def build_mounts(app: str, groups: tuple[str, ...], mounts: Mapping[str, str]) -> tuple[Mount, ...]:
    """The mounts of a service that runs on ``groups``: the config's checks leave it only one."""
    return tuple(
        Mount(volume, build_volume_path(app, group, volume), path)
        for group in groups[:1]
        for volume, path in mounts.items()
    )


def find_login_name(application: Application, image: str) -> str | None:
    """The Secret that an image is pulled with; None where it needs none."""
    if find_login(application.registries, image) is None:
        return None
    return build_login_name(application.name)
