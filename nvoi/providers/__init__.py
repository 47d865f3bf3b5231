"""Who has the servers: one Protocol and its records. A new cloud is one file here."""

from __future__ import annotations

from nvoi.config.schema import Application, SSHProvider
from nvoi.errors import ConfigError, Fault
from nvoi.providers.provider import Provider, Server
from nvoi.providers.ssh import OwnServers

__all__ = ["Provider", "Server", "get_provider"]


def get_provider(application: Application) -> Provider:
    """The provider of the config's ``compute_provider``.

    Raises:
        ConfigError: this version has no servers from there.
    """
    if isinstance(application.compute_provider, SSHProvider):
        return OwnServers()
    name = type(application.compute_provider).__name__.removesuffix("Provider").lower()
    path = f"application.compute_provider.{name}"
    message = "this version of nvoi deploys to `local` and `ssh` only"
    raise ConfigError("config", [Fault(0, 0, path, message)])
