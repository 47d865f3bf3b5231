"""The workloads of ``app``: the services that run the app's own image."""

from __future__ import annotations

from nvoi.config.environment import build_environment
from nvoi.config.schema import Application, AppService
from nvoi.kubernetes.database import find_engine
from nvoi.kubernetes.probes import build_app_probes
from nvoi.kubernetes.volumes import build_mounts, merge_mounts
from nvoi.kubernetes.workload import DEFAULT_RESOURCES, Mount, Release, Workload
from nvoi.naming import build_database_name, build_workload_name

WEB_REPLICAS = 2
# It takes a moment until every node knows that a pod is about to go; until then requests come.
DRAIN_SECONDS = 5


def build_app_workload(release: Release, service: AppService) -> Workload:
    """The workload of an app's service."""
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
        probes=build_app_probes(service),
        replicas=count_replicas(service, mounts),
        history=application.keep_count,
        drain_seconds=DRAIN_SECONDS if service.port else 0,
    )


def find_mounts(application: Application, service: AppService) -> tuple[Mount, ...]:
    """The service's own mounts, and the sqlite3 database's, which every service uses."""
    own = build_mounts(application.name, service.servers, service.mounts)
    database = application.database
    if database is None or database.engine != "sqlite3":
        return own
    return merge_mounts(own, build_mounts(application.name, database.servers, database.mount))


def count_replicas(service: AppService, mounts: tuple[Mount, ...]) -> int:
    """As many as the config says; else two that are asked for something, one of all others."""
    if service.replicas is not None:
        return service.replicas
    return WEB_REPLICAS if service.port is not None and not mounts else 1
