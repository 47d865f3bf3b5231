"""What a machine needs for :file:`k3s_installer.sh` to install on it: services, addresses, faults.

All of it is in the machine's own /opt, /etc and /usr/local/bin; the cluster is one of
:mod:`tests.fakes.cluster_state`.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_httpserver import HTTPServer
from ruamel.yaml import YAML
from werkzeug import Request, Response

from nvoi.k3s.facts import CONFIG_FILE, HEADER
from tests.fakes.cluster_state import PROGRAM, ClusterState

FOLDER = Path(__file__).parent
INSTALLER = FOLDER / "k3s_installer.sh"

#: A service is active once its file is there. A worker starts where the cluster's master is at
#: the address that it is given, and has its token; else it goes on trying, as k3s does.
SYSTEMCTL = """\
#!/bin/sh
. /opt/fake/settings
printf '%s\\n' "$*" >>/opt/fake/systemctl.log
verb=$1
for unit; do :; done
value() { sed -n "s/^$1: *//p" /etc/rancher/k3s/config.yaml | tr -d '"[]'; }
register() {
  label=$(value node-label)
  "$python" -S "$kubectl" "$port" --register-node "$(value node-name)" "$(printf \\
    '{"version": "%s", "address": "%s", "ready": true, "master": %s, "labels": {"%s": "%s"}}' \\
    "$(k3s --version | cut -d ' ' -f 3)" "$(value node-ip)" "$1" "${label%%=*}" "${label#*=}")"
  : >"/opt/fake/$unit.active"
}
case $verb in
  # The services of the system itself.
  daemon-reload | enable) ;;
  reload) kill -HUP "$(cat /opt/fake/sshd.pid)" ;;
  restart) if [ "$unit" = nvoi-metadata ]; then exit 0; fi ;;
esac
case $verb in
  is-active) if [ -e "/opt/fake/$unit.active" ]; then echo active; else echo activating; fi ;;
  show) if [ -e /opt/fake/crashes ]; then echo 3; else echo 0; fi ;;
  stop) rm -f "/opt/fake/$unit.active" ;;
  start | restart)
    rm -f "/opt/fake/$unit.active"
    if [ -e /opt/fake/crashes ]; then
      echo 'level=fatal msg="flag provided but not defined"' >/opt/fake/journal
    elif [ "$unit" = k3s ]; then
      printf '%s %s\\n' "https://$(value node-ip):6443" "$(value token)" >"$state/master"
      register true
    elif [ "$(value server) $(value token)" = "$(cat "$state/master" 2>/dev/null)" ]; then
      register false
    else
      echo "level=error msg=\\"failed to get CA certs: dial $(value server)\\"" >/opt/fake/journal
    fi ;;
esac
"""
JOURNALCTL = "#!/bin/sh\ncat /opt/fake/journal\n"
IP = """\
#!/bin/sh
case "$*" in
  '-o addr show') cat /opt/fake/addresses ;;
  'route show') cat /opt/fake/routes ;;
  'route get '*) cat /opt/fake/source ;;
  *) exit 1 ;;
esac
"""
CAT = """\
#!/bin/sh
/bin/cat "$@" || exit
[ "$1" = '{file}' ] || exit 0
echo '0: 00000000:{port:04X} 00000000:0000 {state} 0:0 00:0 0 0 0 {inode} 1'
"""
CLOUD_INIT = """\
#!/bin/sh
if [ "${2:-}" = --long ]; then printf 'status: error\\ndetail:\\n  a module failed\\n'; exit 1; fi
if [ "$(wc -l </opt/fake/cloud-init)" -gt 1 ]; then
  head -n 1 /opt/fake/cloud-init
  sed -i 1d /opt/fake/cloud-init
