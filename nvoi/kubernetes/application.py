"""All that an app has in the cluster, in the order in which it is applied."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nvoi.kubernetes.app import build_app_workload
from nvoi.kubernetes.auxiliary import build_auxiliary
from nvoi.kubernetes.database import find_database
from nvoi.kubernetes.deployment import build_deployment
from nvoi.kubernetes.job import build_job
from nvoi.kubernetes.secrets import build_secret
from nvoi.kubernetes.services import build_service
from nvoi.kubernetes.statefulset import build_statefulset
from nvoi.kubernetes.workload import Manifest, Release, Workload


@dataclass(frozen=True)
class Manifests:
    """An app's objects, one tuple for each stage of a deploy.

    ``secrets`` come first, then ``database`` until it is ready, ``jobs`` one after the other,
    ``services`` and at last ``apps``, each with the Services in front of them.
    """

    secrets: tuple[Manifest, ...]
    database: tuple[Manifest, ...]
    jobs: tuple[Manifest, ...]
    services: tuple[Manifest, ...]
    apps: tuple[Manifest, ...]

    @property
    def kept(self) -> tuple[Manifest, ...]:
        """All but the Jobs: what the app consists of once it is deployed."""
        return (*self.secrets, *self.database, *self.services, *self.apps)

    @property
    def all(self) -> tuple[Manifest, ...]:
        """All of them, in the order of the stages."""
        return (*self.secrets, *self.database, *self.jobs, *self.services, *self.apps)


def build_manifests(release: Release) -> Manifests:
    """All the objects of a release."""
    application, database = release.application, find_database(release)
    apps = {item.name: build_app_workload(release, item) for item in application.app.values()}
    services = [build_auxiliary(release, item) for item in application.services.values()]
    databases = [database] if database else []
    return Manifests(
        secrets=tuple(build_secret(item) for item in (*databases, *services, *apps.values())),
        database=tuple(
            item
            for workload in databases
            for item in (*front(workload), build_statefulset(workload))
        ),
        jobs=tuple(
            build_job(
                apps[name], item.pre_run_command, release.stamp, math.ceil(item.pre_run_timeout)
            )
            for name, item in application.app.items()
            if item.pre_run_command
        ),
        services=build_deployments(services),
        apps=build_deployments([*apps.values()]),
    )


def build_deployments(workloads: list[Workload]) -> tuple[Manifest, ...]:
    """The Services of ``workloads``, and behind them their Deployments."""
    return (
        *(item for workload in workloads for item in front(workload)),
        *(build_deployment(workload) for workload in workloads),
    )


def front(workload: Workload) -> tuple[Manifest, ...]:
    """The Service in front of a workload, where it has one."""
    service = build_service(workload)
    return (service,) if service else ()
