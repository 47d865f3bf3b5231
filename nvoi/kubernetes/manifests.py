"""Manifests: all the objects that a release has in the cluster, in the order of a deploy."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from nvoi.config.registry_logins import build_auths, select_logins
from nvoi.config.schema import Application
from nvoi.kubernetes.names import (
    LOGINS,
    build_job_name,
    build_labels,
    build_login_name,
    build_metadata,
    build_object,
    build_selector,
    build_statefulset_name,
)
from nvoi.kubernetes.ownership import Manifest
from nvoi.kubernetes.pods import CLAIM, PORT_NAME, build_app_policy, build_template
from nvoi.kubernetes.workloads import (
    PRIORITY,
    PUBLIC_NAME,
    PUBLIC_PORT,
    Release,
    Workload,
    build_app_workload,
    build_auxiliary_workload,
    find_database_workload,
)

#: Seconds without progress after which Kubernetes itself gives a rollout up.
DEADLINE_SECONDS = 600
#: Seconds that an ended Job is kept for whoever wants to look at it.
KEPT_SECONDS = 24 * 3600
CLAIM_SIZE = "10Gi"
# The highest that may be given to anything but Kubernetes' own parts is a billion (its
# documentation, "Pod Priority and Preemption"); it can never be changed.
PRIORITY_VALUE = 1_000_000


@dataclass(frozen=True)
class Manifests:
    """An app's objects, one tuple for each stage of a deploy.

    ``secrets`` and ``logins`` come first, with ``policies``, then ``database`` until it is ready,
    ``jobs`` one after the other, ``services`` and at last ``apps``, each with the Services in
    front of them.
    """

    secrets: tuple[Manifest, ...]
    logins: tuple[Manifest, ...]
    policies: tuple[Manifest, ...]
    database: tuple[Manifest, ...]
    jobs: tuple[Manifest, ...]
    services: tuple[Manifest, ...]
    apps: tuple[Manifest, ...]

    @property
    def kept(self) -> tuple[Manifest, ...]:
        """All but the Jobs: what the app consists of once it is deployed."""
        needs = (*self.secrets, *self.logins, *self.policies)
        return (*needs, *self.database, *self.services, *self.apps)

    @property
    def all(self) -> tuple[Manifest, ...]:
        return tuple(item for stage in fields(self) for item in getattr(self, stage.name))


def build_manifests(release: Release) -> Manifests:
    application, database = release.application, find_database_workload(release)
    apps = {item.name: build_app_workload(release, item) for item in application.app.values()}
    services = [build_auxiliary_workload(release, item) for item in application.services.values()]
    databases = [database] if database else []
    workloads = (*databases, *services, *apps.values())
    images = [item.image for item in workloads]
    return Manifests(
        secrets=tuple(map(build_secret, workloads)),
        logins=tuple(build_logins(application, images, release.deploy_id)),
        policies=(
            build_app_policy(
                application.name,
                application.let_in,
                release.deploy_id,
                ingress=application.uses_ingress,
            ),
        ),
        database=tuple(
            item
            for workload in databases
            for item in (*build_services([workload]), build_statefulset(workload))
        ),
        jobs=tuple(
            build_job(
                apps[name], item.pre_run_command, release.stamp, math.ceil(item.pre_run_timeout)
            )
            for name, item in application.app.items()
            if item.pre_run_command
        ),
        services=(*build_services(services), *map(build_workload_deployment, services)),
        apps=(
            *build_services(apps.values()),
            *build_budgets(apps.values()),
            *map(build_workload_deployment, apps.values()),
        ),
    )


def build_budgets(workloads: Iterable[Workload]) -> list[Manifest]:
    """Have nodes drained one pod of a service after the other, where it has more than one.

    A pod that is not ready serves nobody, and holds no drain up.
    """
    return [
        build_budget(item.name, build_metadata(item.name, item.labels, item.deploy_id))
        for item in workloads
        if item.replicas > 1
    ]


def build_budget(workload: str, metadata: Manifest) -> Manifest:
    specification = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": build_selector(workload)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return build_object("PodDisruptionBudget", metadata, spec=specification)


def build_secret(workload: Workload) -> Manifest:
    """The Secret that a workload's pods have their environment from.

    It never changes: other values make another Secret.
    """
    values = sorted(workload.environment.items())
    data = {name: b64encode(value.encode()).decode() for name, value in values}
    metadata = build_metadata(workload.secret_name, workload.labels, workload.deploy_id)
    # The API stores an empty map as none at all, and refuses the same again as a change.
    content = {"data": data} if data else {}
    return build_object("Secret", metadata, type="Opaque", immutable=True, **content)


def build_logins(
    application: Application, images: Iterable[str], deploy_id: str
) -> list[dict[str, object]]:
    """The Secret with the logins to registries that ``images`` need, where they need any.

    It bears the same name in every release: what is gone back to pulls with the password of now,
    and another password starts nothing anew. Source: Kubernetes documentation, "Pull an Image from
    a Private Registry".
    """
    logins = select_logins(application.registries, images)
    if not logins:
        return []
    name = build_login_name(application.name)
    labels = build_labels(application.name, LOGINS, name, LOGINS)
    content = json.dumps({"auths": build_auths(logins)}, sort_keys=True)
    data = {".dockerconfigjson": b64encode(content.encode()).decode()}
    kind, metadata = "kubernetes.io/dockerconfigjson", build_metadata(name, labels, deploy_id)
    return [build_object("Secret", metadata, type=kind, data=data)]


def build_services(workloads: Iterable[Workload]) -> list[Manifest]:
    """The Services in front of those workloads that have a port."""
    return [
        build_object(
            "Service",
            build_metadata(item.name, item.labels, item.deploy_id),
            spec={
                "type": "ClusterIP",
                "selector": build_selector(item.name),
                "ports": build_ports(item, item.port),
            },
        )
        for item in workloads
        if item.port is not None
    ]


def build_ports(workload: Workload, port: int) -> list[Manifest]:
    """The ports of a Service, the service's own first."""
    own: Manifest = {"name": PORT_NAME, "port": port, "targetPort": PORT_NAME, "protocol": "TCP"}
    if not workload.is_public or port == PUBLIC_PORT:
        return [own]
    return [own, own | {"name": PUBLIC_NAME, "port": PUBLIC_PORT}]


