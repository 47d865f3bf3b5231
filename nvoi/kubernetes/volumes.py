"""Volumes: folders of a server, mounted into the pods that run on it.

A folder must be there before its pod: a pod never makes one, or data would end up on the
server's own disk where the volume failed to mount. Folders under :data:`nvoi.naming.VOLUMES_FOLDER`
are best made with mode 0777 in a parent with 0711, as an image's user is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nvoi.config.schema import Application
from nvoi.kubernetes.names import build_part_name
from nvoi.kubernetes.workload import Manifest, Mount
from nvoi.naming import build_volume_path

CLAIM = "data"
CLAIM_SIZE = "10Gi"


@dataclass(frozen=True)
class Folder:
    """A volume's folder, and the server group that it is on."""

    group: str
    path: str


def build_mounts(app: str, groups: tuple[str, ...], mounts: Mapping[str, str]) -> tuple[Mount, ...]:
    """The mounts of a service that runs on ``groups``: the config's checks leave it only one."""
    return tuple(
        Mount(volume, build_volume_path(app, group, volume), path)
        for group in groups[:1]
        for volume, path in mounts.items()
    )


def merge_mounts(first: Iterable[Mount], others: Iterable[Mount]) -> tuple[Mount, ...]:
    """Both, without those of ``others`` whose paths are taken: Kubernetes takes a path once."""
    merged: dict[str, Mount] = {}
    for mount in (*first, *others):
        merged.setdefault(mount.path.rstrip("/"), mount)
    return tuple(merged.values())


def build_volumes(mounts: Iterable[Mount]) -> list[Manifest]:
    """``spec.volumes`` of a pod: each volume once, however often it is mounted."""
    folders = {mount.volume: mount.folder for mount in mounts}
    return [
        {"name": build_part_name(volume), "hostPath": {"path": folder, "type": "Directory"}}
        for volume, folder in folders.items()
    ]


def build_volume_mounts(mounts: Iterable[Mount], claim: str | None = None) -> list[Manifest]:
    """``volumeMounts`` of a container; ``claim`` is the path of :func:`build_claim`'s disk."""
    claims: list[Manifest] = [{"name": CLAIM, "mountPath": claim}] if claim else []
    return claims + [
        {"name": build_part_name(mount.volume), "mountPath": mount.path} for mount in mounts
    ]


def build_claim(labels: dict[str, str]) -> Manifest:
    """Asks for a folder on the disk of whichever server the pod comes to be on, and stays on.

    It is k3s's own provisioner that makes it (k3s documentation, "Volumes and Storage"), and
    counts no sizes. It outlives the StatefulSet.
    """
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "labels": labels},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local-path",
            "resources": {"requests": {"storage": CLAIM_SIZE}},
        },
    }


def list_folders(application: Application) -> tuple[Folder, ...]:
    """Every folder that the app's volumes are on, in the order of the config."""
    return tuple(
        Folder(name, build_volume_path(application.name, name, volume))
        for name, group in application.servers.items()
        for volume in group.volumes
    )
