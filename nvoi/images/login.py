"""Has the registry let this machine's engine in: a private folder, which ends with the command.

The password is in no argument and no process list, and nothing of the user's own logins changes.
Sources: docker(1), "Configuration files"; containers-auth.json(5).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nvoi.images.engines import Engine, Podman
from nvoi.images.registry import Registry

CONFIG = "config.json"


@contextmanager
def log_in(
    engine: Engine, registry: Registry | None, environ: Mapping[str, str]
) -> Iterator[Mapping[str, str]]:
    """The environment in which commands of ``engine`` are let in by ``registry``."""
    if registry is None or registry.credentials is None:
        yield environ
        return
    with tempfile.TemporaryDirectory(prefix="nvoi-login-") as name:
        login = {registry.address: {"auth": registry.credentials.basic.reveal()}}
        write = write_podman if isinstance(engine, Podman) else write_docker
        yield {**environ, **write(Path(name), login, environ)}


def write_podman(folder: Path, login: Any, environ: Mapping[str, str]) -> dict[str, str]:
    """Podman looks nowhere else then; it pushes to the one registry, and pulls nothing."""
    del environ
    write_config(folder, {"auths": login})
    return {"REGISTRY_AUTH_FILE": str(folder / CONFIG)}


def write_docker(folder: Path, login: Any, environ: Mapping[str, str]) -> dict[str, str]:
    """Docker has all that the user's own folder has: contexts, plugins, other logins."""
    own = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "/")) / ".docker")
    for entry in own.iterdir() if own.is_dir() else ():
        if entry.name != CONFIG:
            (folder / entry.name).symlink_to(entry)
    config = read_config(own / CONFIG)
    # What the user keeps passwords in is not asked for this one: an empty helper is the file.
    helpers = dict.fromkeys(login, "")
    config["auths"] = {**(config.get("auths") or {}), **login}
    config["credHelpers"] = {**(config.get("credHelpers") or {}), **helpers}
    write_config(folder, config)
    # Builders that are made meanwhile stay.
    builders = environ.get("BUILDX_CONFIG") or str(own / "buildx")
    return {"BUILDX_CONFIG": builders, "DOCKER_CONFIG": str(folder)}


def write_config(folder: Path, content: Mapping[str, Any]) -> None:
    path = folder / CONFIG
    path.touch(0o600)
    path.write_text(json.dumps(content), encoding="utf-8")


def read_config(path: Path) -> dict[str, Any]:
    """Docker's config; nothing where there is none, or where Docker could not read it either."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
