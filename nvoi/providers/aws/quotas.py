"""Whether the account may have what is going to be made at AWS: its quotas in the region.

Facts are of the Service Quotas API Reference, "GetServiceQuota", and of the quotas' own pages: of
servers in the Amazon EC2 User Guide, "On-Demand Instance quotas", of networks in the Amazon VPC
User Guide, "Amazon VPC quotas", and of disks in the Amazon EBS User Guide, "Quotas for Amazon EBS".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from nvoi import parallel
from nvoi.errors import ConfigError, Fault
from nvoi.http import clean_line
from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.inventory import Situation
from nvoi.providers.aws.offers import ACCOUNT, Offers, build_fault
from nvoi.providers.aws.prices import ROOT_SIZE
from nvoi.providers.aws.refusals import EC2Error
from nvoi.providers.aws.resources import Resource
from nvoi.providers.cloud import UNREADABLE_ERRORS, log
from nvoi.providers.rented import WantedServer, build_path

#: The quotas of vCPUs, each with the letters that its types' names begin with.
FAMILIES = {
    "L-1216C47A": ("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"),
    "L-DB2E81BA": ("g", "gr", "vt"),
    "L-417A185B": ("p",),
    "L-43DA4232": ("u",),
    "L-7295265B": ("x",),
    "L-74FC7D96": ("f",),
    "L-1945791B": ("inf",),
    "L-2C3B7624": ("trn",),
    "L-6E869C2A": ("dl",),
    "L-F7808C92": ("hpc",),
}
NETWORKS, DISKS = "L-F678F1CE", "L-7A658B76"
#: Servers that count. What is starting does not yet, but will by the time that others are made.
COUNTED = {"instance-state-name": ["pending", "running"]}
#: GB of the unit that the quota of disks is in.
TEBIBYTE = 1024
#: Hosts of the console, by what separates AWS from its parts in China and for the US government.
CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


@dataclass(frozen=True)
class Use:
    """How much of a quota is in use, and how much more is going to be."""

    now: float
    more: float


@dataclass(frozen=True)
class Demand:
    """A quota of a service that something to be made counts towards.

    Attributes:
        unit: as it follows the number; empty where the quota's name says it.
        path: what of the config it is made for.
        hint: what else to do than to have the quota raised.
    """

    service: str
    code: str
    unit: str
    path: str
    hint: str
    measure: Callable[[], Use]


class Quotas:
    """Those of one account in one region, looked at in passing."""

    def __init__(self, ec2: EC2, offers: Offers) -> None:
        self._ec2, self._offers = ec2.move(ec2.region), offers

    def check(self, situation: Situation) -> None:
        """See that the account may have what is going to be made; if nothing is, ask nobody.

        What AWS does not tell is no hindrance: EC2 refuses what is too much as it is made.

        Raises:
            ConfigError: a quota is too small.
        """
        demands = [*self._list_demands(situation)]
        found = [*parallel.work_on_all(demands, self._judge).values()]
        unknown = [one.message for one in found if isinstance(one, EC2Error)]
        if unknown:
            log.info("Whether the account's quotas are enough is not known: %s", unknown[0])
        if faults := [one for one in found if isinstance(one, Fault)]:
            raise ConfigError("config", faults)

    def _list_demands(self, situation: Situation) -> Iterator[Demand]:
        region = f"{ACCOUNT}.region"
        hint = "take a smaller type or another region"
        for code in FAMILIES:
            servers = [one for one in situation.lacking if code == find_family(one.type)]
            if servers:
                path = servers[0].type_path
                measure = partial(self._measure_cores, code, servers)
                yield Demand("ec2", code, " vCPU", path, hint, measure)
        if situation.vpc is None:
            hint = "delete one that is not used or take another region"
            yield Demand("vpc", NETWORKS, "", region, hint, self._measure_networks)
        if size := count_gigabytes(situation):
            paths = (build_path(one.group, "volumes") for one in situation.wanted if one.volumes)
            path = next(paths, region)
            hint = "have smaller volumes or take another region"
            measure = partial(self._measure_disks, size)
            yield Demand("ebs", DISKS, " TiB", path, hint, measure)

    def _judge(self, demand: Demand) -> Fault | EC2Error | None:
        try:
            name, limit = self._read(demand)
            use = demand.measure()
        except EC2Error as error:
            return error
        if use.now + use.more <= limit:
            return None
        now, more = (f"{round(one, 4):g}" for one in (use.now, use.more))
        return build_fault(
            demand.path,
            f"the account's quota {name} ({demand.code}) is {limit:g}{demand.unit} in "
            f"{self._ec2.region}: {now} in use, and {more} more asked for; "
            f"{demand.hint}, or request an increase at {self._build_url(demand)}",
        )

    def _read(self, demand: Demand) -> tuple[str, float]:
        """The name of the quota, and how much it is."""
        client = self._ec2.clients.get(self._ec2.region, "service-quotas")
        asked = {"ServiceCode": demand.service, "QuotaCode": demand.code}
        try:
            quota = self._ec2.ask(client, "get_service_quota", asked)["Quota"]
            return clean_line(str(quota["QuotaName"])), float(quota["Value"])
        except UNREADABLE_ERRORS as error:
            raise EC2Error("Service Quotas answers not as AWS documents it") from error

    def _build_url(self, demand: Demand) -> str:
        host = CONSOLES.get(self._ec2.find_partition(), CONSOLES["aws"])
        place = f"servicequotas/home/services/{demand.service}/quotas/{demand.code}"
        return f"https://{self._ec2.region}.{host}/{place}"

    def _measure_cores(self, code: str, servers: list[WantedServer]) -> Use:
        there = filter(is_on_demand, self._ec2.find("instance", COUNTED))
        running = [one.item["InstanceType"] for one in there]
        running = [one for one in running if find_family(one) == code]
        wanted = [one.type for one in servers]
        types = self._offers.catalog.list_types({"instance-type": sorted({*running, *wanted})})
        cores = {one.name: one.cores for one in types}
        return Use(*(sum(cores.get(one, 0) for one in names) for names in (running, wanted)))

    def _measure_networks(self) -> Use:
        return Use(len(self._ec2.find("vpc", {})), 1)

    def _measure_disks(self, size: int) -> Use:
        there = self._ec2.find("volume", {"volume-type": ["gp3"]})
        return Use(sum(one.size for one in there) / TEBIBYTE, size / TEBIBYTE)


def find_family(type_name: str) -> str | None:
    """The code of the quota that a type counts towards; None where that is not known."""
    letters = re.match("[a-z]*", type_name)
    family = letters[0] if letters else ""
    return next((code for code, names in FAMILIES.items() if family in names), None)


def is_on_demand(server: Resource) -> bool:
    """Whether it counts towards the quotas of on-demand servers.

    Those on a host of the account's own do not, nor those that EC2 names a lifecycle of: spot
    instances, scheduled ones, and those of a capacity block. On-demand servers have none.
    """
    is_other = "InstanceLifecycle" in server.item
    return not is_other and server.item.get("Placement", {}).get("Tenancy") != "host"


def count_gigabytes(situation: Situation) -> int:
    """The size of all disks that are going to be made, and the growth of those that are there."""
    there: dict[str, int] = {one.name: one.size for one in situation.data}
    return ROOT_SIZE * len(situation.lacking) + sum(
        max(volume.size - there.get(volume.name, 0), 0) for _, volume in situation.list_volumes()
    )
