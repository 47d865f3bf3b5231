"""Cloudflare in the kill table: two services with a name each, and one that the config has left.

A change gives the name of one to the other, which loses its own; the first gets a new one.
"""

from __future__ import annotations

from typing import Self

from nvoi.account import Pace
from nvoi.config.schema import Application
from nvoi.domains.cloudflare import Tunnels
from nvoi.domains.cloudflare_api import BASE_URL_VARIABLE
from nvoi.errors import NvoiError
from tests.fakes.clouds.cloudflare import Cloudflare
from tests.integration.providers.site import Case
from tests.unit.domains.accounts import API, WEB, build_application

#: Seconds: what takes long does so on purpose.
PACE = Pace(answer=0.4, patience=2.0, pause=0.01, poll=0.005)


class CloudflareCase(Case):
    title = "Cloudflare"
    whole = before = build_application(WEB, API)
    after = build_application(
        WEB.replace("www", "new"), API.replace("subdomain: api", "subdomain: www")
    )

    def __init__(self, cloud: Cloudflare) -> None:
        self.cloud = cloud

    @classmethod
    def start(cls, others: int = 100) -> Self:
        cloud = Cloudflare()
        for number in range(others):
            cloud.add_tunnel(f"nvoi-shop-{number}-web", f"x{number}.example.com")
            cloud.add_record(f"x{number}.example.com", "A", "192.0.2.9")
        # Made by a deploy before, of a service and a name that the config has left since.
        old = cloud.add_tunnel("nvoi-shop-old", "old.example.com")
        comment = "managed-by=nvoi app=shop"
        cloud.add_record("old.example.com", "CNAME", old.target, comment=comment)
        return cls(cloud)

    def open(self, application: Application) -> Tunnels:
        """What a new run has of them."""
        account = application.cloudflare
        assert account is not None
        return Tunnels(application, account, {BASE_URL_VARIABLE: self.cloud.url}, PACE)

    def deploy(self, application: Application) -> None:
        # What it returns for the cluster is not applied.
        tunnels = self.open(application)
        tunnels.check()
        try:
            tunnels.connect("run")
            tunnels.publish()
        except NvoiError:
            tunnels.restore()
            raise
        tunnels.trim(())

    change = deploy

    def delete(self, application: Application) -> None:
        self.open(application).disconnect(())

    def list_left(self) -> list[str]:
        records = self.cloud.all_records.values()
        own = [one for one in records if one["comment"] == "managed-by=nvoi app=shop"]
        tunnels = [name for name in self.cloud.live_tunnels if not is_others(name)]
        return [f"tunnel {name}" for name in tunnels] + [f"record {one['name']}" for one in own]

    def check_whole(self, application: Application) -> None:
        names = {f"{one.subdomain}.example.com": one.name for one in application.app.values()}
        assert sorted(self.list_left()) == [
            *(f"record {name}" for name in sorted(names)),
            *("tunnel nvoi-shop-api", "tunnel nvoi-shop-web"),
        ]
        for name, service in names.items():
            tunnel = self.cloud.live_tunnels[f"nvoi-shop-{service}"]
            record = self.cloud.all_records[f"{name} CNAME"]
            assert (record["content"], record["proxied"]) == (tunnel.target, True)
            assert tunnel.rules.keys() == {name, ""}
            assert tunnel.rules[name].startswith(f"http://shop-{service}.")

    def show_others(self) -> object:
        return {
            "tunnels": [one.build() for one in self.cloud.tunnels if is_others(one.name)],
            "records": [one for one in self.cloud.all_records.values() if one["type"] == "A"],
        }


def is_others(name: str) -> bool:
    return name.removeprefix("nvoi-shop-").removesuffix("-web").isdecimal()
