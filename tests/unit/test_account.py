from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from nvoi.config.schema import AWSProvider, Cloudflare
from nvoi.domains.cloudflare_api import Account
from nvoi.errors import UsageError
from nvoi.providers.aws.api import PACE, Clients
from nvoi.providers.hetzner.api import API
from nvoi.providers.scaleway.api import Pace, ScalewayAPI
from nvoi.secret import Secret

TOKEN = Secret("t0ken")
AWS = AWSProvider(TOKEN, TOKEN, "eu-central-1", "t3.small", "x86")

OPEN: dict[str, Callable[[Mapping[str, str]], object]] = {
    "HCLOUD_ENDPOINT": lambda environ: API(TOKEN, environ, Pace()),
    "SCW_API_URL": lambda environ: ScalewayAPI(TOKEN, "project", environ, Pace()),
    "AWS_ENDPOINT_URL": lambda environ: Clients(AWS, environ, PACE).get("eu-central-1"),
    "CLOUDFLARE_BASE_URL": lambda environ: Account(Cloudflare(TOKEN, "account"), environ),
}


@pytest.mark.parametrize("url", ["localhost:5000", "ftp://h", "http://", "http://[h", "http://h:x"])
@pytest.mark.parametrize("variable", OPEN)
def test_an_address_of_an_api_that_is_none_is_told(variable: str, url: str) -> None:
    with pytest.raises(UsageError, match=f"^{variable} must be an http or https URL.*unset it"):
        OPEN[variable]({variable: url})
    OPEN[variable]({variable: ""})
