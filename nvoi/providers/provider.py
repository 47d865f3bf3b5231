"""What the cluster target asks of whoever has the servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from nvoi.command import Command
from nvoi.config.schema import Application
from nvoi.errors import Fault
from nvoi.ssh.host import Host
from nvoi.ssh.routes import Routes

#: Of the folder of a volume that has an owner. Root's group is let in, so that root needs no more.
OWN_MODE = "770"


@dataclass(frozen=True)
class Server:
    """One server of an app.

    Attributes:
        name: ``<name>-<group>-<i>``; a new node of the cluster gets this name.
        group: the server group of the config that it belongs to.
        host: how it is reached.
        is_master: whether it is the one that runs the cluster.
        private_ip: its address among the servers, where it is known beforehand.
        volumes: the folders that its volumes are on.
        owners: folders and the number of the user who alone may open each; others are everybody's.
        notes: the folder in which a folder of the same name says of each that it is the app's.
    """

    name: str
    group: str
    host: Host
    is_master: bool = False
    private_ip: str | None = None
    volumes: tuple[str, ...] = ()
    notes: str = ""
    owners: tuple[tuple[str, int], ...] = ()

    def find_owner(self, folder: str) -> int | None:
        return dict(self.owners).get(folder)

    def is_kept(self, folder: str, found: Mapping[str, str]) -> bool:
        """Whether a volume is as it is to be; ``found`` has the folders with owner and mode.

        One that nobody owns by the config is left as it is.
        """
        owner = self.find_owner(folder)
        return folder in found and (owner is None or found[folder] == f"{owner} {OWN_MODE}")


class Provider(Protocol):
    """Who has the servers of an app.

    What is asked for by a config and not there is made by ``ensure_servers``, found again by
    its name, and never made twice. ``routes`` are the ways to the servers.
    """

    routes: Routes

    def find_faults(self, application: Application) -> list[Fault]:
        """What of a valid config it cannot do. Touches nothing, calls nobody."""
        ...

    def list_servers(self, application: Application) -> tuple[Server, ...]:
        """The servers that there are now, the master first; empty where there are none yet.

        Raises:
            NvoiError: the provider cannot be asked.
        """
        ...

    def ensure_servers(self, application: Application) -> tuple[Server, ...]:
        """All servers of the config, the master first; those that lack are made.

        Raises:
            NvoiError: one could not be had.
        """
        ...

    def build_volumes(self, server: Server, lacking: Sequence[str]) -> Command:
        """The command that root runs on ``server`` to make the folders in ``lacking`` usable.

        It notes whose they are. They are their owner's from then on, where they have one; what is
        in them stays, and of another that is there already nothing changes.

        A provider that rents disks has attached them in ``ensure_servers``, and knows which.
        """
        ...

    def build_volumes_removal(self, server: Server) -> Command | None:
        """The command that removes the server's volumes with all data; None where it has none.

        Disks that were rented are given back by ``delete_servers``.
        """
        ...

    def delete_servers(self, application: Application, *, with_volumes: bool) -> None:
        """Give back what was rented for the app; ``with_volumes`` the disks with its data too.

        Raises:
            NvoiError: something is left.
        """
        ...

    def describe(self, application: Application) -> list[str]:
        """What ``ensure_servers`` would do, a line each, without asking anybody."""
        ...
