"""Cloudflare in the kill table: two services with a name each, and one that the config has left.

A change gives the name of one to the other, which loses its own; the first gets a new one.
"""

from __future__ import annotations

from nvoi.account import Pace
from nvoi.config.schema import Application
from nvoi.domains.cloudflare import Tunnels
from nvoi.domains.cloudflare_api import BASE_URL_VARIABLE
from nvoi.errors import NvoiError
from tests.fakes.clouds.cloudflare import Cloudflare
from tests.integration.clouds.case import Case
from tests.unit.domains.accounts import API, WEB, build_application

#: Seconds: what takes long does so on purpose.
PACE = Pace(answer=0.4, patience=2.0, pause=0.01, poll=0.005)
WHOLE = build_application(WEB, API)
AFTER = build_application(
    WEB.replace("www", "new"), API.replace("subdomain: api", "subdomain: www")
)


def open_tunnels(cloudflare: Cloudflare, application: Application) -> Tunnels:
    """What a new run has of them."""
    account = application.cloudflare
    assert account is not None
    return Tunnels(application, account, {BASE_URL_VARIABLE: cloudflare.url}, PACE)


def start() -> Cloudflare:
    cloudflare = Cloudflare()
    for number in range(100):
        cloudflare.add_tunnel(f"nvoi-shop-{number}-web", f"x{number}.example.com")
        cloudflare.add_record(f"x{number}.example.com", "A", "192.0.2.9")
    # Made by a deploy before, of a service and a name that the config has left since.
    old = cloudflare.add_tunnel("nvoi-shop-old", "old.example.com")
    comment = "managed-by=nvoi app=shop"
    cloudflare.add_record("old.example.com", "CNAME", old.target, comment=comment)
    return cloudflare


def deploy(cloudflare: Cloudflare, application: Application) -> None:
    """What a deploy asks of it, in its order; what it returns for the cluster is not applied."""
    tunnels = open_tunnels(cloudflare, application)
    tunnels.check()
    try:
        tunnels.connect("run")
        tunnels.publish()
    except NvoiError:
        tunnels.restore()
        raise
    tunnels.trim(())


def list_left(cloudflare: Cloudflare) -> list[str]:
    records = cloudflare.all_records.values()
    own = [one for one in records if one["comment"] == "managed-by=nvoi app=shop"]
    tunnels = [name for name in cloudflare.live_tunnels if not is_others(name)]
    return [f"tunnel {name}" for name in tunnels] + [f"record {one['name']}" for one in own]


def is_others(name: str) -> bool:
    return name.removeprefix("nvoi-shop-").removesuffix("-web").isdecimal()


def check_whole(cloudflare: Cloudflare, application: Application) -> None:
    names = {f"{one.subdomain}.example.com": one.name for one in application.app.values()}
    assert sorted(list_left(cloudflare)) == [
        *(f"record {name}" for name in sorted(names)),
        *("tunnel nvoi-shop-api", "tunnel nvoi-shop-web"),
    ]
    for name, service in names.items():
        tunnel = cloudflare.live_tunnels[f"nvoi-shop-{service}"]
        record = cloudflare.all_records[f"{name} CNAME"]
        assert (record["content"], record["proxied"]) == (tunnel.target, True)
        assert tunnel.rules.keys() == {name, ""}
        assert tunnel.rules[name].startswith(f"http://shop-{service}.")


def show_others(cloudflare: Cloudflare) -> object:
    return {
        "tunnels": [one.build() for one in cloudflare.tunnels if is_others(one.name)],
        "records": [one for one in cloudflare.all_records.values() if one["type"] == "A"],
    }


CASE = Case(
    name="Cloudflare",
    whole=WHOLE,
    before=WHOLE,
    after=AFTER,
    start=start,
    deploy=deploy,
    change=deploy,
    delete=lambda cloudflare, app: open_tunnels(cloudflare, app).disconnect(()),
    check_whole=check_whole,
    list_left=list_left,
    show_others=show_others,
)
