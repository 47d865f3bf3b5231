"""What every server is like: one command a server, all at once, before any is changed."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from nvoi.command import Command, build_script
from nvoi.errors import NvoiError
from nvoi.k3s.facts import (
    ARCHITECTURES,
    CONFIG_FILE,
    HEADER,
    MARK,
    SECRET_KEYS,
    STAMP_FILE,
    Facts,
    read_facts,
    split_sections,
)
from nvoi.k3s.networks import POD_NETWORK, SERVICE_NETWORK, shuts_pods_out
from nvoi.k3s.nodes import list_nodes
from nvoi.k3s.requirements import check_all
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.registry import REGISTRIES_FILE
from nvoi.log.levels import get_logger
from nvoi.log.masking import add_secrets
from nvoi.naming import VOLUMES_FOLDER
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host

log = get_logger("nvoi.k3s")

#: What has to be free. Source: k3s documentation, "Requirements", "Inbound Rules".
MASTER_PORTS = (("tcp", 6443),)
NODE_PORTS = (("tcp", 10250), ("udp", 51820))
CLOUD_INIT_SECONDS = 600
#: Seconds for all else that is asked.
SURVEY_SECONDS = 120
WAITING = "waiting "
#: What lets pods and services in. Source: k3s documentation, "Requirements", "Operating Systems".
REMEDIES = {
    "ufw": f"ufw allow from {POD_NETWORK} && ufw allow from {SERVICE_NETWORK}",
    "firewalld": "firewall-cmd --permanent --zone=trusted "
    f"--add-source={POD_NETWORK} --add-source={SERVICE_NETWORK} && firewall-cmd --reload",
}

#: Its arguments: the ports asked for, as ``tcp:192B``; where k3s' and the volumes' files are; and
#: the first line of a config that nvoi wrote. Ports are taken from /proc/net (proc(5)): there a
#: TCP socket that listens is in state 0A, a UDP one that is not connected in 07. Of firewalls it
#: reads the files: ufw(8) keeps each rule as ``### tuple ### ACTION PROTOCOL PORT TO PORT FROM
#: in``, firewalld.zone(5) the sources that are trusted.
QUESTIONS = """\
PATH=$PATH:/usr/local/bin:/opt/bin:/usr/sbin:/sbin
ports=" $1 " config=$2 registries=$3 stamp=$4 volumes=$5 header=$6
section() { printf '\\n@nvoi %s\\n' "$1"; }
# Of the first of the folders that exists.
free() {
  while [ ! -d "$1" ]; do shift; done
  df -P -k "$1" | awk 'END { print $(NF - 2) }'
}
digest() { sha256sum 2>/dev/null <"$1" | cut -d ' ' -f 1; }
section os; cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release 2>/dev/null
section memory; awk '/^MemTotal:/ { print $2 }' /proc/meminfo
section disk
free /var/lib/rancher/k3s /var/lib/rancher /var/lib /
free /usr/local/bin /usr/local /usr /
section clock; date +%s
section machine; cat /etc/machine-id 2>/dev/null || cat /var/lib/dbus/machine-id 2>/dev/null
section supervisor
if [ -x /sbin/openrc-run ]; then echo openrc
elif command -v systemctl >/dev/null 2>&1; then
  # So it says where something else was booted with, such as in a container.
  [ "$(systemctl is-system-running 2>/dev/null </dev/null)" = offline ] || echo systemd
fi
section downloader
if command -v curl >/dev/null 2>&1; then echo curl
elif wget --version 2>/dev/null </dev/null | grep -q GNU; then echo wget
elif command -v wget >/dev/null 2>&1; then echo busybox; fi
section wireguard
if [ -d /sys/module/wireguard ] || modprobe -n -q wireguard 2>/dev/null; then echo yes
else echo unknown; fi
section k3s
for place in /usr/local/bin/k3s /opt/bin/k3s "$(command -v k3s)"; do
  if [ -x "$place" ]; then
    echo "program $place"
    echo "version $("$place" --version 2>/dev/null </dev/null | head -n 1)"
    break
  fi
