"""Where an app runs. A target is two visible tuples of steps, DEPLOY and DELETE."""

from __future__ import annotations

from typing import Any

from nvoi.config.schema import Config, LocalProvider
from nvoi.errors import ConfigError, Fault
from nvoi.targets.step import Target


def get_target(config: Config) -> Target[Any]:
    """The target of the config's ``compute_provider``.

    Raises:
        ConfigError: this version cannot deploy there.
    """
    provider = config.application.compute_provider
    if isinstance(provider, LocalProvider):
        from nvoi.targets.local import TARGET  # noqa: PLC0415 - one target of several

        return TARGET
    name = type(provider).__name__.removesuffix("Provider").lower()
    fault = Fault(
        0,
        0,
        f"application.compute_provider.{name}",
        "this version of nvoi deploys to `local` only",
    )
    raise ConfigError("config", [fault])
