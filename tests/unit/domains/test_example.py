"""The example with Cloudflare does what it says."""

from __future__ import annotations

from pathlib import Path

from nvoi.operation import Request
from nvoi.targets.cluster.checks import check_request
from tests.fakes.clouds.cloudflare import ACCOUNT, TOKEN, Cloudflare
from tests.unit.config.texts import parse
from tests.unit.domains.accounts import delete, deploy

EXAMPLE = Path(__file__).parents[3] / "examples" / "cloudflare.yml"


def test_the_example_has_a_public_address_and_no_more(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    for name in ("PRIVATE_KEY", "PUBLIC_KEY"):
        text = text.replace(f"$SSH_{name}", f"${name}")
    config = parse(text, CLOUDFLARE_API_TOKEN=TOKEN, CLOUDFLARE_ACCOUNT_ID=ACCOUNT)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    check_request(Request(config, tmp_path, tmp_path, "run"))
    with Cloudflare() as cloudflare:
        deploy(cloudflare, config.application)
        assert [*cloudflare.all_records] == ["www.example.com CNAME"]
        delete(cloudflare, config.application)
        assert not cloudflare.live_tunnels
