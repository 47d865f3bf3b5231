"""Each cloud with an account that tests look into past its API, and apps with servers there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from nvoi.config.schema import Application
from nvoi.providers import Provider
from nvoi.providers.aws.resources import KINDS
from nvoi.providers.scaleway import Scaleway
from nvoi.providers.scaleway.api import URL_VARIABLE
from nvoi.ssh.routes import Routes
from tests.fakes.clouds.moto import X86
from tests.fakes.clouds.server import Json, Project
from tests.integration.clouds import aws_account, hetzner_case, scaleway_case
from tests.integration.clouds.aws_site import AWSSite
from tests.integration.clouds.datacenter import Site
from tests.integration.clouds.hetzner_site import HetznerSite
from tests.integration.clouds.scaleway_site import ScalewaySite
from tests.unit.config.texts import parse, scaleway

Labels = dict[str, str]


@dataclass(frozen=True)
class World:
    """
    Attributes:
        calls: of a deploy that changes nothing.
        read: an app by its `servers`, as YAML.
        open: a provider as a new run has it; one that is in haste waits for nobody.
        show: all there is, to be compared.
        add: something that others have made: its kind, its name and its labels.
        relabel: has all that bears a label of nvoi's bear these labels alone.
        list_labels: the labels of all there is of a kind.
    """

    name: str
    calls: int
    site: Site
    read: Callable[[str], Application]
    open: Callable[..., Provider]
    show: Callable[[], object]
    add: Callable[[str, str, Labels], object]
    relabel: Callable[[Labels], None]
    list_labels: Callable[[str], list[Labels]]

    @property
    def cloud(self) -> Any:
        return self.site.cloud

    def begin(self, application: Application) -> Provider:
        """A run that has its servers."""
        provider = self.open(application)
        provider.ensure_servers(application)
        return provider


def build_hetzner() -> World:
    site = HetznerSite()

    def open_provider(application: Application, *, in_haste: bool = False) -> Provider:
        pace = replace(hetzner_case.PACE, patience=0.1) if in_haste else hetzner_case.PACE
        return hetzner_case.build_provider(site.cloud, application, pace)

    def relabel(labels: Labels) -> None:
        for one in list_things(site.cloud):
            one["labels"] = dict(labels)

    return World(
        "hetzner",
        4,
        site,
        hetzner_case.build_config,
        open_provider,
        lambda: copy.deepcopy(site.cloud.show_all()),
        lambda kind, name, labels: site.cloud.add_other(f"{kind}s", name, labels),
        relabel,
        lambda kind: [one["labels"] for one in site.cloud.things[f"{kind}s"].values()],
    )


def build_scaleway() -> World:
    site = ScalewaySite()
    kinds = {"server": "servers", "volume": "volumes", "network": "private_networks"}

    def read(servers: str) -> Application:
        return parse(scaleway("app: {web: {servers: [main]}}", f"servers: {servers}")).application

    def open_provider(application: Application, *, in_haste: bool = False) -> Provider:
        pace = replace(scaleway_case.PACE, patience=0.1) if in_haste else scaleway_case.PACE
        return Scaleway(application, Routes(), {URL_VARIABLE: site.cloud.url}, pace)

    def add(kind: str, name: str, labels: Labels) -> None:
        place = "fr-par" if kind == "network" else "fr-par-1"
        site.cloud.add(kinds[kind], place, name, write_tags(labels))

    def relabel(labels: Labels) -> None:
        for one in list_things(site.cloud):
            # The gem's addresses and disks are the servers' own.
            if not any(tag.startswith("server=") for tag in one["tags"]):
                one["tags"] = write_tags(labels)

    return World(
        "scaleway",
        6,
        site,
        read,
        open_provider,
        lambda: copy.deepcopy(site.cloud.show_all()),
        add,
        relabel,
        lambda kind: [
            dict(tag.split("=", 1) for tag in one["tags"])
            for one in site.cloud.things[kinds[kind]].values()
        ],
    )


def build_aws() -> World:
    site = AWSSite()
    # In others nvoi looks whether the app is there.
    site.cloud.regions = {aws_account.REGION}
    account = aws_account.build_client(site.cloud.moto)
    kinds = {"server": "instance", "volume": "volume", "network": "vpc"}

    def open_provider(application: Application, *, in_haste: bool = False) -> Provider:
        pace = replace(aws_account.PACE, patience=0.1) if in_haste else aws_account.PACE
        return aws_account.build_aws(site.cloud, application, pace)

    def add(kind: str, name: str, labels: Labels) -> None:
        tags = {"ResourceType": kinds[kind], "Tags": write_pairs({"Name": name, **labels})}
        make: dict[str, Callable[..., object]] = {
            "server": lambda **tags: account.run_instances(
                ImageId=X86, MinCount=1, MaxCount=1, InstanceType="t3.small", **tags
            ),
            "volume": lambda **tags: account.create_volume(
                AvailabilityZone="eu-central-1a", Size=1, **tags
            ),
            "network": lambda **tags: account.create_vpc(CidrBlock="10.0.0.0/16", **tags),
        }
        make[kind](TagSpecifications=[tags])

    def relabel(labels: Labels) -> None:
        for kind, items in aws_account.list_items(account).items():
            for one in items:
                ids = [one[KINDS[kind].id_key]]
                others = {k: v for k, v in aws_account.read_tags(one).items() if k != "Name"}
                account.delete_tags(Resources=ids, Tags=write_pairs(others))
                account.create_tags(Resources=ids, Tags=write_pairs(labels))

    return World(
        "aws",
        7,
        site,
        lambda servers: aws_account.build_app(f"servers: {servers}"),
        open_provider,
        lambda: aws_account.list_items(account),
        add,
        relabel,
        lambda kind: [
            aws_account.read_tags(one) for one in aws_account.list_items(account)[kinds[kind]]
        ],
    )


def list_things(cloud: Project) -> list[Json]:
    return [one for things in cloud.show_all().values() for one in things]


def write_tags(labels: Labels) -> list[str]:
    return [f"{key}={value}" for key, value in labels.items()]


def write_pairs(labels: Labels) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in labels.items()]


#: Each cloud is one line here.
WORLDS = {"hetzner": build_hetzner, "scaleway": build_scaleway, "aws": build_aws}
