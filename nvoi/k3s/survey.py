"""What every server is like: one command a server, all at once, before any is changed."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from nvoi.command import Command, build_script
from nvoi.errors import AccessError, HostKeyError, NvoiError
from nvoi.k3s import read_script
from nvoi.k3s.facts import (
    ARCHITECTURES,
    CONFIG_FILE,
    HEADER,
    MARK,
    METADATA_UNIT_FILE,
    SECRET_KEYS,
    STAMP_FILE,
    Facts,
    read_facts,
    split_sections,
)
from nvoi.k3s.networks import SERVICE_NETWORK, shuts_pods_out
from nvoi.k3s.nodes import format_address, list_nodes
from nvoi.k3s.requirements import check_all, find_faults
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.ingress import PORTS as INGRESS_PORTS
from nvoi.kubernetes.pods import POD_NETWORK
from nvoi.kubernetes.registry import REGISTRIES_FILE
from nvoi.log.levels import get_logger
from nvoi.log.masking import add_secrets
from nvoi.naming import VOLUMES_FOLDER
from nvoi.parallel import work_on_all
from nvoi.providers.provider import Server
from nvoi.secret import Secret
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, as_root

log = get_logger("nvoi.k3s")

#: What has to be free. Source: k3s documentation, "Requirements", "Inbound Rules".
MASTER_PORTS = (("tcp", 6443),)
NODE_PORTS = (("tcp", 10250), ("udp", 51820))
CLOUD_INIT_SECONDS = 600
#: Seconds for all else that is asked.
SURVEY_SECONDS = 120
WAITING = "waiting "
#: Its arguments: the config, and the first line of one that nvoi wrote.
READ_ENTRY = '[ "$(head -n 1 "$1")" = "$2" ] && grep "^token:" "$1"'
#: What lets pods and services in. Source: k3s documentation, "Requirements", "Operating Systems".
REMEDIES = {
    "ufw": f"ufw allow from {POD_NETWORK} && ufw allow from {SERVICE_NETWORK}",
    "firewalld": "firewall-cmd --permanent --zone=trusted "
    f"--add-source={POD_NETWORK} --add-source={SERVICE_NETWORK} && firewall-cmd --reload",
}

#: Called with the architectures of all servers, by their names.
OnArchitectures = Callable[[Mapping[str, str]], None]


def check_servers(
    connections: Connections,
    servers: Sequence[Server],
    version: str | None,
    cluster: Cluster,
    on_architectures: OnArchitectures,
    *,
    spare: Collection[str] = (),
    ingress: bool = False,
) -> dict[str, Facts]:
    """What the servers are like, by their names, where all of them can be nodes.

    One in ``spare`` that can be none, or not be reached, is not among them where its node is not
    ready either: the ``cluster`` is asked for that. The master comes first, and takes the public's
    requests with ``ingress``. ``on_architectures`` is called once all have told theirs, while
    cloud-init may still run. The error tells of all that is missing on any server.
    """
    found = survey(connections, servers, on_architectures, ingress=ingress)
    try:
        facts = check_all(servers, found, version)
    except NvoiError:
        away = find_away(servers, found, cluster) & {*spare}
        if not away:
            raise
        for server in servers:
            if server.name in away:
                tell_faults(server, found[server.name], version)
        servers = [server for server in servers if server.name not in away]
        found = {server.name: found[server.name] for server in servers}
        facts = check_all(servers, found, version)
    for server in servers:
        tell_facts(server.name, facts[server.name])
    tell_architectures({server.name: facts[server.name].architecture for server in servers})
    return facts


def tell_architectures(architectures: Mapping[str, str]) -> None:
    names: dict[str, list[str]] = {}
    for name, architecture in architectures.items():
        names.setdefault(architecture, []).append(name)
    if len(names) > 1:
        shown = "; ".join(
            f"{architecture}: {', '.join(names[architecture])}" for architecture in names
        )
        log.warning("the servers differ in architecture (%s): images must be made for all", shown)


def tell_facts(name: str, facts: Facts) -> None:
    k3s = f"k3s {facts.k3s.version}" if facts.k3s.role else "no k3s yet"
    log.info("%s: %s, %s, %s", name, facts.os_name or facts.kernel, facts.architecture, k3s)
    if facts.cloud_init == "error":
        detail = f": {facts.cloud_init_detail}" if facts.cloud_init_detail else ""
        log.warning("%s: cloud-init failed%s", name, detail)
    if shuts_pods_out(facts):
        log.warning(
            "%s: %s blocks the pods, which then reach neither each other nor DNS; "
            "as root there: %s",
            name,
            facts.firewall,
            REMEDIES[facts.firewall],
        )


def tell_faults(server: Server, found: Facts | NvoiError, version: str | None) -> None:
    """Log why a server cannot be a node, where that is no error."""
    if isinstance(found, NvoiError):
        log.warning("%s", found.message)
        return
    for fault in find_faults(server, found, version):
        log.warning("%s: %s", server.host, fault)


def find_away(
    servers: Sequence[Server], found: Mapping[str, Facts | NvoiError], cluster: Cluster
) -> set[str]:
    """The servers whose nodes are not ready, where there is a cluster; these are told.

    One that answers and lets nobody in, or that is another one by its key, is not away.
    """
    master = found[servers[0].name]
    if not isinstance(master, Facts) or not master.k3s.is_active:
        return set()
    try:
        nodes = {node.address: node for node in list_nodes(cluster) if not node.is_ready}
    except NvoiError as error:
        log.debug("cannot ask for the nodes: %s", error)
        return set()
    away = set()
    for server in servers:
        node = nodes.get(format_address(server.host))
        if node and not isinstance(found[server.name], AccessError | HostKeyError):
            log.warning("the cluster says of the node %s: %s", node.name, node.state)
            away.add(server.name)
    return away


def survey(
    connections: Connections,
    servers: Sequence[Server],
    on_architectures: OnArchitectures = lambda _architectures: None,
    *,
    ingress: bool = False,
) -> dict[str, Facts | NvoiError]:
    architectures: dict[str, str] = {}
    lock = threading.Lock()

    def hear(name: str, architecture: str) -> None:
        with lock:
            architectures[name] = architecture
            if len(architectures) == len(servers):
                on_architectures(architectures)

    def look(server: Server) -> Facts | NvoiError:
        try:
            return ask(connections, server, hear, ingress=ingress)
        except NvoiError as error:
            return error

    return {server.name: found for server, found in work_on_all(servers, look).items()}


def ask(
    connections: Connections,
    server: Server,
    on_architecture: Callable[[str, str], None],
    *,
    ingress: bool = False,
) -> Facts:
    reader = SurveyReader(server.name, on_architecture)
    result = connections.run(
        server.host,
        build_survey(is_master=server.is_master, ingress=ingress),
        timeout=CLOUD_INIT_SECONDS + SURVEY_SECONDS,
        on_line=reader.read_line,
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
    return read_facts(sections, reader.clock_offset)


def find_token(connections: Connections, host: Host) -> Secret | None:
    """The token of the cluster whose master a server is; None where it is not nvoi's, or none."""
    command = build_script("nvoi-token", READ_ENTRY, CONFIG_FILE, HEADER)
    result = connections.run(host, as_root(host, command), level=None, check=False)
    line = next(iter(result.stdout.splitlines()), "")
    token = find_secret(line)
    add_secrets(token)
    return Secret(token) if token else None


