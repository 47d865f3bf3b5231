"""What only several keys together can show to be wrong.

Each check takes the application as it was read and reports at the path that should change.
Where a value is absent because it had a fault of its own, nothing more is said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nvoi.config.environment import SECRETS, parse_database_url
from nvoi.config.nodes import join_path, suggest
from nvoi.config.reading import Reading
from nvoi.config.registry_logins import normalize
from nvoi.config.schema import (
    Application,
    AppService,
    AuxiliaryService,
    Database,
    ServerGroup,
    SSHProvider,
)
from nvoi.naming import build_hostnames, build_label

SSH_ONLY = ("host", "hosts", "user", "port", "private_ip", "host_keys")
ROOT = "application"
Service = AppService | AuxiliaryService | Database


def check_application(application: Application, reading: Reading) -> None:
    for check in CHECKS:
        check(application, reading)


def check_accounts(application: Application, reading: Reading) -> None:
    """Servers are reached with a key pair, and domains served by Cloudflare or the ingress."""
    if application.cloudflare and application.ingress:
        reading.report(f"{ROOT}.domain_provider", "exactly one of cloudflare, ingress is needed")
    if application.is_local:
        return
    if application.ssh_keys is None:
        reading.report_missing(f"{ROOT}.ssh_keys", "is required: servers are reached with it")
    faulty = reading.is_faulty(f"{ROOT}.domain_provider", below=True)
    for name, service in application.app.items():
        path = app_path(name)
        if service.domain and not (application.cloudflare or application.ingress or faulty):
            message = (
                f"{ROOT}.domain_provider.cloudflare or {ROOT}.domain_provider.ingress is required "
                "to serve a domain"
            )
            reading.report(f"{path}.domain", message)
        if service.domain and service.port is None:
            message = "a `port` is required to serve a domain"
            reading.report_missing(f"{path}.port", message, at=f"{path}.domain")


def check_key_pair(application: Application, reading: Reading) -> None:
    """The two SSH keys are a pair."""
    keys = application.ssh_keys
    if keys is None or not keys.private_key or not keys.public_key:
        return
    # 25 ms, which a command that is only asked for its help would wait for in vain.
    from nvoi.config.ssh_keys import KeyPairError, check_ssh_keys  # noqa: PLC0415

    try:
        check_ssh_keys(keys)
    except KeyPairError as error:
        reading.report(f"{ROOT}.ssh_keys.{error.key}", str(error))


def check_masters(application: Application, reading: Reading) -> None:
    """One group holds the master; where there is one group, that is the one."""
    masters = [name for name, group in application.servers.items() if group.master]
    if len(application.servers) > 1 and not masters and not application.is_local:
        reading.report(f"{ROOT}.servers", "exactly one group needs `master: true`")
    for name in masters[1:]:
        path = f"{join_path(f'{ROOT}.servers', name)}.master"
        reading.report(path, f"exactly one group may be master, and {masters[0]} is")


def check_groups(application: Application, reading: Reading) -> None:
    """What a group may say depends on who rents its servers."""
    local, ssh = application.is_local, isinstance(application.compute_provider, SSHProvider)
    if not local and not application.servers:
        reading.report_missing(f"{ROOT}.servers")
    seen: dict[str, str] = {}
    for name, group in application.servers.items():
        path = join_path(f"{ROOT}.servers", name)
        if ssh:
            check_hosts(path, group, reading)
            check_seen_once(f"{path}.hosts", group.hosts, seen, reading, "a host")
        elif not local:
            for key in SSH_ONLY:
                if f"{path}.{key}" in reading.places:
                    reading.report(f"{path}.{key}", "is for `compute_provider: {ssh: {}}` only")


def check_hosts(path: str, group: ServerGroup, reading: Reading) -> None:
    """A group of servers that one already has names each of them."""
    if not group.hosts:
        if not reading.is_faulty(f"{path}.host", below=True):
            message = "`host`, or a list of `hosts`, is required with ssh"
            reading.report_missing(f"{path}.host", message, at=path)
        return
    if group.count != len(group.hosts):
        reading.report(f"{path}.count", "must be the number of hosts; it may be left out")
    if group.private_ip and len(group.hosts) > 1:
        message = "is one server's: give each server a group of its own"
        reading.report(f"{path}.private_ip", message)


def check_seen_once(
    path: str, names: tuple[str, ...], seen: dict[str, str], reading: Reading, what: str
) -> None:
    """No name stands at two paths; ``what`` says whose names they are."""
    taken = {seen.setdefault(name.lower(), path) for name in names} - {path}
    for first in sorted(taken):
        reading.report(path, f"{what} is that of {first} already")


def check_placement(application: Application, reading: Reading) -> None:
    """Every service says where it runs, on groups that exist, beside the volumes it mounts."""
    for path, service in find_services(application):
        if not service.servers:
            faulty = reading.is_faulty(f"{path}.servers", below=True)
            if not faulty and not application.is_local:
                reading.report(f"{path}.servers", "is required: a list of server groups")
        for index, group in enumerate(service.servers):
            if group not in application.servers:
                hint = suggest(group, list(application.servers))
                reading.report(f"{path}.servers.{index}", f"there is no such server group{hint}")
        check_mounts(path, service, application, reading)


def check_mounts(path: str, service: Service, application: Application, reading: Reading) -> None:
    """Volumes hang on one server: whoever mounts one runs on one group of one server.

    On this machine there is one server whatever the groups say, and where a service names no
    group its volumes need no declaration.
    """
    mounts = service.mounts if isinstance(service, AppService) else service.mount
    path = f"{path}.{'mounts' if isinstance(service, AppService) else 'mount'}"
    local = application.is_local
    for volume, folder in mounts.items():
        relative = local and ".." not in folder.split("/")
        if not folder.startswith("/") and not relative:
            reading.report(join_path(path, volume), "must be an absolute path inside the service")
    if len({folder.rstrip("/") for folder in mounts.values()}) < len(mounts):
        reading.report(path, "two volumes share a path; each needs its own")
    if not mounts or not service.servers:
        return
    if len(service.servers) > 1 and not local:
        reading.report(path, "volumes are one server's: the service must run on one group only")
        return
    groups = [application.servers[name] for name in service.servers if name in application.servers]
    for group in groups[:1]:
        if group.count > 1 and not local:
            message = f"volumes are one server's, and group {group.name} has {group.count} servers"
            reading.report(path, message)
        for volume in mounts:
            if volume not in group.volumes:
                hint = suggest(volume, list(group.volumes))
                message = f"is no volume of server group {group.name}{hint}"
                reading.report(join_path(path, volume), message)


def check_database(application: Application, reading: Reading) -> None:
    """Each adapter has what it cannot do without."""
    database, path = application.database, f"{ROOT}.database"
    if database is None:
        return
    if database.engine in SECRETS and database.url:
        try:
            parse_database_url(database.url.reveal(), database.engine)
        except ValueError as error:
            reading.report(f"{path}.url", str(error))
    elif database.engine in SECRETS and not reading.is_faulty(f"{path}.url"):
        for name in SECRETS[database.engine]:
            if not database.secrets.get(name):
                message = f"is required with {database.adapter} where there is no `url`"
                reading.report_missing(f"{path}.secrets.{name}", message)
    elif database.engine == "sqlite3":
        check_sqlite(application, database, reading)
    elif not any((database.engine, database.url, database.image)):
        reading.report_missing(f"{path}.adapter", "is required: postgres, mysql or sqlite3")


def check_sqlite(application: Application, database: Database, reading: Reading) -> None:
    """The database is a file on a volume: every service that uses it runs beside it."""
    path = f"{ROOT}.database.mount"
    if not database.mount and not reading.is_faulty(path, below=True):
        reading.report(path, "is required with sqlite3: VOLUME: /path/in/the/service")
    if application.is_local or len(database.servers) != 1:
        return
    for name, service in application.app.items():
        if service.servers and service.servers != database.servers:
            message = f"sqlite3 is a file on {database.servers[0]}: the service must run there only"
            reading.report(f"{app_path(name)}.servers", message)


def check_healthchecks(application: Application, reading: Reading) -> None:
    """A check has what it needs to be made."""
    for name, service in application.app.items():
        check, path = service.healthcheck, f"{app_path(name)}.healthcheck"
        if check is None or reading.is_faulty(f"{path}.type"):
            continue
        if check.type == "exec":
            if not check.command:
                reading.report_missing(f"{path}.command", "is required with `type: exec`")
        elif (check.port, service.port) == (None, None) and not reading.is_faulty(f"{path}.port"):
            message = f"a `port`, here or of the service, is required with `type: {check.type}`"
            reading.report_missing(f"{app_path(name)}.port", message, at=path)


def check_names(application: Application, reading: Reading) -> None:
    """No two services share a host name, and no two things a remote name."""
    hostnames: dict[str, str] = {}
    for name, service in application.app.items():
        if service.domain:
            names = build_hostnames(service.domain, service.subdomain)
            check_seen_once(f"{app_path(name)}.domain", names, hostnames, reading, "a host name")
    groups: dict[str, str] = {}
    for name in application.servers:
        path = join_path(f"{ROOT}.servers", name)
        check_seen_once(path, (build_label(name),), groups, reading, "the name")
    workloads: dict[str, str] = {}
    for path, running in find_services(application):
        if not isinstance(running, Database):
            check_seen_once(path, (build_label(running.name),), workloads, reading, "the name")


def check_registries(application: Application, reading: Reading) -> None:
    """A registry has one login, however it is called."""
    seen: dict[str, str] = {}
    for name in application.registries:
        path = join_path(f"{ROOT}.registries", name)
        check_seen_once(path, (normalize(name),), seen, reading, "the registry")


CHECKS: tuple[Callable[[Application, Reading], None], ...] = (
    check_accounts,
    check_key_pair,
    check_masters,
    check_groups,
    check_placement,
    check_database,
    check_healthchecks,
    check_names,
    check_registries,
)


def find_services(application: Application) -> Iterator[tuple[str, Service]]:
    for name, service in application.app.items():
        yield app_path(name), service
    if application.database:
        yield f"{ROOT}.database", application.database
    for name, auxiliary in application.services.items():
        yield join_path(f"{ROOT}.services", name), auxiliary


def app_path(name: str) -> str:
    return join_path(f"{ROOT}.app", name)
