"""The folders of the app's volumes on its servers: made and noted as its own, told and removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from nvoi.errors import NvoiError, RemoteError
from nvoi.invocation import name_command
from nvoi.kubernetes.ownership import find_claims, read_reference
from nvoi.log.levels import get_logger
from nvoi.naming import NOTES_FOLDER, VOLUMES_FOLDER, build_server_name, build_volume_path
from nvoi.operation import Step
from nvoi.parallel import work_on_all
from nvoi.providers import Server
from nvoi.ssh.host import Host, as_root
from nvoi.targets.cluster.cleanup import remove_objects
from nvoi.targets.cluster.context import ClusterContext

log = get_logger("nvoi.cluster")

CLAIMS = ("persistentvolumeclaims",)


def make_volumes(context: ClusterContext) -> None:
    facts = context.survey.facts
    lacking = {
        server.host: (server, folders)
        for server in context.survey.servers
        # A disk may have grown, or not be mounted.
        if (folders := find_lacking(server, facts[server.name].volumes)) or server.disks
    }
    if not lacking:
        return
    context.check_lock()

    def make(host: Host) -> None:
        server, folders = lacking[host]
        for line in bring_volumes(context, server, folders):
            log.info("%s: %s", server.name, line)
        for folder in folders:
            volumes = facts[server.name].volumes
            if server.is_kept(folder, volumes):
                continue
            owner = server.find_owner(folder)
            done = "changed" if folder in volumes else "made"
            whose = f", of user {owner}" if owner else ""
            log.info("%s: %s %s%s", server.name, done, folder, whose)

    work_on_all([*lacking], make)


def bring_volumes(
    context: ClusterContext, server: Server, folders: Sequence[str]
) -> tuple[str, ...]:
    """What was done so that ``folders`` can be used."""
    command = as_root(server.host, context.provider.build_volumes(server, folders))
    try:
        return context.connections.run(server.host, command).lines
    except RemoteError as error:
        if not error.output:
            raise
        reason = error.output[-1]
        raise NvoiError(f"{server.host}: {reason}", output=error.output[:-1]) from error


def find_lacking(server: Server, found: Mapping[str, str]) -> list[str]:
    """The folders of volumes that are not there, are another's, or are not noted as the app's."""
    return [
        folder
        for folder in server.volumes
        if not server.is_kept(folder, found) or build_note(server, folder) not in found
    ]


def build_note(server: Server, folder: str) -> str:
    """The folder that says of a volume's that it is the app's."""
    return f"{server.notes}/{folder.rpartition('/')[2]}"


def list_volumes(context: ClusterContext) -> Iterator[tuple[str, str]]:
    """Each server's name and the folder of each of its volumes, as the config has them."""
    name = context.application.name
    for key, group in context.application.servers.items():
        for volume in group.volumes:
            # Disks that are rented are one server's.
            count = 1 if context.provider.is_rented else len(group.hosts) or group.count
            for index in range(1, count + 1):
                yield build_server_name(name, key, index), build_volume_path(name, key, volume)


def list_wanted_disks(context: ClusterContext) -> list[str]:
    """What the config has on disks that the cluster finds."""
    items: Any = context.manifests.database
    return [str(read_reference(item)) for item in items if item["spec"].get("volumeClaimTemplates")]


def tell_data(context: ClusterContext) -> None:
    """Say which data is left. Nothing fails for want of an answer: all of it stays."""
    left = [
        f"{server.name}: {folder}"
        for server in context.survey.servers
        for folder in list_folders(context, server)
    ]
    if context.survey.has_cluster:
        with suppress(NvoiError):
            claims = find_claims(context.application.name, context.cluster.get(CLAIMS))
            left += map(str, claims)
    for one in left:
        log.info("Its data stays: %s", one)
    for server in context.survey.list_reached():
        tell_doubtful(context, server)
    if left:
        log.info("%s removes it", name_command("delete --delete-volumes"))


def list_folders(context: ClusterContext, server: Server) -> list[str]:
    """The app's folders on a server, also those that the config no longer names.

    Of a server that was not reached, those in the config are told.
    """
    if server.name not in context.survey.facts:
        return [*server.volumes]
    found = context.survey.facts[server.name].volumes
    folders = [one for one in found if not one.startswith(f"{NOTES_FOLDER}/")]
    return [one for one in folders if one in server.volumes or build_note(server, one) in found]


def tell_doubtful(context: ClusterContext, server: Server) -> None:
    """Say which folders may be the app's by their names, and are noted as nobody's.

    The gem nvoi 0.2 has noted none.
    """
    found = context.survey.facts[server.name].volumes
    owned = {note.rpartition("/")[2] for note in found if note.startswith(f"{NOTES_FOLDER}/")}
    prefix = f"{VOLUMES_FOLDER}/{context.application.name}-"
    for folder in found:
        is_named = folder in server.volumes or folder.rpartition("/")[2] in owned
        if folder.startswith(prefix) and not is_named:
            log.warning(
                "%s: %s may be its data or another app's, and stays: remove it there if it is "
                "of no use",
                server.name,
                folder,
            )


def delete_claims(context: ClusterContext) -> None:
    claims = find_claims(context.application.name, context.cluster.get(CLAIMS))
    remove_objects(context, claims)


def delete_folders(context: ClusterContext, server: Server) -> None:
    folders = list_folders(context, server)
    whole = replace(server, volumes=(*dict.fromkeys((*folders, *server.volumes)),))
    command = context.provider.build_volumes_removal(whole)
    if command is not None:
        context.check_lock()
        context.connections.run(server.host, as_root(server.host, command))
        for folder in folders:
            log.info("Removed %s: %s", server.name, folder)
    tell_doubtful(context, server)


def plan_volumes(context: ClusterContext) -> Iterator[str]:
    facts = context.survey.facts
    for server, folder in list_volumes(context):
        if server not in facts or folder not in facts[server].volumes:
            yield f"makes {folder} on {server}, where it is not there"


VOLUMES: Step[ClusterContext] = Step(name="Volumes", run=make_volumes, plan=plan_volumes)
