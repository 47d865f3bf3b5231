"""What a run has of its servers: commands and ports, over one connection a host."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import paramiko

from nvoi import parallel
from nvoi.command import Command, Result
from nvoi.config.schema import SSHKeys
from nvoi.folders import check_way
from nvoi.ssh.connection import Connection
from nvoi.ssh.forwarding import Forward
from nvoi.ssh.host import Host, Timeouts
from nvoi.ssh.keys import Identities
from nvoi.ssh.known_hosts import KnownHosts
from nvoi.ssh.routes import Routes, read_routes
from nvoi.ssh.session import Input, Session
from nvoi.ssh.transport import close_channel
from nvoi.waiting import Reminder

#: Where ssh(1) keeps the keys of hosts for everyone on a machine.
SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")
STORE = "known_hosts"


class Connections:
    """The connections of one run. Safe to use from any thread; close it at the end.

    A host is connected to when it is first used, and once more when its connection has died
    between two commands. A command that was begun is never run again.
    """

    def __init__(
        self,
        identities: Identities,
        known_hosts: KnownHosts,
        timeouts: Timeouts | None = None,
        routes: Routes | None = None,
    ) -> None:
        self._identities = identities
        self._known_hosts = known_hosts
        self._timeouts = timeouts or Timeouts()
        self._routes = routes or Routes()
        self._lock = threading.Lock()
        self._connections: dict[Host, Connection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            connections = tuple(self._connections.values())
        # Those that lead through others end before them.
        for connection in reversed(connections):
            connection.close()

    def run(
        self,
        host: Host,
        command: Command,
        *,
        stdin: Input = None,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        on_line: Callable[[str], None] | None = None,
        whole: bool = False,
        level: int | None = logging.DEBUG,
        check: bool = True,
        reminder: Reminder | None = None,
    ) -> Result:
        """Run ``command`` on the host, and wait for its end.

        Args:
            check: whether an exit code other than 0 is an error.

        The others are those of :class:`~nvoi.ssh.session.Session`.

        Raises:
            ConnectionFailedError: the host cannot be reached; nothing ran.
            ConnectionLostError: the connection broke while it ran.
            RemoteTimeoutError: it took or was silent for too long, and was ended.
            RemoteError: it ended with another exit code than 0, and ``check`` is set.
            CancelledError: the task that runs it was cancelled before.
        """
        connection = self._get_connection(host)
        session = Session(
            connection, command, stdin, timeout, idle_timeout, on_line, whole, level, reminder
        )
        with parallel.hold(session):
            result = session.run()
        if check and not result.is_ok:
            raise session.build_error(result)
        return result

    @contextmanager
    def forward(self, host: Host, address: str, port: int, *, local_port: int = 0) -> Iterator[int]:
        """A port on this machine's loopback that leads to ``address`` as the host sees it.

        When the connection to the host has broken, those through the port end, and the next one
        opens it again.

        Yields:
            The port here, which takes connections until the context ends: ``local_port``, or one
            that is free.

        Raises:
            NvoiError: the port here cannot be had.
            ConnectionFailedError: the host cannot be reached.
        """
        connection = self._get_connection(host)
        connection.open()
        forward = Forward(
            lambda: connection.open_tunnel(address, port),
            f"{host.name}: {address}:{port}",
            local_port,
        )
        try:
            yield forward.local_port
        finally:
            forward.close()

    def reaches(self, host: Host, address: str, port: int) -> bool:
        """Whether something accepts connections at ``address`` as the host sees it.

        Raises:
            ConnectionFailedError: the host itself cannot be reached.
        """
        try:
            channel = self._get_connection(host).open_tunnel(address, port)
        except paramiko.ChannelException:
            return False
        close_channel(channel)
        return True

    def _get_connection(self, host: Host) -> Connection:
        with self._lock:
            if host not in self._connections:
                self._connections[host] = self._ensure_connection(self._routes.lead(host))
            return self._connections[host]

    def _ensure_connection(self, host: Host) -> Connection:
        """The one to a host that knows its way. Hosts behind another one share that one's."""
        if host not in self._connections:
            jump = self._ensure_connection(host.route.jump) if host.route.jump else None
            self._connections[host] = Connection(
                host, self._identities, self._known_hosts, self._timeouts, jump
            )
        return self._connections[host]


def build_connections(
    keys: SSHKeys | None,
    home: Path,
    environ: Mapping[str, str],
    routes: Routes | None = None,
) -> Connections:
    """The connections of a run, with the user's own keys and known hosts behind the config's.

    Args:
        home: the folder of nvoi's own state, which keeps the host keys of first contacts.
        environ: the caller's environment: ``HOME``, ``SSH_AUTH_SOCK``.
        routes: the ways to hosts, where they were read already.

    Raises:
        ConfigError: the user's ``~/.ssh/config`` cannot be used.
        UsageError: others could put host keys of theirs there.
    """
    check_way(home)
    user = environ.get("HOME")
    folder = Path(user) / ".ssh" if user else None
    files = [folder / "known_hosts"] if folder else []
    return Connections(
        Identities(keys, agent=environ.get("SSH_AUTH_SOCK"), folder=folder),
        KnownHosts(home / STORE, [*files, SYSTEM_KNOWN_HOSTS]),
        routes=routes or read_routes(environ),
    )
