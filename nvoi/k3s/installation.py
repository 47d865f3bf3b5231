"""Makes the servers one cluster of k3s, and keeps it so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nvoi.errors import NvoiError, RemoteError
from nvoi.k3s.configuration import API_PORT, K3sSettings
from nvoi.k3s.facts import Facts
from nvoi.k3s.installer import (
    INSTALLER_FAILED,
    NO_INSTALLER,
    NOT_READY,
    NOT_STARTED,
    Work,
    build_input,
    build_setup,
)
from nvoi.k3s.nodes import ClusterNode, check_groups, list_nodes
from nvoi.k3s.planning import Task, find_stale, plan
from nvoi.k3s.readiness import READY_SECONDS, wait_until_ready
from nvoi.k3s.requirements import check_all
from nvoi.k3s.survey import survey
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.ownership import Reference
from nvoi.log.levels import get_logger
from nvoi.log.masking import add_secrets
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import as_root

log = get_logger("nvoi.k3s")

#: Seconds for the installer's downloads; the program has 75 MB.
INSTALL_SECONDS = 900
DISK_FULL = "No space left on device"
#: What the lines begin with that say what a server waits for.
WAITING = "waiting for "
START = Work(writes=False, installs=False, starts=True)


@dataclass(frozen=True)
class Patience:
    """Seconds that k3s may take: to start on the master, on a worker, and to be ready."""

    server: int = 180
    agent: int = 120
    ready: float = READY_SECONDS


USUAL = Patience()


def ensure_k3s(
    connections: Connections,
    servers: Sequence[Server],
    facts: Mapping[str, Facts],
    settings: K3sSettings,
    cluster: Cluster,
    *,
    app: str,
    patience: Patience = USUAL,
) -> dict[str, str]:
    """Have every server run k3s as the config says; nothing is sent where all do.

    Args:
        connections: those of the run, which holds the lock.
        servers: those of the config, the master first.
        facts: what they are like, by their names.
        settings: what the config says of k3s.
        cluster: the one that they make.
        app: the app's name.
        patience: other than the usual one.

    Returns:
        The names of the nodes by those of the servers.

    Raises:
        HostsError: k3s could not be set up on several servers.
        NvoiError: on one of them.
    """
    tasks = plan(servers, facts, settings)
    if not all(task.is_done for task in tasks):
        # Another run may have had the lock since they were asked.
        facts = survey(connections, servers, lambda _server, _architecture: None)
        check_all(servers, facts, settings)
        installer = Installer(connections, cluster, settings, patience)
        tasks = installer.install(servers, facts, app)
    else:
        log.info("k3s %s runs on all servers as it should", tasks[0].node.version)
    return {task.server.name: task.node.name for task in tasks}


class Installer:
    """Sets k3s up on servers that are not as they should be."""

    def __init__(
        self,
        connections: Connections,
        cluster: Cluster,
        settings: K3sSettings,
        patience: Patience,
    ) -> None:
        self._connections = connections
        self._cluster = cluster
        self._settings = settings
        self._patience = patience

    def install(
        self, servers: Sequence[Server], facts: Mapping[str, Facts], app: str
    ) -> list[Task]:
        """Do all that is to be done: the master first, new workers at once, others in turn."""
        nodes = self._list_nodes(facts[servers[0].name])
        stale = find_stale(servers, facts, nodes)
        tasks = plan(servers, facts, self._settings, [one for one in nodes if one not in stale])
        check_groups(nodes, {task.node.name: task.server for task in tasks}, app)
        tell_insecure(self._settings.install_url, tasks, facts)
        master, *agents = tasks
        add_secrets(master.node.token.reveal())
        new = [task for task in agents if not task.is_running and not task.is_done]
        self._begin(master, new)
        for node in stale:
            log.info("%s: its server was set up anew; the old node is removed", node.name)
            self._cluster.delete([Reference("Node", node.name)], wait=False)
        self._start(new)
        for task in agents:
            if task.is_running and not task.is_done:
                self._renew(task)
        return tasks

    def _list_nodes(self, master: Facts) -> list[ClusterNode]:
        """The nodes that there are, where the master was set up wholly and runs."""
        return list_nodes(self._cluster) if master.k3s.is_active and master.k3s.applied else []

    def _begin(self, master: Task, new: Sequence[Task]) -> None:
        """Set up the master wholly, and beside it what new workers need before they start."""
        tasks = {
            task.server.host: task
            for task in (master, *new)
            if not task.is_done and (task is master or task.work.writes or task.work.installs)
        }

        def work(task: Task) -> None:
            starts = task.work.starts and task is master
            self._run(task, Work(task.work.writes, task.work.installs, starts))

        if tasks:
            self._connections.on_all([*tasks], lambda host: work(tasks[host]))
        if master.is_running and not master.is_done:
            self._wait_for(master)

    def _start(self, new: Sequence[Task]) -> None:
        """Start the new workers, all at once."""
        tasks = {task.server.host: task for task in new if task.work.starts}
        if tasks:
            self._connections.on_all([*tasks], lambda host: self._run(tasks[host], START))

    def _renew(self, task: Task) -> None:
        """Bring a worker that runs up to date, and wait until it is back."""
        self._run(task, task.work)
        if task.work.starts:
            self._wait_for(task)

    def _wait_for(self, task: Task) -> None:
        wait_until_ready(
            self._cluster,
            [task.node.name],
            versions={task.node.name: task.node.version},
            seconds=self._patience.ready,
        )

    def _run(self, task: Task, work: Work) -> None:
        """Do ``work`` on the task's server.

        Raises:
            NvoiError: it failed; says why in the words of k3s.
        """
        host, node = task.server.host, task.node
        tell(task, work)
        is_server = node.role == "server"
        seconds = self._patience.server if is_server else self._patience.agent
        install_url = self._settings.install_url
        command = build_setup(
            node, work, task.files, task.stamp, install_url=install_url, seconds=seconds
        )
        try:
            self._connections.run(
                host,
                as_root(host, command),
                stdin=build_input(work, task.files),
                timeout=INSTALL_SECONDS + seconds,
                idle_timeout=INSTALL_SECONDS,
                on_line=lambda line: tell_waiting(task, line),
            )
        except RemoteError as error:
            raise explain(error, task, self._settings) from error
        if work.starts:
            log.ok("%s: k3s %s runs as node %s", task.server.name, node.version, node.name)


def tell_insecure(install_url: str, tasks: Sequence[Task], facts: Mapping[str, Facts]) -> None:
    """Log where the installer, which root runs, comes as anybody in between makes it.

    Source: BusyBox's wget says itself that it does not validate certificates.
    """
    names = [task.server.name for task in tasks if task.work.installs]
    if names and not install_url.startswith("https://"):
        log.warning(
            "k3s.install_url is not https: whoever is between it and a server can be root there"
        )
        return
    for name in names:
        if facts[name].downloader == "busybox":
            log.warning(
                "%s: the wget of BusyBox does not check whom it downloads k3s from: install curl",
                name,
            )


def tell(task: Task, work: Work) -> None:
    """Log what is about to be done."""
    name, node = task.server.name, task.node
    role = "the master" if node.role == "server" else "a worker"
    if work.installs:
        log.info("%s: installing k3s %s as %s at %s", name, node.version, role, node.ip)
    elif work.starts:
        log.info("%s: %s k3s", name, "restarting" if task.is_running else "starting")
    else:
        log.info("%s: writing the settings of k3s", name)


def tell_waiting(task: Task, line: str) -> None:
    """Log what the server waits for, which it says every 15 s."""
    if line.startswith(WAITING):
        log.info("%s: %s", task.server.name, line)


def explain(error: RemoteError, task: Task, settings: K3sSettings) -> NvoiError:
    """What has happened on the server, for people."""
    host, node = task.server.host, task.node
    unit = "k3s" if node.role == "server" else "k3s-agent"
    if any(DISK_FULL in line for line in error.output):
        message = f"{host}: its disk is full"
        hint = "free space under /var/lib and /usr/local/bin, and deploy again: it goes on there"
    elif error.status == NO_INSTALLER:
        message = f"{host}: the installer of k3s cannot be had from {settings.install_url}"
        hint = "let the server reach it, or set k3s.install_url to a mirror"
    elif error.status == INSTALLER_FAILED:
        message = f"{host}: the installer of k3s {node.version} failed"
        hint = "see its output; the server must reach github.com or a mirror of k3s' releases"
    elif error.status in (NOT_STARTED, NOT_READY) and node.master_ip:
        message = f"{host}: {unit} did not start"
        hint = (
            f"the server must reach {node.master_ip} port {API_PORT}/tcp, and all servers each "
            "other on 10250/tcp and 51820/udp: open them in firewalls and security groups"
        )
    elif error.status in (NOT_STARTED, NOT_READY):
        message, hint = f"{host}: {unit} did not start", f"see `journalctl -u {unit}` there"
    else:
        message = f"{host}: k3s could not be set up: {error.message.rpartition(': ')[2]}"
        hint = error.hint
    return NvoiError(message, hint=hint, output=error.output)
