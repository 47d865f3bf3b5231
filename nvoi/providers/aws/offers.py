"""What AWS offers: whether a config's region, types and zones can be had, and what can be instead.

Facts are of the Amazon EC2 API Reference, "DescribeInstanceTypes" and
"DescribeInstanceTypeOfferings", and of Ubuntu's documentation, "Find Ubuntu images on AWS".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nvoi.config.schema import Application, AWSProvider
from nvoi.errors import ConfigError, Fault, NvoiError
from nvoi.log.levels import get_logger
from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.prices import FEW, Prices, read_prices
from nvoi.providers.aws.refusals import CREDENTIALS, EC2Error
from nvoi.providers.provider import ServerType
from nvoi.providers.rented import NETWORK, WantedServer, build_path, list_wanted

log = get_logger("nvoi.providers")

ACCOUNT = "application.compute_provider.aws"
#: Canonical's account, by what separates AWS from its parts in China and for the US government.
CANONICAL = {
    "aws": "099720109477",
    "aws-cn": "837727238323",
    "aws-us-gov": "513442679011",
}
#: The region of each that is never disabled.
HOMES = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
#: How a region says that it is not enabled.
DISABLED = "not-opted-in"
#: Architectures of the config, as EC2 and as the names of images have them.
ARCHITECTURES = {"x86": ("x86_64", "amd64"), "arm64": ("arm64", "arm64")}
IMAGE = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{}-server-*"
#: How many of the types that can be had an error names.
SHOWN_TYPES = 12
#: What is listed of the hundreds of types of a region: what an app may begin with.
USUAL = {
    "current-generation": ["true"],
    "bare-metal": ["false"],
    "instance-storage-supported": ["false"],
    "vcpu-info.default-vcpus": ["1", "2", "4", "8"],
    "processor-info.supported-architecture": [theirs for theirs, _ in ARCHITECTURES.values()],
}
#: By these EC2 says that a type has more than processors.
ACCELERATORS = ("GpuInfo", "FpgaInfo", "InferenceAcceleratorInfo", "NeuronInfo")


@dataclass(frozen=True)
class InstanceType:
    """A type of servers; ``memory`` in MiB."""

    name: str
    cores: int
    memory: int
    architectures: tuple[str, ...]
    has_nvme: bool

    def describe(self, prices: Prices | None) -> str:
        """It with its size, and with what a server of it costs where that is known."""
        price = prices.find_server(self.name) if prices else None
        costs = f", {prices.currency} {price:.2f} a month" if prices and price is not None else ""
        return f"{self.name} ({self.cores} vCPU, {self.memory / 1024:g} GiB{costs})"


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
        self._architecture, self._image_architecture = ARCHITECTURES[account.architecture]
        self._wanted = [*list_wanted(application)]

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
            InstanceType=self.get_type(servers[0]),
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
        wanted = {self.get_type(server): server for server in reversed(servers)}
        found = {one.name: one for one in self._list_types({"instance-type": [*wanted]})}
        offered = self._list_zones([*wanted])
        faults = []
        for name, server in wanted.items():
            message = self._find_type_fault(found.get(name), name, server, offered)
            if message:
                faults.append(build_fault(self._build_path(server), message))
        if faults:
            raise ConfigError("config", faults)
        return Choice(self._choose_zone(wanted, offered, zone, there), *self._find_image())

    def get_type(self, server: WantedServer) -> str:
        return server.type or self._account.instance_type

    def _build_path(self, server: WantedServer) -> str:
        if server.type is None:
            return f"{ACCOUNT}.instance_type"
        return build_path(server.group, "type")

    def _find_type_fault(
        self,
        one: InstanceType | None,
        name: str,
        server: WantedServer,
        offered: Mapping[str, set[str]],
    ) -> str:
        if one is None or not offered.get(name):
            return f"{self._account.region} has no type `{name}`; {self.list_others(name)}"
        if self._architecture not in one.architectures:
            others = self.list_others(name, one)
            has = " and ".join(one.architectures)
            return f"{name} is {has}, and the config's architecture is another; {others}"
        if server.volumes and not one.has_nvme:
            others = self.list_others(name, one)
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
                self._build_path(server),
                f"{name} is sold in {' and '.join(sorted(offered[name]))}, not in {zone}, where "
                f"the app's servers are; {self.list_others(name, zone=zone)}",
            )
            for name, server in wanted.items()
            if zone not in offered[name]
        ]
        if faults:
            raise ConfigError("config", faults)
        return zone

    def _find_image(self) -> tuple[str, str]:
        """The newest image of Ubuntu 24.04, and the name of its disk."""
        owner = CANONICAL.get(self._ec2.find_partition(), CANONICAL["aws"])
        images = self._ec2.list_all(
            "describe_images",
            "Images",
            {
                "name": [IMAGE.format(self._image_architecture)],
                "architecture": [self._architecture],
                "state": ["available"],
            },
            Owners=[owner],
        )
        if not images:
            raise NvoiError(
                f"{self._account.region} has no image of Ubuntu 24.04 by Canonical for "
                f"{self._architecture}",
                hint="choose another region",
            )
        newest = max(images, key=lambda one: str(one["CreationDate"]))
        return str(newest["ImageId"]), str(newest["RootDeviceName"])

    def list_nearest(self, name: str, zone: str) -> str:
        """What to take where a type is sold out in a zone: other zones, then the nearest types."""
        zones = sorted(self._list_zones([name]).get(name, set()) - {zone})
        found = [one for one in self._list_types({"instance-type": [name]}) if one.name == name]
        others = self.list_others(name, *found, zone=zone, with_prices=True)
        elsewhere = f"{name} may be had in {', '.join(zones)} (location); " if zones else ""
        return f"{elsewhere}{others}"

    def list_others(
        self,
        name: str,
        one: InstanceType | None = None,
        *,
        zone: str | None = None,
        with_prices: bool = False,
    ) -> str:
        """The types of the right architecture that are nearest to one, or to its name."""
        filters = {
            "processor-info.supported-architecture": [self._architecture],
            "current-generation": ["true"],
        }
        types = [other for other in self._list_types(filters) if other.name != name]
        if zone is not None:
            here = self._list_zones([])
            types = [other for other in types if zone in here.get(other.name, ())]
        names = [other.name for other in types]
        close = set(difflib.get_close_matches(name, names, n=3, cutoff=0.75))
        types.sort(key=lambda other: (other.name not in close, measure(other, one), other.name))
        nearest = [other.name for other in types[:FEW]]
        prices = find_prices(self._ec2.move(self._ec2.region), nearest) if with_prices else None
        shown = ", ".join(other.describe(prices) for other in types[:SHOWN_TYPES])
        rest = len(types) - SHOWN_TYPES
        more = f", and {rest} more" if rest > 0 else ""
        return f"with {self._architecture} there are {shown}{more}"

    def _list_types(self, filters: Mapping[str, Sequence[str]]) -> list[InstanceType]:
        found = self._ec2.list_all("describe_instance_types", "InstanceTypes", filters)
        return [*map(read_type, found)]

    def _list_zones(self, names: Sequence[str]) -> dict[str, set[str]]:
        """The zones of the region that offer each type; of all types where none is named."""
        offers = self._ec2.list_all(
            "describe_instance_type_offerings",
            "InstanceTypeOfferings",
            {"instance-type": names} if names else {},
            LocationType="availability-zone",
        )
        zones: dict[str, set[str]] = {}
        for one in offers:
            if is_zone(one["Location"], self._account.region):
                zones.setdefault(one["InstanceType"], set()).add(one["Location"])
        return zones


def list_regions(account: AWSProvider, environ: Mapping[str, str]) -> list[str]:
    """The regions that are enabled for an account, of which no more than its key is known.

    Raises:
        EC2Error: the key is refused, or AWS does not answer.
    """
    regions = read_regions(open_glance(account, environ))
    return sorted(region for region, state in regions.items() if state != DISABLED)


def list_types(account: AWSProvider, environ: Mapping[str, str]) -> list[ServerType]:
    """What an account can have in its region: what is usual, and the type that it names already.

    Prices are of a server with its disk and address; there are none where they cannot be read.

    Raises:
        EC2Error: the key is refused or may not make a network, or AWS does not answer.
    """
    ec2 = open_glance(account, environ)
    check_network_rights(ec2)
    queries: tuple[Mapping[str, Sequence[str]], ...] = (
        USUAL,
        {"instance-type": [account.instance_type]},
    )
    asked = [ec2.list_all("describe_instance_types", "InstanceTypes", query) for query in queries]
    usual, named = asked
    plain = [one for one in usual if not any(one.get(key) for key in ACCELERATORS)]
    types = {one.name: one for one in map(read_type, [*plain, *named])}
    prices = find_prices(ec2, types)
    return [
        ServerType(
            one.name,
            account.region,
            ours,
            one.cores,
            one.memory / 1024,
            prices.find_server(one.name) if prices else None,
            prices.currency if prices else "",
        )
        for one in types.values()
        for ours, (theirs, _) in ARCHITECTURES.items()
        if theirs in one.architectures and one.has_nvme
    ]


def find_prices(ec2: EC2, types: Collection[str]) -> Prices | None:
    try:
        return read_prices(ec2, types)
    except NvoiError as error:
        log.debug("AWS tells no prices: %s", error)
        return None


def open_glance(account: AWSProvider, environ: Mapping[str, str]) -> EC2:
    ec2 = EC2(account, environ)
    ec2.pace = ec2.pace.hurry()
    return ec2


def read_regions(ec2: EC2) -> dict[str, str]:
    """Whether each region is enabled, as AWS says it, asked where that can always be asked."""
    return ec2.list_regions(HOMES.get(ec2.find_partition(), ec2.region))


def check_network_rights(ec2: EC2) -> None:
    ec2.check_right("create_vpc", CidrBlock=NETWORK)
    ec2.check_right("create_internet_gateway")


def read_type(item: Mapping[str, Any]) -> InstanceType:
    return InstanceType(
        name=item["InstanceType"],
        cores=item["VCpuInfo"]["DefaultVCpus"],
        memory=item["MemoryInfo"]["SizeInMiB"],
        architectures=tuple(item["ProcessorInfo"]["SupportedArchitectures"]),
        has_nvme=item.get("EbsInfo", {}).get("NvmeSupport") in {"required", "supported"},
    )


def measure(other: InstanceType, one: InstanceType | None) -> float:
    """How far a type is from another; from a small server where that is not known."""
    cores, memory = (one.cores, one.memory) if one else (2, 4096)
    return abs(other.cores - cores) / cores + abs(other.memory - memory) / memory


def is_zone(name: str, region: str) -> bool:
    """Whether it is one of the region's own zones, and no Local Zone or Wavelength Zone."""
    return re.fullmatch(rf"{re.escape(region)}[a-z]", name) is not None


def suggest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, [*known], n=1)
    return f"; did you mean {close[0]}?" if close else ""


def build_fault(path: str, message: str) -> Fault:
    return Fault(0, 0, path, message)
