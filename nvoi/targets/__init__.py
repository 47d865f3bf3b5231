"""Where an app runs, and what of its checkout. A target is tuples of steps such as DEPLOY."""

from __future__ import annotations

from typing import Any

from nvoi.config.loader import is_plain
from nvoi.config.schema import Config, LocalProvider
from nvoi.errors import NvoiError
from nvoi.operation import Request, Target
from nvoi.source import Source, read_source


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


def read_checkout(request: Request) -> Source:
    """Find what of the checkout is deployed: not nvoi's own state, encrypted configs and keys.

    Raises:
        NvoiError: the folder cannot be read, or holds nothing.
    """
    directory, home = request.directory, request.home.absolute()
    ssh_keys, file = request.config.application.ssh_keys, request.config_file
    # By their real paths: each may be named through a link.
    is_inside = directory.resolve() in home.resolve().parents
    try:
        source = read_source(
            directory,
            request.environ,
            skip=[home if is_inside else home / request.config.application.name],
            key_files=[] if request.key_file is None else [request.key_file],
            private_keys=[] if ssh_keys is None else [ssh_keys.private_key.reveal()],
            config_file=None if file is None or is_plain(file) else file,
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise NvoiError(f"{error.filename or directory} cannot be read: {reason}") from error
    if not source.names:
        raise NvoiError(f"{directory} holds no files", hint="name the app's folder with --dir")
    return source
