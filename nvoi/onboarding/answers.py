"""What was answered so far, as the config's own records; and how services call each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from nvoi.config.environment import parse_database_url
from nvoi.config.schema import (
    EMPTY,
    Application,
    AppService,
    AuxiliaryService,
    Cloudflare,
    ComputeProvider,
    Config,
    Database,
    Ingress,
    LocalProvider,
    Resources,
    ServerGroup,
    SSHKeys,
    SSHProvider,
    Volume,
)
from nvoi.naming import build_database_name, build_workload_name
from nvoi.secret import Secret

#: The group of the first server, which is the master and holds the volumes, and that of the rest.
MAIN, WORKERS = "main", "workers"
#: What stands for the app's database among its services.
DATABASE_HOST = "database:"
THIS_MACHINE = "localhost"
#: Variables whose whole value may be a host.
HOST_NAME = re.compile(
    r"(?:HOST|HOSTS|HOSTNAME|SERVER|SERVERS|ADDR|ADDRESS|BROKER|BROKERS|ENDPOINT|NODES)$"
)

#: A host in a value: behind `://` or `@`; or first or behind a comma, in front of a port.
HOST = re.compile(
    r"(?:(?<=://)|(?<=@))[^\s:/,?@]+(?=[:/,?]|$)"
    r"|(?:^|(?<=,))[^\s:/,?@]+(?=:\d+(?:[/,]|$))"
)

Mounting = AppService | AuxiliaryService
Service = TypeVar("Service", AppService, AuxiliaryService)


@dataclass(frozen=True)
class Answers:
    """All that the wizard asks about, and what a file of another tool adds to it.

    ``volume`` is the database's, and needs no place in ``groups``; ``groups`` are empty where
    the app runs on this machine. A service without ``servers`` runs on all groups. ``services``
    are finished images beside the app. ``hosts`` are names by which services call each other in
    variables that came from elsewhere, each with the service it means.
    """

    name: str = ""
    provider: ComputeProvider = field(default_factory=LocalProvider)
    ssh_keys: SSHKeys | None = None
    groups: tuple[ServerGroup, ...] = ()
    cloudflare: Cloudflare | None = None
    ingress: Ingress | None = None
    apps: tuple[AppService, ...] = ()
    services: tuple[AuxiliaryService, ...] = ()
    database: Database | None = None
    volume: Volume | None = None
    env: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    secrets: Mapping[str, Secret] = field(default_factory=lambda: EMPTY)
    callback_url: str | None = None
    hosts: Mapping[str, str] = field(default_factory=lambda: EMPTY)

    @property
    def is_local(self) -> bool:
        return isinstance(self.provider, LocalProvider)


def read_answers(config: Config) -> Answers:
    """What a config that is there already says to the wizard's questions."""
    application = config.application
    groups = tuple(application.servers.values())
    return Answers(
        name=application.name,
        provider=application.compute_provider,
        ssh_keys=application.ssh_keys,
        groups=groups,
        cloudflare=application.cloudflare,
        ingress=application.ingress,
        apps=tuple(application.app.values()),
        services=tuple(application.services.values()),
        database=application.database,
        volume=find_volume(application.database, groups),
        env=application.env,
        secrets=application.secrets,
        callback_url=config.callback_url,
    )


def build_config(answers: Answers) -> Config:
    """The config that the answers ask for, unchecked and without what was not asked.

    On servers the database has its volume where it runs, and each service has its groups.
    """
    home = find_home(answers)
    addresses = build_addresses(answers.hosts, answers.name, answers.database, answers.is_local)
    secrets = {
        name: Secret(rename_hosts(name, value.reveal(), addresses))
        for name, value in answers.secrets.items()
    }

    def settle(service: Service) -> Service:
        env = rename_all(service.env, addresses)
        return replace(service, servers=place(service, home, answers), env=env)

    application = Application(
        name=answers.name,
        compute_provider=answers.provider,
        env=rename_all(answers.env, addresses),
        secrets=secrets,
        ssh_keys=answers.ssh_keys,
        cloudflare=answers.cloudflare,
        ingress=answers.ingress,
        servers={group.name: complete_group(group, home, answers) for group in answers.groups},
        app={app.name: settle(app) for app in answers.apps},
        services={one.name: settle(one) for one in answers.services},
        database=place_database(answers.database, home, answers),
    )
    return Config(application, answers.callback_url)


