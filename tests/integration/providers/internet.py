"""What brings visitors to an app on rented servers: Cloudflare, or its first server itself."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.fakes.clouds.cloudflare import ACCOUNT, TOKEN, Cloudflare
from tests.fakes.edge import Edge
from tests.integration.providers.datacenter import Datacenter, RentedFleet

NAME = "www.example.com"


class Internet:
    """An account at Cloudflare, where its names lead, and what answers at a server, with `with`.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path, datacenter: Datacenter) -> None:
        self._folder = folder
        self._stack = ExitStack()
        folder.mkdir()
        self.cloudflare = Cloudflare()
        #: Where the app's name at Cloudflare leads, from here and from its servers.
        self.edge = Edge(NAME, folder=folder, is_public=True)
        datacenter.add_hosts(self.edge.hosts)

    def __enter__(self) -> Self:
        self._stack.enter_context(self.cloudflare)
        self._stack.enter_context(self.edge)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def use_cloudflare(self, fleet: RentedFleet) -> None:
        fleet.web.update(domain="example.com", subdomain="www")
        account = {"api_token": TOKEN, "account_id": ACCOUNT}
        fleet.application["domain_provider"] = {"cloudflare": account}
        fleet.environ |= {"CLOUDFLARE_BASE_URL": self.cloudflare.url, **self.edge.environ}

    def use_ingress(self, fleet: RentedFleet, address: str) -> None:
        """Have the app's name lead to an address, which is its name: no resolver knows others."""
        fleet.web["domain"] = address
        fleet.web.pop("subdomain", None)
        fleet.application["domain_provider"] = {"ingress": {"email": "ops@example.com"}}

    def answer_at(self, fleet: RentedFleet, address: str) -> None:
        """Answer there in Traefik's place, with a certificate that the app's owner trusts."""
        folder = self._folder / address
        folder.mkdir()
        front = Edge(address, folder=folder, address=address)
        self._stack.enter_context(front)
        fleet.environ |= front.environ
