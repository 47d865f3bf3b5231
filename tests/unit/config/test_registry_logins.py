from __future__ import annotations

import pytest

from nvoi.config.registry_logins import build_auths, find_login, find_registry, select_logins
from nvoi.config.schema import Login
from nvoi.secret import Secret

HUB, OWN = Login("hub", Secret("hub-pa55word")), Login("own", Secret("own-pa55word"))
DIGEST = f"sha256:{64 * 'a'}"


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        *((image, "docker.io") for image in ("web", "web:3", "acme/web", f"acme/web:3@{DIGEST}")),
        *(("docker.io/web", "docker.io"), ("index.docker.io/acme/web:3", "docker.io")),
        *(("ghcr.io/acme/web", "ghcr.io"), ("GHCR.io/acme/web", "ghcr.io")),
        *(("localhost/web", "localhost"), ("registry:5000/web:3", "registry:5000")),
        ("registry.example.com/a/b", "registry.example.com"),
        (f"10.43.0.100:5000/nvoi-shop:2026@{DIGEST}", "10.43.0.100:5000"),
    ],
)
def test_the_registry_of_an_image_is_the_host_that_its_name_begins_with(
    image: str, registry: str
) -> None:
    assert find_registry(image) == registry


@pytest.mark.parametrize(
    ("name", "image", "login"),
    [
        *(("docker.io", "acme/web", OWN), ("index.docker.io", "docker.io/acme/web", OWN)),
        *(("registry.example.com", "registry.example.com/web", OWN),),
        *(("Registry.Example.com", "registry.example.com/web", OWN),),
        # Another port is another registry, and so is another host of the same domain.
        *(("registry.example.com", "registry.example.com:5000/web", None),),
        *(("registry.example.com:5000", "registry.example.com/web", None),),
        *(("example.com", "registry.example.com/web", None), ("docker.io", "ghcr.io/web", None)),
        ("registry.example.com", "registry.example.com.evil.net/web", None),
    ],
)
def test_a_login_is_for_the_images_of_its_registry_alone(
    name: str, image: str, login: Login | None
) -> None:
    assert find_login({name: OWN}, image) is login
    assert bool(select_logins({name: OWN}, [image])) is (login is not None)


def test_engines_find_each_login_by_the_name_that_they_call_its_registry() -> None:
    auths = build_auths({"docker.io": HUB, "Registry.example.com:5000": OWN})
    assert auths == {
        "https://index.docker.io/v1/": {"auth": "aHViOmh1Yi1wYTU1d29yZA=="},
        "registry.example.com:5000": {"auth": "b3duOm93bi1wYTU1d29yZA=="},
    }