else cat /opt/fake/cloud-init; fi
"""


class K3sHost:
    """A machine that k3s can be installed on.

    Args:
        root: where the machine has its own /etc, /opt and /usr/local/bin.
        cluster: the cluster that it is to be in.
        address: its address among the machines.
        kubeconfig: a real cluster's, instead of that.
    """

    def __init__(
        self, root: Path, cluster: ClusterState, address: str, kubeconfig: Path | None = None
    ) -> None:
        self.root = root
        self.folder = root / "opt/fake"
        self.folder.mkdir(parents=True)
        settings = {
            # Not that of an environment in /opt, where the machine has its own.
            "python": Path(sys.executable).resolve(),
            "kubectl": PROGRAM,
            "port": str(cluster.api.programs_port),
            "state": cluster.folder,
            "kubeconfig": kubeconfig or "",
        }
        lines = [f"{name}={shlex.quote(str(value))}\n" for name, value in settings.items()]
        (self.folder / "settings").write_text("".join(lines))
        programs = {"systemctl": SYSTEMCTL, "journalctl": JOURNALCTL, "ip": IP}
        for name, script in programs.items():
            self.add_program(name, script)
        self.set_address(address)

    def add_program(self, name: str, script: str) -> None:
        path = self.root / "usr/local/bin" / name
        path.write_text(script)
        path.chmod(0o755)

    def set_address(self, address: str) -> None:
        """Give it this address, on a network that it is directly on."""
        network = address.rpartition(".")[0] + ".0"
        (self.folder / "addresses").write_text(
            "1: lo    inet 127.0.0.1/8 scope host lo\n"
            f"2: eth0    inet {address}/24 brd + scope global eth0\n"
        )
        (self.folder / "routes").write_text(
            f"default via {network[:-1]}1 dev eth0\n{network}/24 dev eth0 src {address}\n"
        )
        (self.folder / "source").write_text(
            f"192.0.2.1 via {network[:-1]}1 dev eth0 src {address}\n"
        )

    def set_fault(self, name: str, text: str = "") -> None:
        """``broken-installer``, ``full-disk``, ``killed-installer``, ``crashes``, or ``meet``."""
        (self.folder / name).write_text(text)

    def clear_fault(self, name: str) -> None:
        (self.folder / name).unlink()

    def take_port(self, protocol: str, port: int, inode: int = 0) -> None:
        """Have a port in use; ``inode`` is that of a socket that a program really has."""
        state = "0A" if protocol == "tcp" else "07"
        file = f"/proc/net/{protocol}"
        self.add_program("cat", CAT.format(file=file, port=port, state=state, inode=inode))

    def set_cloud_init(self, *states: str) -> None:
        """What cloud-init says of itself each time it is asked, the last one ever after."""
        self.add_program("cloud-init", CLOUD_INIT)
        (self.folder / "cloud-init").write_text("".join(f"status: {one}\n" for one in states))

    def adopt(self, enter: Sequence[str], node: str, version: str, role: str = "server") -> None:
        """Be the machine of a node that a cluster has already, so that nothing is installed.

        Args:
            enter: the words before a command on the machine.
            node: the name of the node.
            version: the release that it runs.
            role: ``server`` or ``agent``.
        """
        config = self.root / "etc/rancher/k3s/config.yaml"
        config.parent.mkdir(parents=True)
        config.write_text(f"{HEADER}\nnode-name: {node}\ntoken: its-own\n")
        self.install(enter, role, version)

    def install(self, enter: Sequence[str], role: str, version: str) -> None:
        """Run the installer on it, as somebody else may have done."""
        settings = {
            "INSTALL_K3S_VERSION": version,
            "INSTALL_K3S_EXEC": role,
            "INSTALL_K3S_SKIP_START": "true",
        }
        environ = os.environ | settings
        subprocess.run([*enter, "sh", str(INSTALLER)], check=True, env=environ)

    @property
    def installations(self) -> list[str]:
        """``ROLE VERSION SKIP-START`` of each run of the installer."""
        return self.read_log("installer.log")

    @property
    def starts(self) -> int:
        return sum(line.startswith("start ") for line in self.read_log("systemctl.log"))

    @property
    def removals(self) -> list[str]:
        return self.read_log("uninstalled.log")

    def read_log(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def read_config(self) -> dict[str, Any]:
        config: dict[str, Any] = YAML(typ="safe").load(self.read(CONFIG_FILE))
        return config

    def has(self, path: str) -> bool:
        return (self.root / path.lstrip("/")).exists()


def read_nodes(cluster: ClusterState) -> dict[str, dict[str, Any]]:
    """The nodes of a cluster, by their names."""
    return {node["metadata"]["name"]: node for node in cluster.objects("Node", None)}


def register_node(cluster: ClusterState, name: str, **given: object) -> None:
    cluster.register_node(name, **given)


class InstallerSite:
    """Serves the installer over HTTP. ``body`` is what it serves; None for an error 404."""

    numbers = itertools.count(1)

    def __init__(self) -> None:
        self.body: bytes | None = INSTALLER.read_bytes()
        self._path = f"/{next(self.numbers)}"
        get_server().expect_request(self._path).respond_with_handler(self._answer)

    @property
    def url(self) -> str:
        return get_server().url_for(self._path)

    def _answer(self, _request: Request) -> Response:
        return Response(status=404) if self.body is None else Response(self.body)


@functools.cache
def get_server() -> HTTPServer:
    """One for all tests of a process: it takes half a second to stop."""
    server = HTTPServer(threaded=True)
    server.start()
    atexit.register(server.stop)
    return server
