"""What the cluster target asks of whoever has the servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol

from nvoi.command import Command
from nvoi.errors import Fault
from nvoi.ssh.host import Host
from nvoi.ssh.routes import Routes

#: Of the folder of a volume that has an owner. Root's group is let in, so that root needs no more.
OWN_MODE = "770"


@dataclass(frozen=True)
class Disk:
    """A rented volume, attached to a server.

    Attributes:
        name: of the volume at the provider.
        folder: where it is mounted.
        device: the path under which the server sees it, which no restart changes.
        size: in GB, as the config has it.
    """

    name: str
    folder: str
    device: str
    size: int


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
        disks: the rented volumes that its folders are on; empty where the folders are all.
        is_new: whether its host key is still the one that it was made with, which others on the
            server may have read.
        is_rented: whether it is of a cloud, where no other server of the account has its name.
        is_labelled: whether its labels say that it is the app's, where it needs any.
    """

    name: str
    group: str
    host: Host
    is_master: bool = False
    private_ip: str | None = None
    volumes: tuple[str, ...] = ()
    notes: str = ""
    owners: tuple[tuple[str, int], ...] = ()
    disks: tuple[Disk, ...] = ()
    is_new: bool = False
    is_rented: bool = False
    is_labelled: bool = True

    def find_owner(self, folder: str) -> int | None:
        return dict(self.owners).get(folder)

    def known_by(self, keys: Sequence[str]) -> Server:
        """The same with these host keys, as :meth:`Provider.keep_host_keys` has them."""
        host = replace(self.host, host_keys=tuple(keys))
        return replace(self, host=host, is_new=len(keys) > 1)

    def is_kept(self, folder: str, found: Mapping[str, str]) -> bool:
        """Whether a volume is as it is to be; ``found`` has the folders with owner and mode.

        One that nobody owns by the config is left as it is.
        """
        owner = self.find_owner(folder)
        return folder in found and (owner is None or found[folder] == f"{owner} {OWN_MODE}")


@dataclass(frozen=True)
class ServerType:
    """A server type that an account can have now, in a location.

    Attributes:
        architecture: in the words of the config.
        memory: in GB.
        price: of a month, as far as the provider tells it; None where it does not.
    """

    name: str
    location: str
    architecture: str
    cores: int
    memory: float
    price: Decimal | None = None
    currency: str = ""

    def describe(self) -> str:
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        price = f", {self.currency} {self.price:.2f} a month" if self.price is not None else ""
        return f"{self.name}: {cores}, {self.memory:g} GB, {self.architecture}{price}"


class Provider(Protocol):
    """Who has the servers of an app.

    What is asked for by a config and not there is made by ``ensure_servers``, found again by
    its name and labels, and never made twice. ``routes`` are the ways to the servers. Where
    ``is_rented``, all there is was made for the app alone, and costs money until it is deleted.
    """

    routes: Routes
    is_rented: bool

    def find_faults(self) -> list[Fault]:
        """What of a valid config it cannot do. Touches nothing, calls nobody."""
        ...

    def list_servers(self) -> tuple[Server, ...]:
        """The servers that there are now, the master first; empty where there are none yet.

        Raises:
            NvoiError: the provider cannot be asked.
        """
        ...

    def ensure_servers(self) -> tuple[Server, ...]:
        """All servers of the config, the master first; those that lack are made.

        All that the config says of them is checked against the account before anything is made.
        Their network, firewall and disks are there too when it returns; the servers may still
        be starting.

        Raises:
            ConfigError: the account cannot have what the config says, which names what it can.
            NvoiError: one could not be had. It names what was made; the next run goes on from it.
        """
        ...

    def close_ports(self) -> None:
        """Close the ports that ``ensure_servers`` has left open for the release before.

        Those are of a way to its domains that the config no longer has. Where it has left none
        open, nobody is asked.

        Raises:
            NvoiError: they could not be closed.
        """
        ...

    def list_unlabelled(self) -> Sequence[str]:
        """What bears the app's names and nobody's labels, which ``ensure_servers`` takes over.

        nvoi labels all that it makes as it makes it; the Ruby gem labelled nothing.

        Raises:
            NvoiError: the provider cannot be asked.
        """
        ...

    def list_surplus(self) -> tuple[Server, ...]:
        """The app's servers that the config no longer names, with the disks attached to them.

        Raises:
            NvoiError: the provider cannot be asked.
        """
        ...

    def keep_host_keys(self, server: Server, keys: Sequence[str]) -> Server:
        """Have every later run know ``server`` by these public host keys, ``ssh-ed25519 AAAA…``.

        One key is the server's from now on, and it is no longer new. Two are the one that it
        has and the one that it gets next: whichever it shows, it is that server.

        Raises:
            NvoiError: the provider cannot note them.
        """
        ...

    def build_volumes(self, server: Server, lacking: Sequence[str]) -> Command:
        """The command that root runs on ``server`` to make the folders in ``lacking`` usable.

        It notes whose they are. They are their owner's from then on, where they have one; what is
        in them stays, and of another that is there already nothing changes.

        A provider that rents disks has attached them in ``ensure_servers``: the command, as
        ``disks.build_volumes`` has it, makes a file system on one that is blank, mounts it, and has
        it fill its disk. It is run in each deploy where a server has ``disks``.
        """
        ...

    def build_volumes_removal(self, server: Server) -> Command | None:
        """The command that removes the server's volumes with all data; None where it has none.

        None also of disks that were rented: ``delete_servers`` gives them back.
        """
        ...

    def delete_surplus(self, servers: Sequence[Server], *, with_volumes: bool) -> None:
        """Give back servers that the config no longer names; they are out of the cluster.

        ``with_volumes`` also the app's disks that the config no longer names, those too whose
        servers an earlier run has given back.

        Raises:
            NvoiError: something is left.
        """
        ...

    def delete_servers(self, *, with_volumes: bool) -> Sequence[str]:
        """Give back what was rented for the app; ``with_volumes`` the disks with its data too.

        It looks for all of it by name and labels, goes on past what cannot be deleted, and looks
        again at the end.

        Returns:
            The names of the disks that stay, and go on costing money; none ``with_volumes``.

        Raises:
            NvoiError: something is left, which it names.
        """
        ...

    def describe(self, *, with_volumes: bool = False) -> list[str]:
        """What ``ensure_servers`` would do, a line each.

        Of rented servers also what would be changed, what ``delete_surplus`` would remove, and what
        a month costs now and afterwards. The account is only read; where it cannot be asked, a line
        says so.
        """
        ...

    def describe_deletion(self, *, with_volumes: bool) -> list[str]:
        """What ``delete_servers`` would do, likewise."""
        ...
