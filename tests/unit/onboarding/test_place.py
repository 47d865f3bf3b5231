"""Accounts that are tried as they are typed, over HTTP, and what they list."""

from __future__ import annotations

from dataclasses import replace

from nvoi.config.schema import AWSProvider, HetznerProvider, ScalewayProvider
from nvoi.config.schema import Cloudflare as CloudflareConfig
from nvoi.onboarding.place import ACCOUNTS, CLOUDFLARE, ask_account
from nvoi.providers import list_regions
from nvoi.secret import Secret
from tests.fakes.clouds.aws_proxy import KEY as AWS_KEY
from tests.fakes.clouds.aws_proxy import StrictAWS
from tests.fakes.clouds.cloudflare import ACCOUNT, Cloudflare
from tests.fakes.clouds.cloudflare import TOKEN as CLOUDFLARE_TOKEN
from tests.fakes.clouds.hetzner import READING_TOKEN, TOKEN, Hetzner
from tests.fakes.clouds.moto import get_moto
from tests.fakes.clouds.scaleway import KEY, PROJECT, Scaleway
from tests.unit.onboarding.script import ENTER, Script

(HETZNER,) = (one for one in ACCOUNTS if one.kind is HetznerProvider)
(AWS,) = (one for one in ACCOUNTS if one.kind is AWSProvider)
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
        # What the config has is offered first, where it is still on sale, else the cheapest.
        gone = replace(found, server_type="cx11")
        assert ask_account(Script("", ENTER, ENTER), HETZNER, gone, environ).server_type == "cx23"
        script = Script("", ENTER, ENTER)
        assert ask_account(script, HETZNER, found, environ) == found
        # Nothing of it has changed anything.
        assert cloud.list_names("servers") == cloud.list_names("ssh_keys") == []


def test_aws_lists_the_regions_of_the_account_and_the_usual_types_of_the_one_that_is_chosen() -> (
    None
):
    with StrictAWS(get_moto()) as cloud:
        environ = {"AWS_ENDPOINT_URL": cloud.url}
        cloud.disabled = {"af-south-1"}
        small = "t4g.small: 2 cores, 2 GB, arm64, USD 20.67 a month"
        script = Script("AKIAUNKNOWN", "s3cr3t-s3cr3t", AGAIN, AWS_KEY, "", "eu-west-1", small)
        found = ask_account(script, AWS, None, environ)
        secret = Secret("s3cr3t-s3cr3t")
        assert found == AWSProvider(Secret(AWS_KEY), secret, "eu-west-1", "t4g.small", "arm64")
        assert script.said[0].startswith("! AWS: AWS does not take the credentials: AuthFailure")
        # A type that the config has is offered first, also where it is not a usual one.
        large = replace(found, instance_type="m6g.metal")
        script = Script("", "", ENTER, ENTER)
        cloud.forbidden = {"pricing:GetProducts"}
        assert ask_account(script, AWS, large, environ) == large
        assert (
            "There are no prices: the key may lack the right to pricing:GetProducts"
            in script.said[0]
        )
        assert "af-south-1" not in list_regions(found, environ)
        # One who may only read is told so once the region is chosen.
        cloud.forbidden = {"ec2:CreateVpc"}
        script = Script("", "", ENTER, "keep them as they are", ENTER, "t3.small", "x86")
        kept = ask_account(script, AWS, found, environ)
        assert "! AWS: the credentials may not do ec2:CreateVpc" in script.said[0]
        assert (kept.region, kept.instance_type, kept.architecture) == (
            "eu-west-1",
            "t3.small",
            "x86",
        )
        assert all(call.is_reading for call in cloud.calls)


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
