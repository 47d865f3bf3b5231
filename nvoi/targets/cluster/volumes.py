"""The step that makes the folders of the app's volumes."""

from __future__ import annotations

from collections.abc import Iterator

from nvoi.config.schema import Application
from nvoi.kubernetes.volumes import list_folders
from nvoi.log.levels import get_logger
from nvoi.naming import build_server_name
from nvoi.parallel import work_on_all
from nvoi.providers import Server
from nvoi.ssh.host import Host, as_root
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.step import Step

log = get_logger("nvoi.cluster")


def find_lacking(context: ClusterContext, server: Server) -> list[str]:
    """The folders that the server does not have."""
    facts = context.facts[server.name]
    return [folder for folder in server.volumes if folder not in facts.volumes]


def run(context: ClusterContext) -> None:
    """Make what is lacking, on all servers at once."""
    lacking = {
        server.host: (server, found)
        for server in context.servers
        if (found := find_lacking(context, server))
    }
    if not lacking:
        log.info("All volumes are there")
        return
    context.check_lock()

    def make(host: Host) -> None:
        server, folders = lacking[host]
        command = context.provider.build_volumes(server, folders)
        context.connections.run(host, as_root(host, command))
        for folder in folders:
            log.info("%s: made %s", server.name, folder)

    work_on_all([*lacking], make)


def plan(context: ClusterContext) -> Iterator[str]:
    """The folders."""
    for server, folder in list_places(context.application):
        yield f"makes {folder} on {server}, where it is not there"


def list_places(application: Application) -> Iterator[tuple[str, str]]:
    """Each server's name and the folder of each of its volumes, as the config has them."""
    for folder in list_folders(application):
        group = application.servers[folder.group]
        for index in range(1, (len(group.hosts) or group.count) + 1):
            yield build_server_name(application.name, folder.group, index), folder.path


VOLUMES: Step[ClusterContext] = Step(name="Volumes", run=run, plan=plan)
