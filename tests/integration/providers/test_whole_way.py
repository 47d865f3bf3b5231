"""`nvoi deploy` from an empty account to an app that serves, and back, for each cloud.

Visitors come to it by Cloudflare, at Scaleway by the ingress before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nvoi.config.schema import SSHKeys
from nvoi.k3s.facts import METADATA_UNIT, METADATA_UNIT_FILE
from nvoi.kubernetes.pods import INGRESS
from nvoi.naming import VOLUMES_FOLDER
from nvoi.targets.cluster.boot import KEY_FILE
from tests.integration.providers.conftest import SITES
from tests.integration.providers.datacenter import Datacenter, RentedFleet
from tests.integration.providers.internet import NAME, Internet
from tests.integration.providers.scaleway_site import ScalewaySite
from tests.integration.providers.site import Site
from tests.integration.targets.cluster.machine import IS_ROOT

#: That a deploy with nothing to change may make.
MOST_CALLS = 12
FOLDER = f"{VOLUMES_FOLDER}/shop-main-data"
WORD = re.compile(r"[a-z0-9-]+")

#: What `look_at_ingress` sees.
Look = tuple[set[int], list[str], bool]
WITH_INGRESS: Look = ({22, 80, 443}, ["shop-web"], True)
WITHOUT: Look = ({22}, [], False)

StartTenant = Callable[..., RentedFleet]

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="nobody else may make disks")


@pytest.fixture
def datacenter(site: Site, tmp_path: Path) -> Iterator[Datacenter]:
    made = Datacenter(tmp_path / "datacenter", site)
    yield made
    made.close()


@pytest.fixture
def rent(tmp_path: Path, keys: SSHKeys, datacenter: Datacenter) -> Iterator[StartTenant]:
    """Prepares apps that are to run on rented servers."""
    made: list[RentedFleet] = []

    def start(**settings: Any) -> RentedFleet:
        made.append(RentedFleet(tmp_path / f"fleet-{len(made)}", keys, datacenter, **settings))
        return made[-1]

    yield start
    for fleet in made:
        fleet.close()


@pytest.fixture
def internet(tmp_path: Path, datacenter: Datacenter) -> Iterator[Internet]:
    with Internet(tmp_path / "internet", datacenter) as found:
        if not found.edge.address:
            pytest.skip("port 443 of this machine cannot be had")
        yield found


def lead_to_server(fleet: RentedFleet, datacenter: Datacenter, internet: Internet) -> None:
    """Set the record that an app's first deploy asks for, once its server has an address."""
    internet.use_ingress(fleet, "127.77.0.250")
    unset = fleet.run()
    assert unset.code == 1, unset.output
    address = datacenter.machines["shop-main-1"].address
    assert f"leads to 127.77.0.250: have its A record be {address} alone" in unset.output
    assert "set the records, and deploy again" in unset.output
    internet.use_ingress(fleet, address)
    internet.answer_at(fleet, address)


def look_at_ingress(fleet: RentedFleet, site: Site) -> Look:
    """The open ports, what has Traefik lead visitors to the app, and whether its pods let it in."""
    (rule,) = fleet.state.find("NetworkPolicy", "nvoi-shop")["spec"]["ingress"]
    return site.list_open_ports(), fleet.state.names("Ingress"), INGRESS in rule["from"]


def test_an_app_goes_all_the_way_from_an_empty_account_and_back(
    rent: StartTenant, datacenter: Datacenter, internet: Internet
) -> None:
    fleet, site = rent(), datacenter.site
    is_led_to_server = isinstance(site, ScalewaySite)
    before = WITH_INGRESS if is_led_to_server else WITHOUT
    fleet.servers = {"main": {"master": True, "volumes": {"data": {}}}, "work": {}}
    internet.use_cloudflare(fleet)
    look_first(fleet, site)
    assert not internet.cloudflare.tunnels

    if is_led_to_server:
        lead_to_server(fleet, datacenter, internet)
    make_all(fleet, datacenter)
    assert look_at_ingress(fleet, site) == before
    deploy_again(fleet, datacenter, internet)

    fleet.servers["main"]["volumes"]["data"] = {"size": 20}
    del fleet.servers["work"]
    seen: list[Look] = []
    internet.edge.requests.clear()
    internet.edge.on_request = lambda: seen.append(look_at_ingress(fleet, site))
    internet.use_cloudflare(fleet)
    change(fleet, datacenter)
    # From here and from the cluster; by the way of before visitors come until then.
    assert internet.edge.requests == [(NAME, "/up")] * 6
    assert seen == [before] * 6
    assert look_at_ingress(fleet, site) == WITHOUT

    delete_all(fleet, site)
    assert not internet.cloudflare.live_tunnels
    assert not internet.cloudflare.all_records
    assert datacenter.machines == {}


