"""What AWS offers an app: whether its config's region, types and zones can be had.

Facts are of Ubuntu's documentation, "Find Ubuntu images on AWS".
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nvoi.config.schema import Application, AWSProvider
from nvoi.errors import ConfigError, Fault, NvoiError
from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.catalog import (
    ARCHITECTURES,
    DISABLED,
    Catalog,
    InstanceType,
    check_network_rights,
    is_zone,
    read_regions,
)
from nvoi.providers.aws.refusals import CREDENTIALS, EC2Error
from nvoi.providers.cloud import reading
from nvoi.providers.rented import WantedServer, build_path, list_wanted

ACCOUNT = "application.compute_provider.aws"
#: Canonical's account, by what separates AWS from its parts in China and for the US government.
CANONICAL = {
    "aws": "099720109477",
    "aws-cn": "837727238323",
    "aws-us-gov": "513442679011",
}
IMAGE = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{}-server-*"


@dataclass(frozen=True)
class Choice:
    """What servers are made of: the zone, and the image with the name of its disk."""

    zone: str
    image: str
    root_device: str


class Offers:
    """What one account can have in one region."""

    def __init__(self, ec2: EC2, application: Application, account: AWSProvider) -> None:
        self._ec2, self._account = ec2, account
        self._wanted = [*list_wanted(application)]
        self.catalog = Catalog(ec2, account.architecture)

    def find_faults(self) -> Iterator[Fault]:
        """What the config cannot have anywhere; nobody is asked."""
        region, known = self._account.region, self._ec2.list_known_regions()
        if region not in known:
            yield build_fault(
                f"{ACCOUNT}.region",
                f"`{region}` is no region of AWS{suggest(region, known)}: {', '.join(known)}",
            )
            return
        zones: dict[str, str] = {}
        for server in self._wanted:
            path = build_path(server.group, "location")
            if server.location is None:
                continue
            if not is_zone(server.location, region):
                message = f"must be a zone of {region}, such as {region}a; it may be left out"
                yield build_fault(path, message)
            zones[server.location] = path
        if len(zones) > 1:
            message = f"the app's servers are in one zone, and these are {' and '.join(zones)}"
            yield build_fault([*zones.values()][-1], message)

    def find_account_fault(self, error: EC2Error) -> ConfigError | None:
        """What is wrong with the config where AWS does not take its credentials."""
        if error.code not in CREDENTIALS:
            return None
        fault = self._find_region_fault() or build_fault(f"{ACCOUNT}.access_key_id", error.message)
        return ConfigError("config", [fault], hint=error.hint)

    def _find_region_fault(self) -> Fault | None:
        """A region that is not enabled takes no credentials; another one tells which it is."""
        region = self._account.region
        try:
            regions = read_regions(self._ec2)
        except EC2Error:
            return None
        if regions.get(region) != DISABLED:
            return None
        enabled = ", ".join(sorted(one for one in regions if regions[one] != DISABLED))
        message = f"{region} is not enabled for the account; these are: {enabled}"
        return build_fault(f"{ACCOUNT}.region", message)

    def check_rights(self, choice: Choice, servers: Sequence[WantedServer]) -> None:
        """See that what ``servers`` need may be made; nothing is.

        Raises:
            EC2Error: it may not.
        """
        check_network_rights(self._ec2)
        self._ec2.check_right(
            "run_instances",
            ImageId=choice.image,
            InstanceType=servers[0].type,
            MinCount=1,
            MaxCount=1,
        )
        if any(one.volumes for one in servers):
            disk = {"AvailabilityZone": choice.zone, "Size": 1, "VolumeType": "gp3"}
            self._ec2.check_right("create_volume", **disk)

    def choose(self, servers: Sequence[WantedServer], zone: str | None, there: str) -> Choice:
        """What ``servers`` are to be made of.

        Args:
            zone: the one they have to be in, if any, as ``there`` is in it.

        Raises:
            ConfigError: the account cannot have what the config says.
        """
        wanted = {server.type: server for server in reversed(servers)}
        found = self.catalog.list_types({"instance-type": [*wanted]})
        offered = self.catalog.list_zones([*wanted])
        faults = []
        for name, server in wanted.items():
            types = [one for one in found if one.name == name]
            message = self._find_type_fault(types, name, server, offered)
            if message:
                faults.append(build_fault(server.type_path, message))
        if faults:
            raise ConfigError("config", faults)
        return Choice(self._choose_zone(wanted, offered, zone, there), *self._find_image())

    def _find_type_fault(
        self,
        types: Sequence[InstanceType],
        name: str,
        server: WantedServer,
        offered: Mapping[str, set[str]],
    ) -> str:
        if not types or not offered.get(name):
            return f"{self._account.region} has no type `{name}`; {self.catalog.list_others(name)}"
        if self._account.architecture not in {one.architecture for one in types}:
            others = self.catalog.list_others(name, types[0])
            return f"{name} is {types[0].architecture}, and `architecture` says another; {others}"
        if server.volumes and not types[0].has_nvme:
            others = self.catalog.list_others(name, types[0])
            return f"{name} has no NVMe, by which its volumes are known; {others}"
        return ""

    def _choose_zone(
        self,
        wanted: Mapping[str, WantedServer],
        offered: Mapping[str, set[str]],
        fixed: str | None,
        there: str,
    ) -> str:
        asked = next((one for one in self._wanted if one.location), None)
        if fixed and asked is not None and asked.location != fixed:
            path = build_path(asked.group, "location")
            message = f"must be {fixed}: {there} is there, and the app's servers are in one zone"
            raise ConfigError("config", [build_fault(path, message)])
        common = set.intersection(*offered.values())
        zone = fixed or (asked and asked.location) or min(common or next(iter(offered.values())))
        faults = [
            build_fault(
                server.type_path,
                f"{name} is sold in {' and '.join(sorted(offered[name]))}, not in {zone}, where "
                f"the app's servers are; {self.catalog.list_others(name, zone=zone)}",
            )
            for name, server in wanted.items()
            if zone not in offered[name]
        ]
        if faults:
            raise ConfigError("config", faults)
        return zone

    @reading("AWS")
    def _find_image(self) -> tuple[str, str]:
        """The newest image of Ubuntu 24.04, and the name of its disk."""
        owner = CANONICAL.get(self._ec2.find_partition(), CANONICAL["aws"])
        architecture, name = ARCHITECTURES[self._account.architecture]
        images = self._ec2.list_all(
            "describe_images",
            "Images",
            {
                "name": [IMAGE.format(name)],
                "architecture": [architecture],
                "state": ["available"],
            },
            Owners=[owner],
        )
        if not images:
            raise NvoiError(
                f"{self._account.region} has no image of Ubuntu 24.04 by Canonical for "
                f"{architecture}",
                hint="choose another region",
            )
        newest = max(images, key=lambda one: str(one["CreationDate"]))
        return str(newest["ImageId"]), str(newest["RootDeviceName"])


def suggest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, [*known], n=1)
    return f"; did you mean {close[0]}?" if close else ""


def build_fault(path: str, message: str) -> Fault:
    return Fault(0, 0, path, message)
