"""What of a valid config a cluster cannot have, found before anything is touched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from nvoi.config.fields import find_bytes, find_millicores
from nvoi.config.nodes import join_path
from nvoi.config.schema import Application, AppService, AuxiliaryService
from nvoi.domains import get_domains
from nvoi.errors import ConfigError, Fault
from nvoi.images.context import find_dockerfile
from nvoi.kubernetes.workloads import (
    DEFAULT_RESOURCES,
    Resources,
    build_database_resources,
    find_engine,
)
from nvoi.naming import build_database_name, build_prefix, build_workload_name
from nvoi.operation import Request
from nvoi.providers import get_provider

ROOT = "application"
# A path's component as registries take it (Distribution, reference/reference.go's grammar).
REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")


def check_request(request: Request) -> None:
    """Find what cannot be deployed.

    Raises:
        ConfigError: with every fault. They have no line: the document was read long ago.
        UsageError: there is nothing to build an image from.
    """
    application = request.config.application
    faults: list[Fault] = [
        *get_provider(application, request.environ).find_faults(),
        *find_faults(application),
        *get_domains(application, request.environ).find_faults(),
    ]
    if faults:
        raise ConfigError("config", faults)
    if any(service.image is None for service in application.app.values()):
        find_dockerfile(request.directory, request.dockerfile)


def find_faults(application: Application) -> list[Fault]:
    checks = (check_name, check_database, check_workloads, check_resources)
    found = [fault for check in checks for fault in check(application)]
    return [Fault(0, 0, path, message) for path, message in found]


def check_name(application: Application) -> Iterator[tuple[str, str]]:
    """The app's name is a part of its image's, and begins those of its Services.

    A Service's begins with a letter (Kubernetes documentation, "Object Names and IDs", RFC 1035).
    """
    if not build_workload_name(application.name, "x")[0].isalpha():
        yield f"{ROOT}.name", "must begin with a letter"
    if not REPOSITORY.fullmatch(build_prefix(application.name)):
        message = "cannot be in an image's name: `-` or `_` at its end, or `___`"
        yield f"{ROOT}.name", message


def check_database(application: Application) -> Iterator[tuple[str, str]]:
    database = application.database
    if database is not None and database.url is None and database.engine is None:
        yield f"{ROOT}.database.adapter", "is required to run a database: postgres or mysql"


def check_workloads(application: Application) -> Iterator[tuple[str, str]]:
    if find_engine(application) is None:
        return
    taken = build_database_name(application.name)
    for key, names in (("app", application.app), ("services", application.services)):
        for name in names:
            if build_workload_name(application.name, name) == taken:
                yield join_path(f"{ROOT}.{key}", name), f"has the database's name, {taken}"


def check_resources(application: Application) -> Iterator[tuple[str, str]]:
    """Nothing is promised more than it may use: Kubernetes refuses that.

    Source: its documentation, "Resource Management for Pods and Containers".
    """
    for path, _, wanted in list_resources(application):
        pairs = {
            "memory": (wanted.requested_memory, wanted.memory_limit, find_bytes),
            "cpu": (wanted.requested_cpu, wanted.cpu_limit, find_millicores),
        }
        for what, (requested, limit, read) in pairs.items():
            if (read(requested) or 0) > (read(limit) or 0):
                message = f"requests.{what} is {requested}, above limits.{what}, {limit}"
                yield f"{path}.resources", f"{message}; what is left out has its default"


def list_resources(
    application: Application,
) -> Iterator[tuple[str, tuple[str, ...], Resources]]:
    """What everything that runs is promised and may use, with its path and its server groups."""
    services: Iterable[tuple[str, AppService | AuxiliaryService]] = (
        (join_path(f"{ROOT}.{key}", name), service)
        for key, named in (("app", application.app), ("services", application.services))
        for name, service in named.items()
    )
    for path, service in services:
        yield path, service.servers, DEFAULT_RESOURCES.change(service.resources)
    if (database := application.database) and find_engine(application):
        yield f"{ROOT}.database", database.servers, build_database_resources(database.resources)
