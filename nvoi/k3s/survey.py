"""Asking every server what it is like: one command a server, all at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nvoi.command import Command, Named, build_script
from nvoi.errors import NvoiError
from nvoi.k3s.configuration import CONFIG_FILE, HEADER, STAMP_FILE, find_secret
from nvoi.k3s.facts import Facts
from nvoi.k3s.questions import QUESTIONS, SCRIPT
from nvoi.k3s.reading import MARK, is_whole, read_architecture, read_facts, split_sections
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

OnArchitecture = Callable[[Server, str], None]


def survey(
    connections: Connections, servers: Sequence[Server], on_architecture: OnArchitecture
) -> dict[str, Facts]:
    """What each server is like, by its name.

    Args:
        connections: those of the run.
        servers: all of them are asked at once.
        on_architecture: called with each server's architecture as soon as it is known, on a
            thread of its own.

    Raises:
        HostsError: several servers cannot be asked.
        NvoiError: one of them.
    """
    by_host = {server.host: server for server in servers}
    found = connections.on_all(
        list(by_host), lambda host: ask(connections, by_host[host], on_architecture)
    )
    return {by_host[host].name: facts for host, facts in found.items()}


def ask_all(
    connections: Connections, servers: Sequence[Server], on_architecture: OnArchitecture
) -> dict[str, Facts | NvoiError]:
    """What each server is like, by its name, or why it cannot be told; as :func:`survey`."""
    by_host = {server.host: server for server in servers}

    def look(host: Host) -> Facts | NvoiError:
        try:
            return ask(connections, by_host[host], on_architecture)
        except NvoiError as error:
            return error

    found = connections.on_all([*by_host], look)
    return {by_host[host].name: one for host, one in found.items()}


def ask(connections: Connections, server: Server, on_architecture: OnArchitecture) -> Facts:
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
    if not is_whole(sections):
        raise NvoiError(
            f"{server.host}: cannot find out what the server is like: exit code {result.exit_code}",
            hint="Linux with a POSIX shell and the usual small programs is needed there",
            output=result.stderr[-5:],
        )
    return read_facts(sections, listener.clock_offset)


def build_survey(*, is_master: bool, cloud_init_seconds: int = CLOUD_INIT_SECONDS) -> Command:
    """The command that asks; it changes nothing."""
    ports = (*(MASTER_PORTS if is_master else ()), *NODE_PORTS)
    return build_script(
        "nvoi-survey",
        SCRIPT,
        cloud_init_seconds,
        Named(QUESTIONS, "questions"),
        "nvoi-survey",
        " ".join(f"{protocol}:{port:04X}" for protocol, port in ports),
        CONFIG_FILE,
        REGISTRIES_FILE,
        STAMP_FILE,
        VOLUMES_FOLDER,
        HEADER,
    )


@dataclass
class Listener:
    """Hears what a server says as it says it."""

    server: Server
    on_architecture: OnArchitecture
    clock_offset: float = 0.0
    clock: Callable[[], float] = field(default=time.time)
    _section: str = ""

    def hear(self, line: str) -> None:
        """Take one line."""
        if line.startswith(MARK):
            self._section = line.removeprefix(MARK)
        elif self._section == "architecture" and line.strip():
            self.on_architecture(self.server, read_architecture(line.strip()))
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
            add_secrets(secret.reveal())
