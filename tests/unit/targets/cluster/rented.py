"""Who rents servers out, for tests that reach nobody: it keeps what it is told in attributes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from nvoi.command import Command
from nvoi.errors import Fault, NvoiError
from nvoi.providers.disks import build_volumes
from nvoi.providers.provider import Disk, Server
from nvoi.ssh.host import Host
from nvoi.ssh.routes import Routes
from nvoi.targets.cluster.context import ClusterContext
from tests.unit.targets.cluster.runs import WEB, see


def build_server(name: str, *, is_master: bool = False, disk: str = "", size: int = 10) -> Server:
    """A server, with one disk where that has a name."""
    disks = (Disk(disk, f"/opt/nvoi/volumes/{disk}", f"/dev/{disk}", size),) if disk else ()
    group = name.split("-")[1]
    return Server(name, group, Host(name, "198.18.0.1"), is_master=is_master, disks=disks)


def rent(
    *servers: Server, text: str = WEB, account: type[Account] | None = None, **given: Any
) -> tuple[ClusterContext, Any]:
    """The context of an app whose servers are rented, and their account.

    Of ``given`` what an account has is the account's, and all else the request's.
    """
    names = {field.name for field in fields(Account)}
    has = {name: given.pop(name) for name in names & {*given}}
    context = see([], text=text)
    context.request = replace(context.request, **given)
    context.provider = found = (account or Account)(servers, **has)
    return context, found


@dataclass
class Account:
    """Servers that there are, those that the config names first, and what was done.

    Attributes:
        error: what everything that is asked fails with.
        keys: the host keys of servers as they were noted, the latest last.
        deleted: what was given back, in order.
        kept: the disks that stay.
        unlabelled: what bears the app's names, and no labels.
        asked: how often it was asked for anything.
        close: called as ports are to be closed.
    """

    servers: tuple[Server, ...] = ()
    surplus: tuple[Server, ...] = ()
    error: NvoiError | None = None
    keys: list[tuple[str, ...]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    kept: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()
    asked: int = 0
    close: Callable[[], object] = lambda: None
    routes: Routes = field(default_factory=Routes)
    is_rented: bool = True

    def _ask(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error

    def find_faults(self) -> list[Fault]:
        return []

    def list_servers(self) -> tuple[Server, ...]:
        self._ask()
        return self.servers

    def ensure_servers(self) -> tuple[Server, ...]:
        self._ask()
        return self.servers

    def close_ports(self) -> None:
        self._ask()
        self.close()

    def list_unlabelled(self) -> Sequence[str]:
        self._ask()
        return self.unlabelled

    def list_surplus(self) -> tuple[Server, ...]:
        self._ask()
        return self.surplus

    def keep_host_keys(self, server: Server, keys: Sequence[str]) -> Server:
        self._ask()
        self.keys.append(tuple(keys))
        host = replace(server.host, host_keys=tuple(keys))
        return replace(server, host=host, is_new=server.is_new and len(keys) > 1)

    def build_volumes(self, server: Server, lacking: Sequence[str]) -> Command:
        return build_volumes(server, lacking)

    def build_volumes_removal(self, server: Server) -> Command | None:
        return None

    def delete_surplus(self, servers: Sequence[Server], *, with_volumes: bool) -> None:
        self._ask()
        self.deleted += [server.name for server in servers]
        self.deleted += ["volumes"] * with_volumes

    def delete_servers(self, *, with_volumes: bool) -> Sequence[str]:
        self._ask()
        self.deleted.append("all")
        return () if with_volumes else self.kept

    def describe(self, *, with_volumes: bool = False) -> list[str]:
        self.asked += 1
        return ["makes server shop-main-1"]

    def describe_deletion(self, *, with_volumes: bool) -> list[str]:
        self.asked += 1
        return ["deletes server shop-main-1"]
