"""Domains without Cloudflare: k3s' own Traefik takes visitors at the first server's own ports.

DNS is the user's. How Traefik itself is set up, once a cluster, is in nvoi.kubernetes.ingress.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from nvoi.config.schema import Application, Ingress
from nvoi.domains.domain import Domains, Site, list_hostnames, list_sites
from nvoi.errors import ConfigError, Fault, NvoiError
from nvoi.kubernetes.ingress import build_ingress
from nvoi.kubernetes.ownership import Manifest
from nvoi.log.levels import get_logger
from nvoi.parallel import work_on_all

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

log = get_logger("nvoi.domains")

WILDCARD = "*."
HINT = (
    "the cluster was not changed; this machine's resolver was asked, which may know the records of "
    "before until their TTL is over"
)
ALL_NAMES = (
    "certificates for all names at once cannot be had by `domain_provider.ingress`: name one, or "
    "use `domain_provider.cloudflare`"
)
#: Addresses that lead nowhere from outside. Source: RFC 1918, section 3, and RFC 6598, section 7.
PRIVATE = tuple(
    ipaddress.IPv4Network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
#: What getaddrinfo(3) says of a name that does not exist, or has no address.
NAMELESS = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


class ClusterIngress(Domains):
    """``domain_provider: {ingress: {…}}``. Nothing of it is outside the cluster."""

    def __init__(self, application: Application, settings: Ingress) -> None:
        self._app = application.name
        self._authority = urlsplit(settings.directory_url).hostname
        self._sites = [*list_sites(application)]
        #: The names that certificates can be had for, with their sites.
        self._names = {name: site for site in self._sites for name in list_names(site)}

    def find_faults(self) -> list[Fault]:
        lacking = [site for site in self._sites if not list_names(site)]
        return [Fault(0, 0, f"{site.place}.subdomain", ALL_NAMES) for site in lacking]

    def check(self) -> None:
        """Say which names are left out, and nothing else: there is no account."""
        left = [name for name in list_hostnames(self._sites) if name not in self._names]
        if left:
            log.info(
                "Not served by the ingress, as certificates are for single names: %s",
                ", ".join(left),
            )

    def check_addresses(self, addresses: Sequence[str]) -> None:
        """See that the names lead to the first of ``addresses``, where the ingress runs.

        Where that is private, who is before it is the user's, and the names need only exist.
        """
        if not self._names:
            return
        wanted = [one for one in look_up(addresses[0]) if is_public(one)]
        if not wanted:
            log.info("%s is private: who brings visitors there is yours to see to", addresses[0])
        found = work_on_all([*self._names], look_up)
        faults = [
            Fault(0, 0, f"{site.place}.domain", message)
            for name, site in self._names.items()
            for message in list_faults(name, found[name], wanted)
        ]
        if faults:
            raise ConfigError("DNS", faults, hint=HINT)

    def connect(self, deploy_id: str) -> Sequence[Manifest]:
        return [
            build_ingress(
                self._app,
                site.service,
                workload=site.workload,
                port=site.port,
                hostnames=list_names(site),
                deploy_id=deploy_id,
            )
            for site in self._sites
        ]

    def describe(self) -> list[str]:
        return [
            f"leads {name} to {site.workload}, with a certificate of {self._authority}"
            for name, site in self._names.items()
        ]

    def describe_deletion(self) -> list[str]:
        return [f"leads {name} to nothing more; its DNS record is yours" for name in self._names]


def list_names(site: Site) -> list[str]:
    """The names that certificates can be had for."""
    return [name for name in site.hostnames if not name.startswith(WILDCARD)]


def look_up(name: str) -> tuple[Address, ...]:
    """The addresses that ``name`` has; none where there is no such name.

    Raises:
        NvoiError: nobody could be asked.
    """
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in NAMELESS:
            return ()
        raise NvoiError(
            f"{name} cannot be looked up from here: {error.strerror}",
            hint="see that this machine reaches its DNS resolver",
        ) from error
    except UnicodeError:
        # No part of a name may be longer than 63 characters.
        return ()
    # An address of IPv6 may name a device behind a `%`.
    texts = dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found)
    return tuple(map(ipaddress.ip_address, texts))


def is_public(address: Address) -> bool:
    return isinstance(address, ipaddress.IPv4Address) and not any(
        address in network for network in PRIVATE
    )


def list_faults(name: str, found: Sequence[Address], wanted: Sequence[Address]) -> Iterator[str]:
    """What is wrong with the records of ``name``, each with what to do.

    Args:
        name: a host name.
        found: the addresses that it has.
        wanted: the one address that it is to have, or one of several; none is any.
    """
    old = [one for one in found if isinstance(one, ipaddress.IPv4Address)]
    new = [one for one in found if isinstance(one, ipaddress.IPv6Address)]
    own = " or ".join(map(str, wanted)) or "the address at which visitors reach the first server"
    if not found:
        yield f"{name} has no address: set an A record to {own}"
    elif not old:
        yield f"{name} has no A record: set one to {own}"
    elif wanted and (others := [one for one in old if one not in wanted]):
        yield f"{name} leads to {join(others)}: have its A record be {own} alone"
    # What leads requests to the ingress knows addresses of IPv4 alone, and an authority that finds
    # one of IPv6 asks there (Let's Encrypt's documentation, "IPv6 Support").
    if new:
        yield (
            f"{name} has an AAAA record, {join(new)}, and the ingress takes visitors by IPv4: "
            "remove it"
        )


def join(addresses: Sequence[Address]) -> str:
    return " and ".join(map(str, addresses))
