"""Has registries let this machine's engine in: a private folder, which ends with the command.

The passwords are in no argument and no process list, and nothing of the user's own logins changes.
Sources: docker(1), "Configuration files"; containers-auth.json(5).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nvoi.config.registry_logins import build_auths, normalize
from nvoi.config.schema import Login
from nvoi.images.engines import Engine, Podman
from nvoi.images.registry_client import Registry

CONFIG = "config.json"
NO_LOGINS: Mapping[str, Login] = MappingProxyType({})


@contextmanager
def log_in(
    engine: Engine,
    registry: Registry | None,
    environ: Mapping[str, str],
    logins: Mapping[str, Login] = NO_LOGINS,
) -> Iterator[Mapping[str, str]]:
    """The environment in which commands of ``engine`` are let in by the cluster's ``registry``.

    ``logins`` are the config's, by the names of other registries, and come before the user's own.
    """
    auths: dict[str, Any] = dict(build_auths(logins))
    if registry is not None and registry.credentials is not None:
        auths[registry.address] = {"auth": registry.credentials.basic.reveal()}
    if not auths:
        yield environ
        return
    with tempfile.TemporaryDirectory(prefix="nvoi-login-") as name:
        write = write_podman if isinstance(engine, Podman) else write_docker
        yield {**environ, **write(Path(name), auths, environ)}


def write_podman(
    folder: Path, auths: Mapping[str, Any], environ: Mapping[str, str]
) -> dict[str, str]:
    """Podman looks nowhere else then: the file has the user's own logins too."""
    # The first of them that has a login counts.
    configs = [read_config(path) for path in reversed(list_podman_files(environ))]
    own: dict[str, dict[str, Any]] = {
        part: {key: one for config in configs for key, one in (config.get(part) or {}).items()}
        for part in ("auths", "credHelpers")
    }
    others = {part: drop_same(found, auths) for part, found in own.items()}
    write_config(folder, {**others, "auths": {**others["auths"], **auths}})
    return {"REGISTRY_AUTH_FILE": str(folder / CONFIG)}


def list_podman_files(environ: Mapping[str, str]) -> list[Path]:
    """Where podman has logins, in the order in which it looks."""
    if named := environ.get("REGISTRY_AUTH_FILE"):
        return [Path(named)]
    home = Path(environ.get("HOME", "/"))
    runtime = environ.get("XDG_RUNTIME_DIR")
    own = Path(runtime) / "containers" if runtime else Path("/run/containers") / str(os.getuid())
    settings = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers"
    docker = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    return [own / "auth.json", settings / "auth.json", docker / CONFIG]


def write_docker(
    folder: Path, auths: Mapping[str, Any], environ: Mapping[str, str]
) -> dict[str, str]:
    """Docker has all that the user's own folder has: contexts, plugins, other logins."""
    own = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "/")) / ".docker")
    for entry in own.iterdir() if own.is_dir() else ():
        if entry.name != CONFIG:
            (folder / entry.name).symlink_to(entry)
    config = read_config(own / CONFIG)
    # What the user keeps passwords in is not asked for these: an empty helper is the file.
    helpers = dict.fromkeys(auths, "")
    for part, new in (("auths", auths), ("credHelpers", helpers)):
        config[part] = {**drop_same(config.get(part) or {}, auths), **new}
    write_config(folder, config)
    # Builders that are made meanwhile stay.
    builders = environ.get("BUILDX_CONFIG") or str(own / "buildx")
    return {"BUILDX_CONFIG": builders, "DOCKER_CONFIG": str(folder)}


def drop_same(found: Mapping[str, Any], auths: Mapping[str, Any]) -> dict[str, Any]:
    """``found`` without what is of the registries of ``auths``, under whichever of their names."""
    own = {*map(normalize, auths)}
    return {key: value for key, value in found.items() if normalize(key) not in own}


def write_config(folder: Path, content: Mapping[str, Any]) -> None:
    path = folder / CONFIG
    path.touch(0o600)
    path.write_text(json.dumps(content), encoding="utf-8")


def read_config(path: Path) -> dict[str, Any]:
    """An engine's config; nothing where there is none, or where it could not read it either."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
