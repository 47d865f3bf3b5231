"""Who has the servers: one Protocol and its records. A new cloud is one file here."""

from __future__ import annotations

from nvoi.config.schema import Application, SSHProvider
from nvoi.errors import ConfigError, Fault
from nvoi.providers.provider import Provider, Server
from nvoi.providers.ssh import OwnServers

__all__ = ["Provider", "Server", "find_provider", "get_provider"]


def find_provider(application: Application) -> Provider | None:
    """The provider of the config's ``compute_provider``; None where there is none of its kind."""
    if isinstance(application.compute_provider, SSHProvider):
        return OwnServers()
    return None


def get_provider(application: Application) -> Provider:
    """The same.

    Raises:
        ConfigError: this version has no servers from there.
    """
    provider = find_provider(application)
    if provider is None:
        name = type(application.compute_provider).__name__.removesuffix("Provider").lower()
        path = f"application.compute_provider.{name}"
        message = "this version of nvoi deploys to `local` and `ssh` only"
        raise ConfigError("config", [Fault(0, 0, path, message)])
    return provider
