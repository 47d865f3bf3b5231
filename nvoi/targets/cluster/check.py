"""What of a valid config a cluster cannot have, found before anything is touched."""

from __future__ import annotations

from nvoi import cloudflare
from nvoi.errors import ConfigError, Fault
from nvoi.images.context import find_dockerfile
from nvoi.kubernetes import checks
from nvoi.providers import get_provider
from nvoi.targets.step import Request


def check(request: Request) -> None:
    """Find what cannot be deployed.

    Raises:
        ConfigError: with every fault. They have no line: the document is long read.
        UsageError: there is nothing to build an image from.
    """
    application = request.config.application
    faults: list[Fault] = [
        *get_provider(application).find_faults(application),
        *checks.find_faults(application),
        *cloudflare.find_faults(application),
    ]
    if faults:
        raise ConfigError("config", faults)
    if any(service.image is None for service in application.app.values()):
        find_dockerfile(request.directory, request.dockerfile)
