"""Where an app runs. A target is tuples of steps: DEPLOY, DELETE, and ROLLBACK in a cluster."""

from __future__ import annotations

from typing import Any

from nvoi.config.schema import Config, LocalProvider
from nvoi.operation import Target


def get_target(config: Config) -> Target[Any]:
    """The target of the config's ``compute_provider``: this machine, or a cluster of servers.

    Raises:
        ConfigError: the user's ~/.ssh/config cannot be used.
        UsageError: what that needs is not installed.
    """
    if isinstance(config.application.compute_provider, LocalProvider):
        from nvoi.targets import local  # noqa: PLC0415 - as below

        local.require_extra()
        return local.TARGET
    # To import it takes three times as long as the other: SSH and the API's client come with it.
    from nvoi.providers import get_provider  # noqa: PLC0415 - only where it is used
    from nvoi.targets import cluster  # noqa: PLC0415 - only where it is used

    get_provider(config.application)
    return cluster.TARGET
