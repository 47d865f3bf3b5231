"""The servers of an app at AWS.

Facts are of the Amazon EC2 User Guide, "Instance metadata options" and "Instance lifecycle", and of
the Amazon EC2 API Reference, "RunInstances".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from nvoi.config.schema import Application
from nvoi.errors import NvoiError
from nvoi.http import clean_line
from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.inventory import Owner
from nvoi.providers.aws.network import Network, build_token
from nvoi.providers.aws.offers import Choice
from nvoi.providers.aws.prices import ROOT_SIZE
from nvoi.providers.aws.refusals import GONE, EC2Error
from nvoi.providers.aws.resources import Item, Resource, build_tags
from nvoi.providers.cloud import log
from nvoi.providers.cloud_init import prepare_boot
from nvoi.providers.rented import GROUP, OF_SERVER, WantedServer
from nvoi.waiting import NotReadyError

T = TypeVar("T")

#: States of a server that there is, and of one that goes, beside that of one that is gone.
ALIVE = ("pending", "running", "stopping", "stopped")
LEAVING = "shutting-down"
IS_ALIVE = {"instance-state-name": ALIVE}
#: With one hop alone no container gets an answer of the metadata service.
METADATA: Mapping[str, Any] = {
    "HttpEndpoint": "enabled",
    "HttpTokens": "required",
    "HttpPutResponseHopLimit": 1,
}
#: How many servers of one name may have ended in the time that AWS remembers their tokens.
GENERATIONS = 100


class Servers:
    """The servers of one app."""

    def __init__(self, ec2: EC2, owner: Owner, application: Application) -> None:
        self._ec2, self._owner, self._application = ec2, owner, application

    def find(self, name: str) -> Resource | None:
        """The app's own server of this name."""
        found = self._owner.list_own("instance", {"tag:Name": [name], **IS_ALIVE})
        return found[0] if found else None

    def list_own(self) -> list[Resource]:
        return self._owner.list_own("instance", IS_ALIVE)

    def keep(self, wanted: WantedServer, found: Resource, network: Network) -> Resource:
        """The server, once it is taken over, and what others have changed of it is put right.

        Raises:
            NvoiError: it is not where the app's servers are.
        """
        if found.item.get("SubnetId") != network.subnet:
            raise NvoiError(
                f"{found} is in another network than the app's, and cannot be moved",
                hint="delete it at AWS: nvoi makes a new one",
            )
        found = self._owner.claim(found, {GROUP: wanted.group})
        if list_firewalls(found) != [network.firewall]:
            log.warning("%s had other firewalls: it gets back the app's own", found)
            request = {"InstanceId": found.id, "Groups": [network.firewall]}
            self._ec2.call("modify_instance_attribute", **request)
        options = found.item.get("MetadataOptions", {})
        if any(options.get(name) != value for name, value in METADATA.items()):
            self._ec2.call("modify_instance_metadata_options", InstanceId=found.id, **METADATA)
        return found

    def make(self, wanted: WantedServer, network: Network, choice: Choice) -> Resource:
        """A new server, which is starting.

        Raises:
            NvoiError: it cannot be had.
        """
        name = wanted.name
        boot = prepare_boot(self._application, name)
        tags = self._owner.build_tags(name, {GROUP: wanted.group, **boot.labels})
        request = {
            **build_request(network, choice, wanted.type),
            "UserData": boot.user_data,
            "TagSpecifications": [
                build_tags("volume", self._owner.build_tags(name, {OF_SERVER: name})),
                build_tags("network-interface", self._owner.build_tags(name)),
            ],
        }
        for generation in range(GENERATIONS):
            token = build_token(network.subnet, name, str(generation))
            try:
                return self._ec2.make(
                    lambda: self.find(name),
                    "instance",
                    tags,
                    ClientToken=token,
                    **request,
                )
            except EC2Error as error:
                # A server that was made with this token has ended: AWS remembers it for a day.
                if not error.is_taken:
                    raise
        raise NvoiError(
            f"{name}: too many servers of this name have ended of late",
            hint="try again tomorrow, or give its group another name",
        )

    def end(self, server: Resource) -> None:
        """Have it end, which takes a while.

        Raises:
            EC2Error: it is refused.
        """
        self._ec2.ensure("terminate_instances", GONE, InstanceIds=[server.id])

    def wait_until_running(self, servers: Sequence[Resource]) -> dict[str, Resource]:
        """All of them once they run and have their public addresses, by their names.

        Raises:
            NvoiError: one does not start, or ends.
        """
        if all(map(is_up, servers)):
            return {one.name: one for one in servers}
        stopped: set[str] = set()

        def judge(one: Resource) -> str:
            if one.state not in ALIVE:
                reason = clean_line(one.item.get("StateReason", {}).get("Message", ""))
                raise NvoiError(f"{one} has ended: {reason or 'AWS does not say why'}")
            if one.state == "stopped" and one.id not in stopped:
                log.info("Starts %s, which was stopped", one)
                self._ec2.call("start_instances", InstanceIds=[one.id])
                stopped.add(one.id)
            if one.state != "running":
                return f"{one.name} is {one.state}"
            return "" if one.item.get("PublicIpAddress") else f"{one.name} has no public address"

        found = wait_for_all(self._ec2, "servers to run", servers, judge)
        return {one.name: one for one in found}

    def wait_until_gone(self, servers: Sequence[Resource]) -> None:
        """Wait until none of them is there any more.

        Raises:
            NvoiError: one still is.
        """
        if not servers:
            return
        filters = {
            "instance-id": [one.id for one in servers],
            "instance-state-name": [*ALIVE, LEAVING],
        }

        def look() -> None:
            if left := self._ec2.find("instance", filters):
                raise NotReadyError(", ".join(f"{one.name} is {one.state}" for one in left))

        wait(self._ec2, "servers to end", look)


