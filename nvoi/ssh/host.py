"""A server as it is reached, and how long anything there may take."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nvoi.command import Command, in_shell, sudo

SSH_PORT = 22


@dataclass(frozen=True)
class Route:
    """What the user's ``~/.ssh/config`` says of the way to a host, where it says anything.

    Attributes:
        hostname: the name or address that is dialled instead of the one that the host is called.
        alias: what known_hosts files call it.
        key_files: keys to show instead of the usual files.
        agent: the socket of the SSH agent to ask instead of the usual one, empty for none.
        only_key_files: whether the agent's other keys are not shown.
        known_hosts: more files that may know its host key.
        is_strict: whether a first contact is refused.
        jump: the host that it is reached through.
    """

    hostname: str = ""
    alias: str = ""
    key_files: tuple[Path, ...] | None = None
    agent: str | None = None
    only_key_files: bool = False
    known_hosts: tuple[Path, ...] = ()
    is_strict: bool = False
    jump: Host | None = None


@dataclass(frozen=True)
class Host:
    """A server.

    Attributes:
        name: how the log names it.
        address: what the config calls it: an address, a name, or an alias of ``~/.ssh/config``.
        host_keys: its public host keys as OpenSSH text, where they are known beforehand;
            then no other is taken.
    """

    name: str
    address: str
    port: int = SSH_PORT
    user: str = "root"
    host_keys: tuple[str, ...] = ()
    route: Route = field(default_factory=Route)

    @property
    def hostname(self) -> str:
        """Where it is dialled."""
        return self.route.hostname or self.address

    @property
    def known_name(self) -> str:
        """What host certificates call it."""
        return self.route.alias or self.hostname

    @property
    def label(self) -> str:
        """What known_hosts files call it: the address, in brackets with an unusual port."""
        if self.route.alias or self.port == SSH_PORT:
            return self.known_name
        return f"[{self.hostname}]:{self.port}"

    def __str__(self) -> str:
        """How errors name it: by its name and where that is."""
        place = self.hostname if self.port == SSH_PORT else f"{self.hostname} port {self.port}"
        if self.route.jump is not None:
            place = f"{place} through {self.route.jump.name}"
        return self.name if self.name == place else f"{self.name} ({place})"


@dataclass(frozen=True)
class Timeouts:
    """Seconds after which nvoi gives up.

    Attributes:
        connect: a connection, each of: to be made, to agree on keys, to let a key in;
            a channel on it, to be opened.
        command: a command, from its start to its end.
        idle: a command that neither says anything nor takes any input.
        silence: after so long without anything from the host it is asked for a sign of
            life, and the connection given up when none comes within twice that.
    """

    connect: float = 15.0
    command: float = 900.0
    idle: float = 300.0
    silence: float = 15.0


def as_root(host: Host, command: Command) -> Command:
    """``command`` with root's rights there: as it is for root, with ``sudo`` for others."""
    if host.user == "root":
        return command if command.is_plain else in_shell(command)
    return sudo(command)
