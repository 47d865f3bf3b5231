"""Accounts that are tried as they are typed, over HTTP, and what they list."""

from __future__ import annotations

from nvoi.config.schema import Cloudflare as CloudflareConfig
from nvoi.config.schema import HetznerProvider, ScalewayProvider
from nvoi.onboarding.accounts import ACCOUNTS, CLOUDFLARE, ask_account
from nvoi.secret import Secret
from tests.fakes.clouds.cloudflare import ACCOUNT, Cloudflare
from tests.fakes.clouds.cloudflare import TOKEN as CLOUDFLARE_TOKEN
from tests.fakes.clouds.hetzner import READING_TOKEN, TOKEN, Hetzner
from tests.fakes.clouds.scaleway import KEY, PROJECT, Scaleway
from tests.unit.onboarding.script import ENTER, Script

(HETZNER,) = (one for one in ACCOUNTS if one.kind is HetznerProvider)
(SCALEWAY,) = (one for one in ACCOUNTS if one.kind is ScalewayProvider)
AGAIN = "type them again"


def test_hetzner_lists_what_is_on_sale_where_with_cores_memory_architecture_and_price() -> None:
    with Hetzner() as cloud:
        environ = {"HCLOUD_ENDPOINT": cloud.url}
        small = "cax11: 2 cores, 4 GB, arm64, EUR 5.95 a month"
        script = Script("wrong", AGAIN, READING_TOKEN, AGAIN, TOKEN, "fsn1", small)
        found = ask_account(script, HETZNER, None, environ)
        assert found == HetznerProvider(Secret(TOKEN), "cax11", "fsn1", "arm64")
        assert "Hetzner does not know this token" in script.said[0]
        assert "the token may only read" in script.said[1]
        # What the config has is offered first, where it is still on sale.
        script = Script("", ENTER, ENTER)
        assert ask_account(script, HETZNER, found, environ) == found
        # Nothing of it has changed anything.
        assert cloud.list_names("servers") == cloud.list_names("ssh_keys") == []


def test_scaleway_lists_what_is_on_sale_in_its_zones() -> None:
    with Scaleway() as cloud:
        environ = {"SCW_API_URL": cloud.url}
        script = Script("wrong", PROJECT, AGAIN, KEY, ENTER, "fr-par-1", ENTER)
        found = ask_account(script, SCALEWAY, None, environ)
        assert script.said[0].startswith("! Scaleway: ")
        assert (found.secret_key, found.project_id, found.zone) == (
            Secret(KEY),
            PROJECT,
            "fr-par-1",
        )
        assert found.server_type == "DEV1-S"


def test_a_cloud_that_cannot_be_reached_leaves_its_questions_to_be_typed() -> None:
    environ = {"HCLOUD_ENDPOINT": "http://127.0.0.1:1/v1"}
    script = Script(TOKEN, "keep them as they are", "cx33", "hel1", ENTER)
    found = ask_account(script, HETZNER, None, environ)
    assert found == HetznerProvider(Secret(TOKEN), "cx33", "hel1", "x86")


def test_cloudflare_lists_the_domains_of_the_account() -> None:
    with Cloudflare() as cloud:
        environ = {"CLOUDFLARE_BASE_URL": cloud.url}
        script = Script("wrong", ACCOUNT, AGAIN, CLOUDFLARE_TOKEN, ENTER)
        found = ask_account(script, CLOUDFLARE, None, environ)
        assert found == CloudflareConfig(Secret(CLOUDFLARE_TOKEN), ACCOUNT)
        assert script.said[0].startswith("! Cloudflare: ")
        assert script.said[-1] == "  Domains of the account: example.com"
        assert not cloud.tunnels
