"""The examples for each cloud and each way to a domain: whole configs of one app, in one form."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nvoi.cli.config import build_config
from nvoi.config.loader import load
from nvoi.config.schema import PROVIDERS, Config
from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.domains import get_domains
from nvoi.operation import Request
from nvoi.providers import get_provider
from nvoi.targets.cluster.checks import check_request
from tests.fakes.clouds import aws_proxy, cloudflare, hetzner, scaleway
from tests.fakes.clouds.moto import get_moto
from tests.fakes.clouds.server import Cloud
from tests.integration.pages import ROOT

EXAMPLES = ROOT / "examples"
KEYS = generate_ssh_keys("shop")
ENVIRON = {
    "AWS_ACCESS_KEY_ID": aws_proxy.KEY,
    "AWS_SECRET_ACCESS_KEY": "s3cr3t-s3cr3t",
    "CLOUDFLARE_API_TOKEN": cloudflare.TOKEN,
    "CLOUDFLARE_ACCOUNT_ID": cloudflare.ACCOUNT,
    "HETZNER_API_TOKEN": hetzner.TOKEN,
    "SCALEWAY_SECRET_KEY": scaleway.KEY,
    "SCALEWAY_PROJECT_ID": scaleway.PROJECT,
    "SSH_PRIVATE_KEY": KEYS.private_key.reveal(),
    "SSH_PUBLIC_KEY": KEYS.public_key,
    "POSTGRES_PASSWORD": "made-up",
}
#: Of each cloud: its stand-in, the variable with its address, and what a deploy would make there.
CLOUDS: dict[str, tuple[Callable[[], Cloud], str, set[str]]] = {
    "aws": (
        lambda: aws_proxy.StrictAWS(get_moto()),
        "AWS_ENDPOINT_URL",
        {"makes server shop-main-1, a t4g.medium in eu-central-1a"},
    ),
    "cloudflare": (
        cloudflare.Cloudflare,
        "CLOUDFLARE_BASE_URL",
        {
            "makes the tunnel nvoi-shop-web",
            "makes the DNS record shop.example.com, which leads to it",
        },
    ),
    "hetzner": (
        hetzner.Hetzner,
        "HCLOUD_ENDPOINT",
        {
            "makes server shop-main-1, a cx23 in fsn1",
            "makes volume shop-main-database, 20 GB in fsn1",
        },
    ),
    "scaleway": (
        scaleway.Scaleway,
        "SCW_API_URL",
        {
            "makes server shop-main-1, a DEV1-M in fr-par-1",
            "makes volume shop-main-database, 20 GB in fr-par-1",
        },
    ),
}


def read_example(name: str) -> Config:
    text = (EXAMPLES / name / "deploy.yml").read_text()
    return load(text, filename="deploy.yml", environ=ENVIRON)


@pytest.mark.parametrize("name", ["ingress", *CLOUDS])
def test_an_example_is_the_shop_s_config_for_another_place(name: str, tmp_path: Path) -> None:
    config, shop = read_example(name), read_example("shop")
    # In a copy of the shop it can be deployed as it is.
    folder = shutil.copytree(EXAMPLES / "shop", tmp_path / "shop")
    check_request(Request(config, folder, tmp_path, "run"))
    app = {
        key: replace(one, domain=None, subdomain=None)
        for key, one in config.application.app.items()
    }
    assert (app, config.application.database) == (shop.application.app, shop.application.database)
    # The page names all variables, and no others.
    text = (EXAMPLES / name / "deploy.yml").read_text()
    page = (EXAMPLES / name / "README.md").read_text()
    assert set(re.findall(r"\$([A-Z_]+)", text)) == set(re.findall(r"`([A-Z_]{6,})`", page))
    assert f"](../{name}/README.md)" not in page
    assert f"](examples/{name}/README.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", CLOUDS)
def test_an_account_can_have_what_its_example_says(name: str) -> None:
    application = read_example(name).application
    make, variable, told = CLOUDS[name]
    opened: AbstractContextManager[Any] = make()
    with opened as cloud:
        environ = {variable: cloud.url}
        lines = get_provider(application, environ).describe()
        lines += get_domains(application, environ).describe()
        assert told <= {*lines}, lines
        assert all(call.is_reading for call in cloud.calls)


@pytest.mark.parametrize("name", [name for name in CLOUDS if name in PROVIDERS])
def test_a_new_config_lacks_only_what_its_placeholders_stand_for(name: str) -> None:
    text = re.sub(
        r"(\w+): CHANGE-ME",
        lambda match: f"{match[1]}: {ENVIRON[f'{name}_{match[1]}'.upper()]}",
        build_config("shop", name),
    )
    application = load(text, filename="deploy.yml", environ=None).application
    make, variable, _ = CLOUDS[name]
    opened: AbstractContextManager[Any] = make()
    with opened as cloud:
        provider = get_provider(application, {variable: cloud.url})
        assert provider.find_faults() == []
        assert any("shop-main-1" in line for line in provider.describe())