done
role=
for pair in server:k3s agent:k3s-agent; do
  unit=${pair#*:}
  if [ -e "/etc/systemd/system/$unit.service" ]; then
    role=${pair%:*} state=$(systemctl is-active "$unit" 2>/dev/null </dev/null)
  elif [ -e "/etc/init.d/$unit" ]; then
    role=${pair%:*} state=inactive
    rc-service "$unit" status >/dev/null 2>&1 </dev/null && state=active
  fi
  [ -z "$role" ] || break
done
[ -z "$role" ] || printf 'role %s\\nstate %s\\n' "$role" "$state"
if [ -r "$config" ]; then
  [ "$(head -n 1 "$config")" != "$header" ] || echo 'ours yes'
  echo "config $(digest "$config")"
fi
[ ! -r "$registries" ] || echo "registries $(digest "$registries")"
[ ! -r "$stamp" ] || echo "applied $(head -n 1 "$stamp")"
section listening
found=$(
  for kind in tcp udp; do
    cat "/proc/net/$kind" "/proc/net/${kind}6" 2>/dev/null |
      awk -v kind="$kind" -v ports="$ports" '
        $4 == (kind == "tcp" ? "0A" : "07") {
          n = split($2, part, ":")
          if (index(ports, " " kind ":" part[n] " ")) print kind, $2, $10
        }'
  done
)
[ -z "$found" ] || printf '%s\\n' "$found"
section holders
if [ -n "$found" ] && [ -z "$role" ]; then
  ls -l /proc/[0-9]*/fd/ 2>/dev/null |
    awk -v inodes=" $(printf '%s\\n' "$found" | awk '{ printf "%s ", $3 }')" '
      /^\\/proc\\// { split($1, part, "/"); next }
      match($0, /socket:\\[[0-9]+\\]$/) {
        inode = substr($0, RSTART + 8, RLENGTH - 9)
        if (index(inodes, " " inode " ")) print inode, part[3]
      }' |
    while read -r inode process; do echo "$inode $(cat "/proc/$process/comm")"; done
fi
section addresses
ip -o addr show 2>/dev/null ||
  awk '/32 host LOCAL/ { print "-", address "/32" } { address = $2 }' /proc/net/fib_trie | sort -u
section routes
ip route show 2>/dev/null || cat /proc/net/route
section source
ip route get 192.0.2.1 2>/dev/null | head -n 1
section firewall
if grep -q '^ENABLED=yes' /etc/ufw/ufw.conf 2>/dev/null &&
  ! grep -q '^DEFAULT_INPUT_POLICY="ACCEPT"' /etc/default/ufw 2>/dev/null; then
  echo ufw
  awk '$2 == "tuple" && $4 ~ /^allow/ && $5 $6 == "anyany" && $10 ~ /^in(_cni0)?$/ { print $9 }' \\
    /etc/ufw/user.rules 2>/dev/null
elif [ "$(systemctl is-active firewalld 2>/dev/null </dev/null)" = active ]; then
  echo firewalld
  ! grep -q '^DefaultZone=trusted' /etc/firewalld/firewalld.conf 2>/dev/null || echo 0.0.0.0/0
  sed -n 's/.*<source address="\\([^"]*\\)".*/\\1/p' /etc/firewalld/zones/trusted.xml 2>/dev/null
fi
section volumes
for folder in "$volumes"/*; do [ ! -d "$folder" ] || printf '%s\\n' "$folder"; done
section token
[ ! -r /var/lib/rancher/k3s/server/token ] || head -n 1 /var/lib/rancher/k3s/server/token
section config
[ ! -r "$config" ] || cat "$config"
section end
"""

#: Runs as the user who logs in. Its arguments: the seconds to wait for cloud-init, and those of
#: QUESTIONS, which it runs as root where it can. ``cloud-init status`` is asked again and again,
#: as its ``--wait`` has no end where cloud-init never runs (it says "not started" then, and "not
#: run" before release 24.1).
ASK = """\
section() { printf '\\n@nvoi %s\\n' "$1"; }
section architecture; uname -m
section kernel; uname -sr
section cloud-init
if command -v cloud-init >/dev/null 2>&1; then
  began=$(date +%s) told=0
  while :; do
    state=$(cloud-init status 2>/dev/null </dev/null | sed -n 's/^status: *//p' | head -n 1)
    passed=$(($(date +%s) - began))
    case $state in
      running) ;;
      'not started' | 'not run')
        read -r up _ </proc/uptime
        [ "${up%%.*}" -lt 180 ] || break ;;
      *) break ;;
    esac
    [ "$passed" -lt "$1" ] || break
    if [ $((passed - told)) -ge 15 ]; then told=$passed; echo "waiting $passed"; fi
    sleep 1
  done
  echo "state ${state:-unknown}"
  if [ "$state" = error ]; then
    cloud-init status --long 2>/dev/null </dev/null | grep -A1 '^detail:' |
      tr '\\n' ' ' | sed 's/^detail: */detail /'
  fi