def wait_for_all(
    ec2: EC2, what: str, resources: Sequence[Resource], judge: Callable[[Resource], str]
) -> list[Resource]:
    """All of them, which are of one kind, once ``judge`` says of none what it is not yet.

    Raises:
        NvoiError: that takes too long.
    """
    if not resources:
        return []
    names = {one.id: one.name for one in resources}
    filters = {f"{resources[0].kind}-id": [*names]}

    def look() -> list[Resource]:
        found = ec2.find(resources[0].kind, filters)
        unseen = names.keys() - {one.id for one in found}
        seen = [f"{names[one]} is not shown yet" for one in sorted(unseen)]
        seen += filter(None, map(judge, found))
        if seen:
            raise NotReadyError(", ".join(seen))
        return found

    return wait(ec2, what, look)


def wait(ec2: EC2, what: str, look: Callable[[], T]) -> T:
    """What ``look`` returns once it is not too early.

    Raises:
        NvoiError: that takes too long.
    """
    hint = "see them in the EC2 console; the next run goes on from there"
    return ec2.pace.wait(look, what, log, hint=hint)


def build_request(network: Network, choice: Choice, type_name: str) -> Item:
    """What is asked for beside the name, the user data and the tags."""
    disk = {"VolumeSize": ROOT_SIZE, "VolumeType": "gp3", "DeleteOnTermination": True}
    interface = {
        "DeviceIndex": 0,
        "SubnetId": network.subnet,
        "Groups": [network.firewall],
        "AssociatePublicIpAddress": True,
        "DeleteOnTermination": True,
    }
    return {
        "ImageId": choice.image,
        "InstanceType": type_name,
        "MinCount": 1,
        "MaxCount": 1,
        "MetadataOptions": {**METADATA},
        "NetworkInterfaces": [interface],
        "BlockDeviceMappings": [{"DeviceName": choice.root_device, "Ebs": disk}],
    }


def is_up(server: Resource) -> bool:
    return server.state == "running" and bool(server.item.get("PublicIpAddress"))


def list_firewalls(server: Resource) -> list[str]:
    """Those of its first interface, which is all that it was made with."""
    interfaces = server.item.get("NetworkInterfaces", ())
    return [
        group["GroupId"]
        for one in interfaces
        if one["Attachment"]["DeviceIndex"] == 0
        for group in one["Groups"]
    ]


def describe_other_type(server: Resource, type_name: str) -> str:
    return (
        f"{server.name} is a {server.item['InstanceType']} and stays one: to have a {type_name}, "
        "stop it at AWS and change its type there"
    )
