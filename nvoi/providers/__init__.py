"""Who has the servers: one Protocol and its records. A new cloud is a package here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from types import MappingProxyType
from typing import Any

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


#: The packages of clouds, each with its class. They are imported where they are used.
CLOUDS: Mapping[type, tuple[str, str]] = {
    AWSProvider: ("aws", "AWS"),
    HetznerProvider: ("hetzner", "Hetzner"),
    ScalewayProvider: ("scaleway", "Scaleway"),
}


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
    account, routes = application.compute_provider, read_routes(environ)
    if isinstance(account, SSHProvider):
        return OwnServers(application, replace(routes, servers=list_destinations(application)))
    cloud = getattr(import_cloud(account), CLOUDS[type(account)][1])
    provider: Provider = cloud(application, routes, environ)
    return provider


def list_types(account: ComputeProvider, environ: Mapping[str, str]) -> Sequence[ServerType]:
    """What an account can have now, at AWS in its region alone; nothing where nothing is rented.

    ``account`` needs no more than its credentials, and that region.

    Raises:
        NvoiError: the account refuses them, or does not answer.
        ExtraError: what asks there is not installed.
    """
    if type(account) not in CLOUDS:
        return ()
    types: Sequence[ServerType] = import_cloud(account).list_types(account, environ)
    return types


def list_regions(account: AWSProvider, environ: Mapping[str, str]) -> Sequence[str]:
    """The regions that an account at AWS may use; likewise."""
    regions: Sequence[str] = import_cloud(account).list_regions(account, environ)
    return regions


def import_cloud(account: ComputeProvider) -> Any:
    """The package of an account's cloud, whose library may need an extra of its name.

    Raises:
        ExtraError: that is not installed.
    """
    cloud, _ = CLOUDS[type(account)]
    try:
        return import_module(f"nvoi.providers.{cloud}")
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed, which `{cloud}` needs"
        raise ExtraError(message, cloud) from error
