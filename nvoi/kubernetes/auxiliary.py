"""The workloads of ``services``: finished images beside the app."""

from __future__ import annotations

from nvoi.config.schema import AuxiliaryService
from nvoi.kubernetes.probes import AUXILIARY_STARTUP_SECONDS, build_port_probes
from nvoi.kubernetes.volumes import build_mounts
from nvoi.kubernetes.workload import DEFAULT_RESOURCES, Probes, Release, Workload
from nvoi.naming import build_workload_name


def build_auxiliary(release: Release, service: AuxiliaryService) -> Workload:
    """The workload of one of ``services``; it is ready when its port accepts connections."""
    app, port = release.application.name, service.port
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
        port=port,
        mounts=build_mounts(app, service.servers, service.mount),
        probes=build_port_probes(port, AUXILIARY_STARTUP_SECONDS) if port else Probes(),
        history=release.application.keep_count,
    )