def build_workload_deployment(workload: Workload) -> Manifest:
    spread = {} if workload.mounts else {"topologySpreadConstraints": build_spread(workload.name)}
    return build_deployment(
        build_metadata(workload.name, workload.labels, workload.deploy_id),
        build_template(workload, workload.pod_labels, **spread),
        replicas=workload.replicas,
        # Two releases never write to one folder.
        rolls=not workload.mounts,
        history=workload.history,
        # An old pod goes only then, and what ends right after its start is seen by then.
        minReadySeconds=workload.min_ready,
        progressDeadlineSeconds=DEADLINE_SECONDS,
    )


def build_deployment(
    metadata: Manifest,
    template: Manifest,
    *,
    rolls: bool,
    replicas: int = 1,
    history: int = 1,
    **more: object,
) -> Manifest:
    """A Deployment; where it ``rolls``, by one new pod at a time and no old one less."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    specification = {
        "replicas": replicas,
        "selector": {"matchLabels": build_selector(str(metadata["name"]))},
        "strategy": rolling if rolls else {"type": "Recreate"},
        # After a `kubectl rollout pause` no new pod would ever come.
        "paused": False,
        "revisionHistoryLimit": history,
        "template": template,
        **more,
    }
    return build_object("Deployment", metadata, spec=specification)


def build_spread(workload: str) -> list[Manifest]:
    """Pods of one release on as many nodes as there are; on fewer rather than not at all."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": build_selector(workload)},
            # Or the pods that are about to go would push the new ones onto one node.
            "matchLabelKeys": ["pod-template-hash"],
        }
    ]


def build_statefulset(workload: Workload) -> Manifest:
    """The StatefulSet that keeps the database's one pod; the next starts when the last is gone."""
    specification: Manifest = {
        "replicas": 1,
        "serviceName": workload.name,
        "selector": {"matchLabels": build_selector(workload.name)},
        "updateStrategy": {"type": "RollingUpdate"},
        "revisionHistoryLimit": workload.history,
        "template": build_template(workload, workload.pod_labels),
    }
    if workload.claim:
        specification["volumeClaimTemplates"] = [build_claim(workload.pod_labels)]
    name = build_statefulset_name(workload.name)
    metadata = build_metadata(name, workload.labels, workload.deploy_id)
    return build_object("StatefulSet", metadata, spec=specification)


def build_priority(deploy_id: str) -> Manifest:
    """The class of all databases of a cluster: the first to get a place, the last to lose it."""
    labels = build_labels("nvoi", "database", PRIORITY, "priority")
    metadata = build_metadata(PRIORITY, labels, deploy_id)
    del metadata["namespace"]
    about = "Databases of apps that nvoi deploys"
    return build_object("PriorityClass", metadata, value=PRIORITY_VALUE, description=about)


def build_claim(labels: dict[str, str]) -> Manifest:
    """Asks for a folder on the disk of whichever server the pod comes to be on, and stays on.

    It is k3s's own provisioner that makes it (k3s documentation, "Volumes and Storage"), and
    counts no sizes. It outlives the StatefulSet.
    """
    specification = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "local-path",
        "resources": {"requests": {"storage": CLAIM_SIZE}},
    }
    metadata: Manifest = {"name": CLAIM, "labels": labels}
    return build_object("PersistentVolumeClaim", metadata, spec=specification)


def build_job(workload: Workload, command: str, stamp: str, seconds: int) -> Manifest:
    """The Job that runs ``command`` as ``workload`` would; ``seconds`` is how long it may take.

    It is tried once: what has been done to a database by halves is not done again unseen.
    """
    name = build_job_name(workload.name, stamp)
    # The pods bear another name than the workload's, or its Service would send them requests.
    labels = build_labels(workload.app, workload.service, name, "job", stamp)
    once = replace(workload, command=command, arguments=(), port=None, check=None, drain_seconds=0)
    specification = {
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "activeDeadlineSeconds": seconds,
        "ttlSecondsAfterFinished": KEPT_SECONDS,
        "template": build_template(once, labels, restartPolicy="Never"),
    }
    metadata = build_metadata(name, labels, workload.deploy_id)
    return build_object("Job", metadata, spec=specification)