def build_survey(*, is_master: bool, ingress: bool = False) -> Command:
    ports = (*(MASTER_PORTS if is_master else ()), *NODE_PORTS)
    if is_master and ingress:
        ports += tuple(("tcp", port) for port in INGRESS_PORTS)
    asked = " ".join(f"{protocol}:{port:04X}" for protocol, port in ports)
    paths = (CONFIG_FILE, REGISTRIES_FILE, STAMP_FILE, VOLUMES_FOLDER, METADATA_UNIT_FILE)
    script = f"as_root={shlex.quote(read_script('survey_as_root.sh'))}\n{read_script('survey.sh')}"
    return build_script("nvoi-survey", script, CLOUD_INIT_SECONDS, asked, *paths)


@dataclass
class SurveyReader:
    """Reads what a server says as it says it."""

    name: str
    on_architecture: Callable[[str, str], None]
    clock_offset: float = 0.0
    clock: Callable[[], float] = field(default=time.time)
    _section: str = ""

    def read_line(self, line: str) -> None:
        if line.startswith(MARK):
            self._section = line.removeprefix(MARK)
        elif self._section == "architecture" and line.strip():
            self.on_architecture(self.name, ARCHITECTURES.get(line.strip(), line.strip()))
            self._section = ""
        elif self._section == "clock" and line.isdecimal():
            # A clock that says whole seconds is half of one behind, on the average.
            self.clock_offset = int(line) + 0.5 - self.clock()
        elif self._section == "cloud-init" and line.startswith(WAITING):
            seconds = line.removeprefix(WAITING)
            log.info("%s: waiting for cloud-init (%s s)", self.name, seconds)
        elif self._section == "token" and line:
            add_secrets(line)
        elif self._section == "config" and (secret := find_secret(line)):
            add_secrets(secret)


def find_secret(line: str) -> str | None:
    """The secret in one line of a config.yaml, to be hidden from all that is logged."""
    key, _, value = line.partition(":")
    is_secret = key.strip().strip("\"'") in SECRET_KEYS
    return (value.strip().strip("\"'") or None) if is_secret else None
