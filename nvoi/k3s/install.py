"""Makes the servers one cluster of k3s, and keeps it so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from nvoi.command import Command, build_script
from nvoi.errors import NvoiError, RemoteError
from nvoi.k3s.facts import Facts
from nvoi.k3s.nodes import (
    READY_SECONDS,
    ClusterNode,
    check_groups,
    ensure_marks,
    find_left,
    forget_app,
    format_address,
    list_nodes,
    wait_until_ready,
)
from nvoi.k3s.plan import API_PORT, K3sSettings, Task, build_tasks, find_stale
from nvoi.k3s.requirements import check_all
from nvoi.k3s.survey import WAITING, survey
from nvoi.k3s.uninstall import DRAIN_SECONDS, SERVICE, remove_node
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.ownership import Reference
from nvoi.kubernetes.registry import DATA_FOLDER
from nvoi.log.levels import get_logger
from nvoi.log.masking import add_secrets
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import as_root

log = get_logger("nvoi.k3s")

#: Seconds for the installer's downloads; the program has 75 MB.
INSTALL_SECONDS = 900
DISK_FULL = "No space left on device"
#: The exit codes of the script that say what went wrong; sysexits(3) leaves these alone.
NO_INSTALLER = 90
INSTALLER_FAILED = 91
NOT_STARTED = 92
NOT_READY = 93

#: Its arguments: role, release, URL of the installer, bytes of config.yaml, bytes of
#: registries.yaml, stamp, whether the installer is to run, whether k3s is to be started, seconds
#: to wait for that, folder of the registry's data. On its standard input are the two files.
#:
#: A service is waited for here and not by systemctl(1), whose own wait has no end: the
#: installer's units have TimeoutStartSec=0. The stamp is gone from before the first change until
#: k3s runs with all of them, so that the next run sees what was interrupted. What the installer
#: makes, everybody may read.
SETUP = """\
restarts() {
  has_openrc && { echo 0; return; }
  number=$(systemctl show --property=NRestarts --value "$1" 2>/dev/null </dev/null)
  echo "${number:-0}"
}
moment() { sleep 0.2 2>/dev/null || sleep 1; }
show_log() {
  echo "the last lines of $1:" >&2
  if has_openrc; then tail -n 20 "/var/log/$1.log" >&2 || true
  else journalctl --unit="$1" --lines=20 --no-pager --output=cat >&2 </dev/null || true; fi
}
set -eu
role=$1 release=$2 url=$3 config=$4 registries=$5 stamp=$6 installs=$7 starts=$8 seconds=$9
data=${10}
folder=/etc/rancher/k3s
unit=k3s
[ "$role" = server ] || unit=k3s-agent
(umask 022; mkdir -p "$folder")
umask 077
if [ "$role" = server ]; then
  # Made by the kubelet, it would be everybody's to read: there is code in images.
  (umask 066; mkdir -p "$data")
  chmod 0700 "$data"
fi
rm -rf "$folder"/.nvoi.*
new=$(mktemp -d "$folder/.nvoi.XXXXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM PIPE
give_up() {
  # What downloads tells nobody that there was no room.
  for place in "${TMPDIR:-/tmp}" /usr/local/bin /var/lib "$folder"; do
    free=$(df -P -k "$place" 2>/dev/null | awk 'END { print $(NF - 2) }')
    [ "${free:-9999}" -ge 1024 ] || echo "$place: No space left on device" >&2
  done
  exit "$1"
}
move() {
  sync "$1" 2>/dev/null || sync
  mv -f "$1" "$2"
}
[ "$starts" = no ] && [ "$installs" = no ] || rm -f "$folder/nvoi-applied"
cat >"$new/all"
size=$(wc -c <"$new/all")
if [ "$size" -ne $((config + registries)) ]; then
  echo "only $size of $((config + registries)) bytes arrived" >&2
  exit 1
fi
head -c "$config" "$new/all" >"$new/config.yaml"
tail -c "$registries" "$new/all" >"$new/registries.yaml"
move "$new/config.yaml" "$folder/config.yaml"
move "$new/registries.yaml" "$folder/registries.yaml"
if [ "$installs" = yes ]; then
  echo "downloading the installer from $url"
  if command -v curl >/dev/null 2>&1; then
    # What is asked for over TLS comes over TLS, wherever it is redirected to.
    ways=http,https
    case $url in https:*) ways=https ;; esac
    curl -sSfL --proto-redir "=$ways" --connect-timeout 20 --max-time 120 \\
      -o "$new/install.sh" "$url" || give_up 90
  else wget -q -T 60 -O "$new/install.sh" "$url" || give_up 90; fi
  if [ "$(head -c 2 "$new/install.sh")" != '#!' ]; then
    echo "$url gives no shell script" >&2
    exit 90
  fi
  (
    umask 022
    INSTALL_K3S_VERSION=$release INSTALL_K3S_EXEC=$role INSTALL_K3S_SKIP_START=true \\
      sh "$new/install.sh" </dev/null
  ) || give_up 91
