"""What AWS sells in a region: types of servers, the zones that have them, and what is near one.

Facts are of the Amazon EC2 API Reference, "DescribeInstanceTypes" and
"DescribeInstanceTypeOfferings".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nvoi.config.schema import AWSProvider
from nvoi.errors import NvoiError
from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.prices import FEW, Prices, read_prices
from nvoi.providers.cloud import log, reading
from nvoi.providers.provider import ServerType
from nvoi.providers.rented import NETWORK

#: The region that is never disabled, by what separates AWS from its parts in China and for the
#: US government.
HOMES = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
#: How a region says that it is not enabled.
DISABLED = "not-opted-in"
#: Architectures of the config, as EC2 and as the names of images have them.
ARCHITECTURES = {"x86": ("x86_64", "amd64"), "arm64": ("arm64", "arm64")}
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
class InstanceType(ServerType):
    """A server type for one architecture, in a region; prices are of a server with all it needs."""

    has_nvme: bool = False

    def tag(self, prices: Prices | None) -> InstanceType:
        """It with its price, where that is known."""
        price = prices.find_server(self.name) if prices else None
        return replace(self, price=price, currency=prices.currency if prices else "")


class Catalog:
    """What is sold in one region.

    Args:
        architecture: in the words of the config.
    """

    def __init__(self, ec2: EC2, architecture: str) -> None:
        self._ec2, self._architecture = ec2, architecture

    def list_nearest(self, name: str, zone: str) -> str:
        """What to take where a type is sold out in a zone: other zones, then the nearest types."""
        zones = sorted(self.list_zones([name]).get(name, set()) - {zone})
        found = self.list_types({"instance-type": [name]})
        others = self.list_others(name, next(iter(found), None), zone=zone, with_prices=True)
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
            "processor-info.supported-architecture": [ARCHITECTURES[self._architecture][0]],
            "current-generation": ["true"],
        }
        fitting = (
            one for one in self.list_types(filters) if one.architecture == self._architecture
        )
        types = [other for other in fitting if other.name != name]
        if zone is not None:
            here = self.list_zones([])
            types = [other for other in types if zone in here.get(other.name, ())]
        names = [other.name for other in types]
        close = set(difflib.get_close_matches(name, names, n=3, cutoff=0.75))
        types.sort(key=lambda other: (other.name not in close, measure(other, one), other.name))
        nearest = [other.name for other in types[:FEW]]
        prices = find_prices(self._ec2.move(self._ec2.region), nearest) if with_prices else None
        shown = "; ".join(other.tag(prices).describe() for other in types[:SHOWN_TYPES])
        rest = len(types) - SHOWN_TYPES
        more = f"; and {rest} more" if rest > 0 else ""
        return f"there are {shown}{more}"

    @reading("AWS")
    def list_types(self, filters: Mapping[str, Sequence[str]]) -> list[InstanceType]:
        found = self._ec2.list_all("describe_instance_types", "InstanceTypes", filters)
        return [one for item in found for one in read_types(item, self._ec2.region)]

    @reading("AWS")
    def list_zones(self, names: Sequence[str]) -> dict[str, set[str]]:
        """The zones of the region that offer each type; of all types where none is named."""
        offers = self._ec2.list_all(
            "describe_instance_type_offerings",
            "InstanceTypeOfferings",
            {"instance-type": names} if names else {},
            LocationType="availability-zone",
        )
        zones: dict[str, set[str]] = {}
        for one in offers:
            if is_zone(one["Location"], self._ec2.region):
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
    items = {one["InstanceType"]: one for one in (*plain, *named)}
    prices = find_prices(ec2, items)
    types = (one for item in items.values() for one in read_types(item, account.region))
    return [one.tag(prices) for one in types if one.has_nvme]


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


def read_types(item: Mapping[str, Any], region: str) -> Iterator[InstanceType]:
    """The type for each architecture of the config that it has."""
    for ours, (theirs, _) in ARCHITECTURES.items():
        if theirs in item["ProcessorInfo"]["SupportedArchitectures"]:
            yield InstanceType(
                item["InstanceType"],
                region,
                ours,
                item["VCpuInfo"]["DefaultVCpus"],
                item["MemoryInfo"]["SizeInMiB"] / 1024,
                has_nvme=item.get("EbsInfo", {}).get("NvmeSupport") in {"required", "supported"},
            )


def measure(other: ServerType, one: ServerType | None) -> float:
    """How far a type is from another; from a small server where that is not known."""
    cores, memory = (one.cores, one.memory) if one else (2, 4.0)
    return abs(other.cores - cores) / cores + abs(other.memory - memory) / memory


def is_zone(name: str, region: str) -> bool:
    """Whether it is one of the region's own zones, and no Local Zone or Wavelength Zone."""
    return re.fullmatch(rf"{re.escape(region)}[a-z]", name) is not None
