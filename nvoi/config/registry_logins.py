"""Registries: which one an image is in, and what it is logged in to with. All functions are pure.

Sources: Distribution, reference/normalize.go, for what of a name is a registry; docker-login(1) and
containers-auth.json(5) for what engines call each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nvoi.config.schema import Login

DOCKER_HUB = "docker.io"
#: What else it is called, and what docker, podman and the kubelet alike keep its login under.
HUB_NAMES = frozenset({"docker.io", "index.docker.io"})
HUB_KEY = "https://index.docker.io/v1/"


def find_registry(image: str) -> str:
    """The registry of an image, with the port that its name has; without one it is Docker Hub."""
    host, slash, _ = image.partition("/")
    is_host = bool(slash) and (any(sign in host for sign in ".:") or host == "localhost")
    return normalize(host) if is_host else DOCKER_HUB


def normalize(name: str) -> str:
    """A registry by the one name that all its names stand for.

    ``name`` may be what engines keep a login under: a URL, or a registry with a path.
    """
    host = name.partition("://")[2] or name
    host = host.partition("/")[0].lower()
    return DOCKER_HUB if host in HUB_NAMES else host


def find_login(logins: Mapping[str, Login], image: str) -> Login | None:
    """What an image's registry is logged in to with; None where the config names no login."""
    registry = find_registry(image)
    return next((login for name, login in logins.items() if normalize(name) == registry), None)


def select_logins(logins: Mapping[str, Login], images: Iterable[str]) -> dict[str, Login]:
    """Those of ``logins`` that one of the images needs."""
    needed = {*map(find_registry, images)}
    return {name: login for name, login in logins.items() if normalize(name) in needed}


def build_auths(logins: Mapping[str, Login]) -> dict[str, dict[str, str]]:
    """``auths`` of the files that engines and the kubelet read. It holds the passwords."""
    return {
        HUB_KEY if normalize(name) == DOCKER_HUB else normalize(name): {
            "auth": login.basic.reveal()
        }
        for name, login in logins.items()
    }