fi
[ "$starts" = yes ] || exit 0
echo "starting $unit"
if has_openrc; then rc-service "$unit" restart </dev/null
else
  # Not restarted: until that begins, the old one is still active.
  systemctl stop "$unit" </dev/null
  systemctl start --no-block "$unit" </dev/null
fi
began=$(date +%s) told=0
is_late() {
  passed=$(($(date +%s) - began))
  if [ $((passed - told)) -ge 15 ]; then
    told=$passed
    echo "waiting for $1 ($passed s)"
  fi
  [ "$passed" -ge "$seconds" ]
}
until is_active "$unit"; do
  if is_late "$unit to start" || [ "$(restarts "$unit")" -ge 3 ]; then
    show_log "$unit"
    exit 92
  fi
  moment
done
if [ "$role" = server ]; then
  until answer=$(k3s kubectl --request-timeout=10s get --raw=/readyz 2>&1 </dev/null); do
    if is_late 'the Kubernetes API'; then
      echo "the Kubernetes API is not ready: $answer" >&2
      show_log "$unit"
      exit 93
    fi
    moment
  done
fi
printf '%s\\n' "$stamp" >"$new/stamp"
move "$new/stamp" "$folder/nvoi-applied"
"""


@dataclass(frozen=True)
class Patience:
    """Seconds that each may take.

    Attributes:
        server: k3s, to start on the master.
        agent: the same on a worker.
        ready: nodes, to be ready.
        drain: pods, to leave a node that is removed.
    """

    server: int = 180
    agent: int = 120
    ready: float = READY_SECONDS
    drain: int = DRAIN_SECONDS


@dataclass(frozen=True)
class Installer:
    """Makes the servers, of which the master is first, one cluster for an app."""

    connections: Connections
    cluster: Cluster
    servers: Sequence[Server]
    settings: K3sSettings
    app: str
    patience: Patience = field(default_factory=Patience)

    def ensure_k3s(self, facts: Mapping[str, Facts]) -> dict[str, str]:
        """Have every server run k3s as the config says, and be a node of the cluster.

        Args:
            facts: what the servers are like, by their names.

        Returns:
            The names of the nodes by those of the servers.

        Raises:
            HostsError: k3s could not be set up on several servers.
            NvoiError: on one of them; or a node is not ready, or cannot be removed.
        """
        tasks = build_tasks(self.servers, facts, self.settings)
        if any(task.work for task in tasks):
            # Another run may have had the lock since they were asked.
            found = survey(self.connections, self.servers)
            tasks = self._install(check_all(self.servers, found, self.settings.version))
        else:
            log.info("k3s %s runs on all servers as it should", tasks[0].node.version)
        self._ensure_nodes({task.node.name: task.server for task in tasks})
        return {task.server.name: task.node.name for task in tasks}

    def _ensure_nodes(self, servers: Mapping[str, Server]) -> None:
        """Have the nodes of ``servers`` ready and marked, and no other node of the app's left."""
        nodes = wait_until_ready(self.cluster, [*servers], seconds=self.patience.ready)
        ensure_marks(self.cluster, nodes, servers, self.app)
        left = find_left(nodes, servers, self.app)
        shared = [node for node in left if len(node.markers) > 1]
        for node in shared:
            log.info("%s stays a node for other apps", node.name)
        forget_app(self.cluster, shared, self.app)
        kept = {format_address(server.host) for server in self.servers}
        for node in left:
            if node not in shared:
                seconds = self.patience.drain
                remove_node(self.connections, self.cluster, node, kept=kept, drain_seconds=seconds)

    def _install(self, facts: Mapping[str, Facts]) -> list[Task]:
        """Do all that is to be done: the master first, new workers at once, others in turn."""
        nodes = self._list_nodes(facts[self.servers[0].name])
        stale = find_stale(self.servers, facts, nodes)
        others = [node for node in nodes if node not in stale]
        tasks = build_tasks(self.servers, facts, self.settings, others)
        check_groups(nodes, {task.node.name: task.server for task in tasks}, self.app)
        tell_insecure(self.settings.install_url, tasks, facts)
        master, *agents = tasks
        add_secrets(master.node.token.reveal())
        new = [task for task in agents if task.work and not task.is_running]
        # What new workers need before they can start comes to them while the master starts.
        self._on_all([master, *new] if master.work else new, self._bring)
        if master.work and master.is_running:
            self._wait_for(master)
        for node in stale:
            log.info("%s: its server was set up anew; the old node is removed", node.name)
            self.cluster.delete([Reference("Node", node.name)], wait=False)
        self._on_all(new, lambda task: self._set_up(task, installs=False, starts=True))
        for task in agents:
            if task.work and task.is_running:
                self._renew(task)
        return tasks

    def _list_nodes(self, master: Facts) -> list[ClusterNode]:
        """The nodes that there are, where the master was set up wholly and runs."""
        return list_nodes(self.cluster) if master.k3s.is_active and master.k3s.applied else []

    def _on_all(self, tasks: Sequence[Task], work: Callable[[Task], None]) -> None:
        by_host = {task.server.host: task for task in tasks}
        if by_host:
            self.connections.on_all([*by_host], lambda host: work(by_host[host]))

    def _bring(self, task: Task) -> None:
        """Set up the master wholly, a new worker as far as it can be before the master is there."""
        starts = task.starts and task.server.is_master
        self._set_up(task, installs=task.installs, starts=starts)

    def _renew(self, task: Task) -> None:
        """Bring a worker that runs up to date, and wait until it is back."""
        self._set_up(task, installs=task.installs, starts=task.starts)
        if task.starts:
            self._wait_for(task)

    def _wait_for(self, task: Task) -> None:
        versions = {task.node.name: task.node.version}
        wait_until_ready(
            self.cluster, [task.node.name], versions=versions, seconds=self.patience.ready
        )

    def _set_up(self, task: Task, *, installs: bool, starts: bool) -> None:
        """Write the task's files on its server, and have k3s installed and started there.

        Raises:
            NvoiError: it failed; says why in the words of k3s.
        """
        tell_work(task, installs=installs, starts=starts)
        host, url = task.server.host, self.settings.install_url
        seconds = self.patience.agent if task.node.master_ip else self.patience.server
        command = build_setup(task, url, seconds, installs=installs, starts=starts)
        try:
            self.connections.run(
                host,
                as_root(host, command),
                stdin=build_input(task),
                timeout=INSTALL_SECONDS + seconds,
                idle_timeout=INSTALL_SECONDS,
                on_line=lambda line: tell_waiting(task.server.name, line),
            )
        except RemoteError as error:
            raise explain(error, task, url) from error
        if starts:
            node = task.node
            log.ok("%s: k3s %s runs as node %s", task.server.name, node.version, node.name)


