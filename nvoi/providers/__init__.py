"""Who has the servers: one Protocol and its records. A new cloud is one file here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from nvoi.config.schema import (
    Application,
    AWSProvider,
    ComputeProvider,
    HetznerProvider,
    ScalewayProvider,
    SSHProvider,
)
from nvoi.errors import ExtraError
from nvoi.providers.provider import Provider, Server, ServerType
from nvoi.providers.ssh import OwnServers, list_destinations
from nvoi.ssh.routes import read_routes

__all__ = ["Provider", "Server", "ServerType", "get_provider", "list_regions", "list_types"]


def get_provider(
    application: Application, environ: Mapping[str, str] = MappingProxyType({})
) -> Provider:
    """The provider of the config's ``compute_provider``.

    Args:
        environ: the caller's environment, whose ``HOME`` has the user's ``~/.ssh/config``.

    Raises:
        ConfigError: that file cannot be used.
        ExtraError: what asks there is not installed.
    """
    if isinstance(application.compute_provider, SSHProvider):
        servers = list_destinations(application)
        return OwnServers(replace(read_routes(environ), servers=servers))
    if isinstance(application.compute_provider, AWSProvider):
        with needing("aws"):
            from nvoi.providers.aws import AWS  # noqa: PLC0415 - needs its extra
        return AWS(application, read_routes(environ), environ)
    if isinstance(application.compute_provider, HetznerProvider):
        with needing("hetzner"):
            from nvoi.providers.hetzner import Hetzner  # noqa: PLC0415 - needs its extra
        return Hetzner(application, read_routes(environ), environ)
    if isinstance(application.compute_provider, ScalewayProvider):
        from nvoi.providers.scaleway import Scaleway  # noqa: PLC0415 - imported where it is used

        return Scaleway(application, read_routes(environ), environ)
    raise TypeError("an app on this machine has no servers")


def list_types(account: ComputeProvider, environ: Mapping[str, str]) -> Sequence[ServerType]:
    """What an account can have now, at AWS in its region alone; nothing where nothing is rented.

    ``account`` needs no more than its credentials, and that region.

    Raises:
        NvoiError: the account refuses them, or does not answer.
        ExtraError: what asks there is not installed.
    """
    if isinstance(account, HetznerProvider):
        with needing("hetzner"):
            from nvoi.providers.hetzner import offers as hetzner  # noqa: PLC0415 - likewise
        return hetzner.list_types(account, environ)
    if isinstance(account, ScalewayProvider):
        from nvoi.providers.scaleway import offers as scaleway  # noqa: PLC0415 - likewise

        return scaleway.list_types(account, environ)
    if isinstance(account, AWSProvider):
        with needing("aws"):
            from nvoi.providers.aws import catalog as aws  # noqa: PLC0415 - likewise
        return aws.list_types(account, environ)
    return ()


def list_regions(account: AWSProvider, environ: Mapping[str, str]) -> Sequence[str]:
    """The regions that an account at AWS may use; likewise."""
    with needing("aws"):
        from nvoi.providers.aws import catalog  # noqa: PLC0415 - needs its extra
    return catalog.list_regions(account, environ)


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Have a library that is not there told as the extra of nvoi that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed, which `{extra}` needs"
        raise ExtraError(message, extra) from error
