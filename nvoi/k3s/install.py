"""Makes the servers one cluster of k3s, and keeps it so."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from nvoi.command import Command, build_script
from nvoi.errors import NvoiError, RemoteError
from nvoi.k3s import read_script
from nvoi.k3s.drain import STORAGE_FOLDER, list_claims, uninstall
from nvoi.k3s.facts import Facts
from nvoi.k3s.nodes import (
    READY_SECONDS,
    ClusterNode,
    check_groups,
    ensure_marks,
    format_address,
    keep_markers,
    list_nodes,
    map_groups,
    wait_until_ready,
)
from nvoi.k3s.plan import API_PORT, K3sSettings, ServerTask, build_tasks, find_orphans, find_stale
from nvoi.k3s.requirements import check_all
from nvoi.k3s.survey import WAITING, survey
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.ownership import Reference
from nvoi.kubernetes.registry import DATA_FOLDER
from nvoi.log.levels import get_logger
from nvoi.log.masking import add_secrets
from nvoi.parallel import CancelledError, work_on_all
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import as_root

log = get_logger("nvoi.k3s")

#: Seconds for the installer's downloads; the program has 75 MB.
INSTALL_SECONDS = 900
LIST_FOLDER = '[ ! -d "$1" ] || ls -A "$1"'
DISK_FULL = "No space left on device"
#: The exit codes of the script that say what went wrong; sysexits(3) leaves these alone.
NO_INSTALLER = 90
INSTALLER_FAILED = 91
NOT_STARTED = 92
NOT_READY = 93


@dataclass(frozen=True)
class Patience:
    """Seconds that k3s has to start, and nodes have to be ready."""

    server: int = 180
    agent: int = 120
    ready: float = READY_SECONDS


@dataclass(frozen=True)
class Installer:
    """Has servers run k3s.

    Once they do, ``nodes`` are the cluster's, and ``groups`` the groups that these had before, by
    their names. Of old nodes whose places others took, ``_replaced`` has these by the new names.
    """

    connections: Connections
    cluster: Cluster
    servers: Sequence[Server]
    settings: K3sSettings
    app: str
    patience: Patience = field(default_factory=Patience)
    spare: Collection[str] = ()
    nodes: list[ClusterNode] = field(default_factory=list, init=False)
    groups: dict[str, str] = field(default_factory=dict, init=False)
    _lost: set[str] = field(default_factory=set, init=False)
    _replaced: dict[str, ClusterNode] = field(default_factory=dict, init=False)

    def ensure_k3s(self, facts: Mapping[str, Facts]) -> list[ServerTask]:
        """Have every server run k3s as the config says, and be a node of the cluster.

        Takes what the servers are like, and returns what each of them is now, the master first. All
        nodes are ready then, but for those of servers in ``spare`` that were not ready before.
        """
        tasks = build_tasks(self.servers, facts, self.settings)
        if any(task.work for task in tasks):
            # Another run may have had the lock since they were asked.
            now = self._look()
            if orphans := find_orphans(self.servers, now):
                self._free(orphans)
                now = self._look()
            tasks = self._install(now)
        else:
            log.info("k3s %s runs on all servers as it should", tasks[0].node.version)
        self._ensure_nodes(tasks)
        return tasks

    def _free(self, servers: Sequence[Server]) -> None:
        """Take servers out of a cluster that is gone, unless data of that is on the disk of one."""
        command = build_script("nvoi-storage", LIST_FOLDER, STORAGE_FOLDER)
        found = work_on_all(
            servers,
            lambda one: self.connections.run(one.host, as_root(one.host, command)).lines,
        )
        if kept := [one.name for one, lines in found.items() if lines]:
            raise NvoiError(
                f"{', '.join(kept)}: the cluster is gone with its master, and data of it is in "
                f"{STORAGE_FOLDER}",
                hint="copy it away, remove the folder there, and deploy again",
            )
        for one in servers:
            log.warning("%s: its cluster is gone with the master: it joins the new one", one.name)
        uninstall(self.connections, servers)

    def _look(self) -> dict[str, Facts]:
        found = survey(self.connections, self.servers, ingress=self.settings.ingress)
        return check_all(self.servers, found, self.settings.version)

    def _ensure_nodes(self, tasks: Sequence[ServerTask]) -> None:
        """Have all nodes ready and marked, but those to spare that this run has not set up."""
        servers = {task.node.name: task.server for task in tasks}
        spare = {
            task.node.name
            for task in tasks
            if task.server.name in self.spare
            if not task.starts or task.node.name in self._lost
        }
        seconds = self.patience.ready
        nodes = wait_until_ready(self.cluster, [*servers], seconds=seconds, spare=spare)
        if keep_markers(self.cluster, nodes, self._replaced, self.app):
            nodes = list_nodes(self.cluster)
        self.groups.update(map_groups(nodes))
        if ensure_marks(self.cluster, nodes, servers, self.app):
            nodes = list_nodes(self.cluster)
        self.nodes.extend(nodes)

    def _install(self, facts: Mapping[str, Facts]) -> list[ServerTask]:
        """Do all that is to be done: the master first, new workers at once, others in turn."""
        k3s = facts[self.servers[0].name].k3s
        nodes = list_nodes(self.cluster) if k3s.is_active and k3s.applied else []
        stale = find_stale(self.servers, facts, nodes, self.app)
        for node in stale:
            check_lost(node, list_claims(self.cluster, node.name))
        others = [node for node in nodes if node not in stale]
        tasks = build_tasks(self.servers, facts, self.settings, others)
        self._replaced.update(
            (task.node.name, old)
            for task in tasks
            for old in stale
            if task.node.name == old.name or format_address(task.server.host) == old.address
        )
        check_groups(nodes, {task.node.name: task.server for task in tasks}, self.app)
        tell_insecure(self.settings.install_url, tasks, facts)
        master, *agents = tasks
        add_secrets(master.node.token.reveal())
        new = [task for task in agents if task.work and not task.is_running]
        down = {node.name for node in nodes if not node.is_ready}
        # What new workers need before they can start comes to them while the master starts.
        work_on_all(
            [master, *new] if master.work else new,
            lambda task: self._attempt(
                task, down, installs=task.installs, starts=task.starts and task is master
            ),
        )
        for node in stale:
            log.info("%s: its server was set up anew; the old node is removed", node.name)
            self.cluster.delete([Reference("Node", node.name)], wait=False)
        work_on_all(new, lambda task: self._attempt(task, down, installs=False, starts=True))
        for task in agents:
            if task.work and task.is_running:
                self._attempt(task, down, installs=task.installs, starts=task.starts)
        return tasks

    def _attempt(
        self, task: ServerTask, down: Collection[str], *, installs: bool, starts: bool
    ) -> None:
        """Set up a server, unless it is one to spare whose node is ``down``, and it failed before.

        A node that was running is waited for.
        """
        if task.node.name in self._lost:
            return
        try:
            self._set_up(task, installs=installs, starts=starts)
            if starts and task.is_running:
                node, seconds = task.node, self.patience.ready
                versions = {node.name: node.version}
                wait_until_ready(self.cluster, [node.name], versions=versions, seconds=seconds)
        except CancelledError:
            raise
        except NvoiError as error:
            if task.server.name not in self.spare or task.node.name not in down:
                raise
            log.warning("%s", error)
            self._lost.add(task.node.name)

    def _set_up(self, task: ServerTask, *, installs: bool, starts: bool) -> None:
        """Write the task's files on its server, and have k3s installed and started there."""

        def hear(line: str) -> None:
            if line.startswith(WAITING):
                log.info("%s: %s", task.server.name, line)

        tell_work(task, installs=installs, starts=starts)
        host, url = task.server.host, self.settings.install_url
        seconds = self.patience.agent if task.node.master_ip else self.patience.server
        command = build_setup(task, url, seconds, installs=installs, starts=starts)
        try:
            self.connections.run(
                host,
                as_root(host, command),
                stdin=(task.config.reveal() + task.registries.reveal()).encode(),
                timeout=INSTALL_SECONDS + seconds,
                idle_timeout=INSTALL_SECONDS,
                on_line=hear,
            )
        except RemoteError as error:
            raise explain(error, task, url) from error
        if starts:
            node = task.node
            log.ok("%s: k3s %s runs as node %s", task.server.name, node.version, node.name)