def build_setup(
    task: Task, install_url: str, seconds: int, *, installs: bool, starts: bool
) -> Command:
    """The command for root that reads :func:`build_input`; starting may take ``seconds``."""
    sizes = [len(text.encode()) for text in (task.config, task.registries)]
    flags = ["yes" if flag else "no" for flag in (installs, starts)]
    what = (task.node.role, task.node.version, install_url, *map(str, sizes), task.stamp)
    return build_script("nvoi-k3s", SERVICE + SETUP, *what, *flags, seconds, DATA_FOLDER)


def build_input(task: Task) -> bytes:
    """The two files, which hold the token."""
    return (task.config.reveal() + task.registries).encode()


def tell_insecure(install_url: str, tasks: Sequence[Task], facts: Mapping[str, Facts]) -> None:
    """Log where the installer, which root runs, comes as anybody in between makes it.

    Source: BusyBox's wget says itself that it does not validate certificates.
    """
    names = [task.server.name for task in tasks if task.installs]
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


def tell_work(task: Task, *, installs: bool, starts: bool) -> None:
    """Log what is about to be done."""
    name, node = task.server.name, task.node
    role = "a worker" if node.master_ip else "the master"
    if installs:
        log.info("%s: installing k3s %s as %s at %s", name, node.version, role, node.ip)
    elif starts:
        log.info("%s: %s k3s", name, "restarting" if task.is_running else "starting")
    else:
        log.info("%s: writing the settings of k3s", name)


def tell_waiting(name: str, line: str) -> None:
    """Log what the server waits for, which it says every 15 s."""
    if line.startswith(WAITING):
        log.info("%s: %s", name, line)


def explain(error: RemoteError, task: Task, install_url: str) -> NvoiError:
    """What has happened on the server, for people."""
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
