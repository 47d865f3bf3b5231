"""A server as it is reached, and how long anything there may take."""

from __future__ import annotations

from dataclasses import dataclass

from nvoi.command import Command, in_shell, sudo

SSH_PORT = 22


@dataclass(frozen=True)
class Host:
    """A server.

    Attributes:
        name: how the log names it.
        host_keys: its public host keys as OpenSSH text, where they are known beforehand;
            then no other is taken, and no file is asked.
    """

    name: str
    address: str
    port: int = SSH_PORT
    user: str = "root"
    host_keys: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What known_hosts files call it: the address, in brackets with an unusual port."""
        return self.address if self.port == SSH_PORT else f"[{self.address}]:{self.port}"

    def __str__(self) -> str:
        """How errors name it: by its name and where that is."""
        place = self.address if self.port == SSH_PORT else f"{self.address} port {self.port}"
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