def build_setup(
    task: ServerTask, install_url: str, seconds: int, *, installs: bool, starts: bool
) -> Command:
    """The command for root, which reads both files; starting may take ``seconds``."""
    sizes = [len(text.encode()) for text in (task.config, task.registries)]
    flags = ["yes" if flag else "no" for flag in (installs, starts)]
    what = (task.node.role, task.node.version, install_url, *map(str, sizes), task.stamp)
    return build_script("nvoi-k3s", read_script("install.sh"), *what, *flags, seconds, DATA_FOLDER)


def check_lost(node: ClusterNode, claims: Sequence[str]) -> None:
    """See that nothing of value was on a server that is gone: what uses it would begin empty."""
    if claims:
        raise NvoiError(
            f"the server that was the node {node.name} is gone, and data was on its own disk: "
            f"{', '.join(claims)}",
            hint="delete these claims with kubectl and deploy again: what uses them begins empty, "
            "and takes a dump",
        )


def tell_insecure(
    install_url: str, tasks: Sequence[ServerTask], facts: Mapping[str, Facts]
) -> None:
    """Log where the installer, which root runs, comes as anybody in between makes it.

    Source: BusyBox's wget says itself that it does not validate certificates.
    """
    names = [task.server.name for task in tasks if task.installs]
    if names and not install_url.startswith("https://"):
        log.warning(
            "k3s.install_url is not https: anyone on the way can become root on the servers"
        )
        return
    for name in names:
        if facts[name].downloader == "busybox":
            log.warning(
                "%s: BusyBox wget downloads k3s without verifying TLS: install curl",
                name,
            )


def tell_work(task: ServerTask, *, installs: bool, starts: bool) -> None:
    name, node = task.server.name, task.node
    role = "a worker" if node.master_ip else "the master"
    if installs:
        log.info("%s: installing k3s %s as %s at %s", name, node.version, role, node.ip)
    elif starts:
        log.info("%s: %s k3s", name, "restarting" if task.is_running else "starting")
    else:
        log.info("%s: writing the settings of k3s", name)


def explain(error: RemoteError, task: ServerTask, install_url: str) -> NvoiError:
    host, node = task.server.host, task.node
    unit = "k3s-agent" if node.master_ip else "k3s"
    if any(DISK_FULL in line for line in error.output):
        message = f"{host}: its disk is full"
        hint = "free space under /var/lib and /usr/local/bin, and deploy again: it goes on there"
    elif error.status == NO_INSTALLER:
        message = f"{host}: the installer of k3s cannot be had from {install_url}"
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