def look_first(fleet: RentedFleet, site: Site) -> None:
    with site.cloud.record() as calls:
        dry = fleet.run("deploy", "--dry-run")
    assert dry.code == 0, dry.output + dry.errors
    assert {"shop-main-1", "shop-main-data", "shop-work-1"} <= {*WORD.findall(dry.output)}
    assert [str(call) for call in calls if not call.is_reading] == []
    assert site.list_all() == {}


def make_all(fleet: RentedFleet, datacenter: Datacenter) -> None:
    made = fleet.run()
    assert made.code == 0, made.output
    assert sorted(datacenter.machines) == ["shop-main-1", "shop-work-1"]
    assert [path for _, path in fleet.app_server.requests] == ["/up"] * 3
    assert sorted(fleet.state.names("Node", None)) == sorted(datacenter.machines)
    master = datacenter.machines["shop-main-1"]
    assert f"{FOLDER} xfs defaults,nofail" in master.read("/etc/fstab")
    for machine in datacenter.machines.values():
        # Whoever reads the user data knows no key of it, and no first contact was trusted.
        assert machine.host_key not in machine.read(f"{KEY_FILE}.pub")
        assert machine.read(METADATA_UNIT_FILE)
    assert not (fleet.home / "known_hosts").exists()


def deploy_again(fleet: RentedFleet, datacenter: Datacenter, internet: Internet) -> None:
    with datacenter.site.cloud.record() as calls, internet.cloudflare.record() as others:
        again = fleet.run()
    assert again.code == 0, again.output
    assert [str(call) for call in (*calls, *others) if not call.is_reading] == []
    assert len(calls) + len(others) <= MOST_CALLS, (calls, others)
    assert "Waiting until" not in again.output
    assert "with XFS" not in again.output
    for machine in datacenter.machines.values():
        asked = machine.k3s.read_log("systemctl.log")
        assert [asked.count(verb) for verb in ("reload ssh", f"restart {METADATA_UNIT}")] == [1, 1]


def change(fleet: RentedFleet, datacenter: Datacenter) -> None:
    """Servers and volumes as the config now has them."""
    changed = fleet.run()
    assert changed.code == 0, changed.output
    said, done = "shop-work-1 is not in the config any more", "shop-work-1 is given back"
    assert changed.output.index(said) < changed.output.index("[STEP] App")
    assert changed.output.index("[STEP] Old servers") < changed.output.index(done)
    assert "shop-main-data: its file system has grown to fill it" in changed.output
    assert sorted(datacenter.machines) == ["shop-main-1"]
    assert sorted(fleet.state.names("Node", None)) == ["shop-main-1"]


def delete_all(fleet: RentedFleet, site: Site) -> None:
    kept = fleet.run("delete", "--yes")
    assert kept.code == 0, kept.output
    assert "volume shop-main-data" in kept.output
    assert kept.output.splitlines()[-1].endswith(
        "1 volume left, which costs money: `nvoi delete --delete-volumes` gives it back"
    )
    assert site.list_all() == {"volumes": ["shop-main-data"]}
    gone = fleet.run("delete", "--yes", "--delete-volumes")
    assert gone.code == 0, gone.output
    assert gone.output.splitlines()[-1].endswith("] 0 billable resources left")
    assert site.list_all() == {}


@pytest.mark.parametrize("site", SITES[:1], indirect=True)
def test_a_branch_comes_and_goes_beside_an_app_that_a_cut_off_run_has_half_made(
    rent: StartTenant, datacenter: Datacenter
) -> None:
    fleet, branch, site = rent(), rent(branch="topic"), datacenter.site
    running = fleet.start()
    running.wait_for("[STEP] k3s")
    running.process.kill()
    running.process.wait()
    half = site.list_all()
    outcome = branch.run()
    assert outcome.code == 0, outcome.output
    assert sorted(datacenter.machines) == ["shop-main-1", "shop-topic-main-1"]
    assert branch.state.names("Deployment") == ["shop-topic-web"]
    # All commands find the servers at the cloud.
    listed, free, back = map(branch.run, ("releases", "unlock", "rollback"))
    assert len(listed.output.splitlines()) == 1, listed.errors
    assert "Nobody holds the deploy lock of shop-topic-main-1" in free.output
    assert back.code == 2
    assert "no release that differs from the one that runs is kept" in back.output
    gone = branch.run("delete", "--yes")
    assert gone.code == 0, gone.output
    assert gone.output.splitlines()[-1].endswith("] 0 billable resources left")
    assert site.list_all() == half
    # One that does not answer may run another app: it is given back where nvoi is told that it
    # does not.
    datacenter.machines["shop-main-1"].stop()
    refused = fleet.run("delete", "--yes", "--delete-volumes")
    assert refused.code == 2, refused.output
    assert "which apps use shop-main-1 is not known" in refused.output
    assert "`nvoi delete --cluster` gives all of it back" in refused.output
    assert site.list_all() == half
    rest = fleet.run("delete", "--yes", "--cluster")
    assert rest.code == 0, rest.output
    assert "it is given back all the same" in rest.output
    assert site.list_all() == {}
