"""Where host names lead, as the resolver of this machine says, and whether that is to a server."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from nvoi.errors import NvoiError
from nvoi.parallel import work_on_all

#: :func:`socket.getaddrinfo`, or what stands for it.
Resolve = Callable[..., Sequence[tuple[Any, ...]]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Addresses that lead nowhere from outside. Source: RFC 1918, section 3, and RFC 6598, section 7.
PRIVATE = tuple(
    ipaddress.IPv4Network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
#: What getaddrinfo(3) says of a name that does not exist, or has no address.
NAMELESS = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


def look_up(name: str, resolve: Resolve = socket.getaddrinfo) -> tuple[Address, ...]:
    """The addresses that ``name`` has; none where there is no such name.

    Raises:
        NvoiError: nobody could be asked.
    """
    try:
        found = resolve(name, None, type=socket.SOCK_STREAM)
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


def look_up_all(
    names: Collection[str], resolve: Resolve = socket.getaddrinfo
) -> dict[str, tuple[Address, ...]]:
    """The same for several names, all at once.

    Raises:
        NvoiError: nobody could be asked.
    """
    return work_on_all([*dict.fromkeys(names)], lambda name: look_up(name, resolve))


def find_public(host: str, resolve: Resolve = socket.getaddrinfo) -> tuple[Address, ...]:
    """The IPv4 addresses at which the public may reach a server; none where that is not known.

    ``host`` is what it is reached by from here, a name or an address.
    """
    return tuple(one for one in look_up(host, resolve) if is_public(one))


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