def complete_group(group: ServerGroup, home: ServerGroup | None, answers: Answers) -> ServerGroup:
    """A group with the volumes that hang there; how servers are reached is for own ones only."""
    if not answers.is_local:
        known = {name for each in answers.groups for name in each.volumes}
        services: list[Mounting] = [*answers.apps, *answers.services]
        fresh = {
            name: Volume(name)
            for service in services
            for name in get_mounts(service)
            if name not in known and place(service, home, answers)[:1] == (group.name,)
        }
        if group is home and answers.volume and answers.database:
            fresh[answers.volume.name] = answers.volume
        group = replace(group, volumes={**group.volumes, **fresh})
    if isinstance(answers.provider, SSHProvider | LocalProvider):
        return group
    return replace(group, hosts=(), user=None, port=None, private_ip=None, host_keys=())


def get_mounts(service: Mounting) -> Mapping[str, str]:
    return service.mounts if isinstance(service, AppService) else service.mount


def place(service: Mounting, home: ServerGroup | None, answers: Answers) -> tuple[str, ...]:
    """The groups that a service runs on: those it had, else all; beside its volumes."""
    names = tuple(group.name for group in answers.groups)
    wanted = tuple(name for name in service.servers if name in names)
    if answers.is_local:
        return wanted
    is_app = isinstance(service, AppService)
    # A file, or a volume, is on one server's disk.
    is_file = is_app and answers.database is not None and answers.database.engine == "sqlite3"
    if home and (is_file or (not wanted and (get_mounts(service) or not is_app))):
        return (home.name,)
    return wanted or names


def place_database(
    database: Database | None, home: ServerGroup | None, answers: Answers
) -> Database | None:
    """The database, which runs beside its volume; its resources are not asked."""
    if database is None:
        return None
    servers = database.servers if answers.is_local else (home.name,) if home else ()
    return replace(database, servers=servers, resources=Resources())


def find_volume(database: Database | None, groups: tuple[ServerGroup, ...]) -> Volume | None:
    if database is None or not database.mount:
        return None
    name = next(iter(database.mount))
    found = (group.volumes[name] for group in groups if name in group.volumes)
    return next(found, Volume(name))


def build_groups(
    *,
    count: int = 1,
    hosts: tuple[str, ...] = (),
    user: str | None = None,
    port: int | None = None,
    before: tuple[ServerGroup, ...] = (),
) -> tuple[ServerGroup, ...]:
    """The servers in the wizard's order: the first is the master, the others are workers.

    Volumes are one server's, so the group that holds them has just one; those of the groups
    ``before`` go there too, as services may mount them.
    """
    volumes = {name: volume for group in before for name, volume in group.volumes.items()}
    count = len(hosts) or count
    main = ServerGroup(
        MAIN, master=count > 1, volumes=volumes, hosts=hosts[:1], user=user, port=port
    )
    if count == 1:
        return (main,)
    return main, ServerGroup(WORKERS, count=count - 1, hosts=hosts[1:], user=user, port=port)


def find_home(answers: Answers) -> ServerGroup | None:
    """The group that the database runs on: its own, else the master's."""
    wanted = answers.database.servers if answers.database else ()
    own = [group for group in answers.groups if group.name in wanted]
    masters = [group for group in answers.groups if group.master]
    return next(iter([*own, *masters, *answers.groups]), None)


def build_addresses(
    hosts: Mapping[str, str], name: str, database: Database | None, is_local: bool
) -> dict[str, str]:
    """The host that stands for each name: a Service in the cluster, or this machine."""

    def find(service: str) -> str:
        if is_local:
            return find_server(database) if service == DATABASE_HOST else THIS_MACHINE
        if service == DATABASE_HOST:
            return build_database_name(name)
        return build_workload_name(name, service)

    return {host: find(service) for host, service in hosts.items()}


def find_server(database: Database | None) -> str:
    """The host of a database that runs elsewhere; this machine where it is not known."""
    if database is None or database.url is None or database.engine not in {"postgres", "mysql"}:
        return THIS_MACHINE
    try:
        address = parse_database_url(database.url.reveal(), database.engine)
    except ValueError:
        return THIS_MACHINE
    return address.host or THIS_MACHINE


def rename_all(variables: Mapping[str, str], addresses: Mapping[str, str]) -> dict[str, str]:
    return {name: rename_hosts(name, value, addresses) for name, value in variables.items()}


def rename_hosts(variable: str, value: str, addresses: Mapping[str, str]) -> str:
    """A variable's value with other names for the hosts in it.

    A host is all of a value whose variable is called after one, or what :data:`HOST` finds.
    """
    if HOST_NAME.search(variable) and value in addresses:
        return addresses[value]
    return HOST.sub(lambda found: addresses.get(found[0], found[0]), value)


def list_hosts(variable: str, value: str) -> list[str]:
    """What may be a host in a variable's value, as :func:`rename_hosts` has it."""
    whole = [value] if HOST_NAME.search(variable) else []
    return [*whole, *(found[0] for found in HOST.finditer(value))]