fi
section root
shift
if [ "$(id -u)" -eq 0 ]; then echo yes
elif ! command -v sudo >/dev/null 2>&1; then echo 'no sudo is not installed'
elif why=$(sudo -n true 2>&1); then
  echo yes; exec sudo -n -- sh -c "$questions" "$0" "$@"
else echo "no $(echo "$why" | head -n 1)"; fi
exec sh -c "$questions" "$0" "$@"
"""

#: Called with the architectures of all servers, by their names.
OnArchitectures = Callable[[Mapping[str, str]], None]


def check_servers(
    connections: Connections,
    servers: Sequence[Server],
    version: str | None,
    cluster: Cluster,
    on_architectures: OnArchitectures,
) -> dict[str, Facts]:
    """What the servers are like, by their names, where all of them can be nodes.

    Args:
        connections: those of the run.
        servers: those of the config, the master first.
        version: the release of k3s that the config names.
        cluster: asked of the nodes that cannot be reached, where the master can.
        on_architectures: called once all have told theirs, before they are asked all else.

    Raises:
        NvoiError: tells of all servers that cannot be reached, and all that is missing.
    """
    found = survey(connections, servers, on_architectures)
    master = found[servers[0].name]
    if isinstance(master, Facts) and master.k3s.is_active:
        tell_unreachable_nodes(found, cluster)
    facts = check_all(servers, found, version)
    architectures: dict[str, list[str]] = {}
    for server in servers:
        tell_facts(server.name, facts[server.name])
        architectures.setdefault(facts[server.name].architecture, []).append(server.name)
    if len(architectures) > 1:
        shown = "; ".join(f"{name}: {', '.join(which)}" for name, which in architectures.items())
        log.warning("the servers differ in architecture (%s): images must be made for all", shown)
    return facts


def tell_facts(name: str, facts: Facts) -> None:
    k3s = f"k3s {facts.k3s.version}" if facts.k3s.role else "no k3s yet"
    log.info("%s: %s, %s, %s", name, facts.os_name or facts.kernel, facts.architecture, k3s)
    if facts.cloud_init == "error":
        detail = f": {facts.cloud_init_detail}" if facts.cloud_init_detail else ""
        log.warning("%s: cloud-init failed%s", name, detail)
    if shuts_pods_out(facts):
        log.warning(
            "%s: %s does not let pods in, which then find neither each other nor any name; "
            "as root there: %s",
            name,
            facts.firewall,
            REMEDIES[facts.firewall],
        )


def tell_unreachable_nodes(found: Mapping[str, Facts | NvoiError], cluster: Cluster) -> None:
    """Log how the cluster sees the servers that do not answer."""
    known = {one.k3s.node_name for one in found.values() if isinstance(one, Facts)}
    if len(known) == len(found):
        return
    try:
        nodes = list_nodes(cluster)
    except NvoiError as error:
        log.debug("cannot ask for the nodes: %s", error)
        return
    for node in nodes:
        if node.name not in known and not node.is_ready:
            log.warning("the cluster says of the node %s: %s", node.name, node.state)


def survey(
    connections: Connections,
    servers: Sequence[Server],
    on_architectures: OnArchitectures = lambda _architectures: None,
) -> dict[str, Facts | NvoiError]:
    """What each server is like, by its name, or why it cannot be told."""
    by_host = {server.host: server for server in servers}
    architectures: dict[str, str] = {}
    lock = threading.Lock()

    def hear(server: Server, architecture: str) -> None:
        with lock:
            architectures[server.name] = architecture
            if len(architectures) == len(servers):
                on_architectures(architectures)

    def look(host: Host) -> Facts | NvoiError:
        try:
            return ask(connections, by_host[host], hear)
        except NvoiError as error:
            return error

    found = connections.on_all([*by_host], look)
    return {by_host[host].name: one for host, one in found.items()}


def ask(
    connections: Connections, server: Server, on_architecture: Callable[[Server, str], None]
) -> Facts:
    """What one server is like.

    Raises:
        NvoiError: it cannot be asked, or its answer is none.
    """
    listener = Listener(server, on_architecture)
    result = connections.run(
        server.host,
        build_survey(is_master=server.is_master),
        timeout=CLOUD_INIT_SECONDS + SURVEY_SECONDS,
        on_line=listener.hear,
        level=None,
        check=False,
    )
    sections = split_sections(result.stdout)
    if "end" not in sections:
        raise NvoiError(
            f"{server.host}: cannot find out what the server is like: exit code {result.exit_code}",
            hint="Linux with a POSIX shell and the usual small programs is needed there",
            output=result.stderr[-5:],
        )
    return read_facts(sections, listener.clock_offset)


def build_survey(*, is_master: bool) -> Command:
    """The command that asks; it changes nothing."""
    ports = (*(MASTER_PORTS if is_master else ()), *NODE_PORTS)
    script = f"questions={shlex.quote(QUESTIONS)}\n{ASK}"
    asked = " ".join(f"{protocol}:{port:04X}" for protocol, port in ports)
    paths = (CONFIG_FILE, REGISTRIES_FILE, STAMP_FILE, VOLUMES_FOLDER)
    return build_script("nvoi-survey", script, CLOUD_INIT_SECONDS, asked, *paths, HEADER)


@dataclass
class Listener:
    """Hears what a server says as it says it."""

    server: Server
    on_architecture: Callable[[Server, str], None]
    clock_offset: float = 0.0
    clock: Callable[[], float] = field(default=time.time)
    _section: str = ""

    def hear(self, line: str) -> None:
        if line.startswith(MARK):
            self._section = line.removeprefix(MARK)
        elif self._section == "architecture" and line.strip():
            self.on_architecture(self.server, ARCHITECTURES.get(line.strip(), line.strip()))
            self._section = ""
        elif self._section == "clock" and line.isdecimal():
            # A clock that says whole seconds is half of one behind, on the average.
            self.clock_offset = int(line) + 0.5 - self.clock()
        elif self._section == "cloud-init" and line.startswith(WAITING):
            seconds = line.removeprefix(WAITING)
            log.info("%s: waiting for cloud-init (%s s)", self.server.name, seconds)
        elif self._section == "token" and line:
            add_secrets(line)
        elif self._section == "config" and (secret := find_secret(line)):
            add_secrets(secret)


def find_secret(line: str) -> str | None:
    """The secret in one line of a config.yaml, to be hidden from all that is logged."""
    key, _, value = line.partition(":")
    is_secret = key.strip().strip("\"'") in SECRET_KEYS
    return (value.strip().strip("\"'") or None) if is_secret else None
