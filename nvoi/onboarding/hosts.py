"""How the parts of an app call each other: by the names of the file they came from, and in nvoi."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from nvoi.config.environment import parse_database_url
from nvoi.config.schema import Database
from nvoi.naming import build_database_name, build_workload_name

#: What stands for the app's database among its services.
DATABASE_HOST = "database:"
THIS_MACHINE = "localhost"
#: Variables whose whole value may be a host.
HOST_NAME = re.compile(
    r"(?:HOST|HOSTS|HOSTNAME|SERVER|SERVERS|ADDR|ADDRESS|BROKER|BROKERS|ENDPOINT|NODES)$"
)


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


def rename_all(variables: Mapping[str, str], addresses: Mapping[str, str]) -> Mapping[str, str]:
    if not addresses:
        return variables
    renamed = {name: rename_hosts(name, value, addresses) for name, value in variables.items()}
    return MappingProxyType(renamed)


def rename_hosts(variable: str, value: str, addresses: Mapping[str, str]) -> str:
    """A variable's value with other names for the hosts in it.

    A host is all of a value whose variable is called after one; or stands behind ``://``, ``@``
    or a comma, or first, and in front of a port, a path or the end.
    """
    if HOST_NAME.search(variable) and value in addresses:
        return addresses[value]
    names = "|".join(map(re.escape, sorted(addresses, key=len, reverse=True)))
    if not names:
        return value
    in_url = rf"(?:(?<=://)|(?<=@))(?P<url>{names})(?=[:/,?]|$)"
    in_list = rf"(?:^|(?<=,))(?P<list>{names})(?=:\d+(?:[/,]|$))"
    return re.sub(
        rf"{in_url}|{in_list}", lambda found: addresses[found["url"] or found["list"]], value
    )
