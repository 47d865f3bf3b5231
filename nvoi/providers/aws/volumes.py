"""The volumes of an app at AWS, and how they come to its servers.

Facts are of the Amazon EBS User Guide, "Volume lifecycle", "Map NVMe device names" and "Modify a
volume", and of the Amazon EC2 User Guide, "Device names for volumes".
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nvoi import parallel
from nvoi.errors import NvoiError
from nvoi.log.rendering import format_count
from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.inventory import Owner
from nvoi.providers.aws.network import build_token
from nvoi.providers.aws.resources import Resource
from nvoi.providers.aws.servers import IS_ALIVE, wait, wait_for_all
from nvoi.providers.rented import GROUP, WantedServer, WantedVolume
from nvoi.waiting import NotReadyError

#: What AWS calls volumes for a server; a server that has NVMe calls them by their serial numbers.
DEVICES = tuple(f"/dev/sd{letter}" for letter in string.ascii_lowercase[5:])
SERIAL = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_"


@dataclass(frozen=True)
class Attachment:
    """A volume of the config, on the server that it is to be on."""

    wanted: WantedVolume
    server: Resource
    device: str


class Volumes:
    """The volumes of one app."""

    def __init__(self, ec2: EC2, owner: Owner) -> None:
        self._ec2, self._owner = ec2, owner

    def list_own(self) -> list[Resource]:
        """All that are the app's, doubles too, without those that go with their servers."""
        return [one for one in self._owner.list_own("volume") if one.is_data]

    def _find(self, name: str) -> Resource | None:
        found = self._owner.list_own("volume", {"tag:Name": [name]})
        return found[0] if found else None

    def list_root(self) -> list[Resource]:
        """The disks that servers start from, as long as they are there."""
        return [one for one in self._owner.list_own("volume") if not one.is_data]

    def ensure(
        self,
        servers: Mapping[str, Resource],
        wanted: Sequence[WantedServer],
        there: Callable[[str], Resource | None],
    ) -> list[Resource]:
        """All volumes of the config, attached to their servers, in their sizes.

        Args:
            there: finds those that there are by their names.

        Raises:
            NvoiError: one cannot be had.
        """
        attachments = [*plan_attachments(servers, wanted)]
        groups = {volume.name: server.group for server in wanted for volume in server.volumes}
        made = parallel.work_on_all(
            attachments,
            lambda one: self._ensure_made(one, there(one.wanted.name), groups),
        )
        lacking = [one for one in attachments if not is_done(one, made[one])]
        if not lacking:
            return [*made.values()]
        self._wait_until_free({one: made[one] for one in lacking})
        parallel.work_on_all(lacking, lambda one: self._attach(one, made[one]))
        grown = [one for one in lacking if made[one].size < one.wanted.size]
        parallel.work_on_all(grown, lambda one: self._grow(one, made[one]))
        self._wait_until_grown({made[one].id: one.wanted for one in grown})
        return wait_for_all(self._ec2, "volumes", [*made.values()], judge_attached)

    def detach(self, volume: Resource) -> None:
        """Have it begin to leave the server that it is on, which does not use it any more.

        Raises:
            EC2Error: it is refused.
        """
        done = r"IncorrectState|InvalidAttachment\.NotFound"
        for one in volume.item.get("Attachments", ()):
            where = {key: one[key] for key in ("VolumeId", "InstanceId", "Device")}
            self._ec2.ensure("detach_volume", done, **where)

    def _ensure_made(
        self, one: Attachment, found: Resource | None, groups: Mapping[str, str]
    ) -> Resource:
        name = one.wanted.name
        labels = {GROUP: groups[name]}
        if found is not None:
            return self._owner.claim(found, labels)
        return self._ec2.make(
            lambda: self._find(name),
            "volume",
            self._owner.build_tags(name, labels),
            AvailabilityZone=one.server.place,
            Size=one.wanted.size,
            VolumeType="gp3",
            ClientToken=build_token(name, one.server.id),
        )

    def _wait_until_free(self, volumes: Mapping[Attachment, Resource]) -> None:
        """Wait until each is on its server, or on none; one of a server that ends takes a while."""
        servers = {volume.id: one.server.id for one, volume in volumes.items()}
        elsewhere = {
            server: volume
            for volume in volumes.values()
            for server in list_holders(volume)
            if server != servers[volume.id]
        }
        filters = {"instance-id": [*elsewhere], **IS_ALIVE}
        for holder in self._ec2.find("instance", filters) if elsewhere else ():
            raise NvoiError(
                f"{elsewhere[holder.id]} is attached to {holder}",
                hint="detach it there, or give the volume another name",
            )

        def judge(one: Resource) -> str:
            is_free = one.state == "available" or servers[one.id] in list_holders(one)
            return "" if is_free else f"{one.name} is {one.state}"

        wait_for_all(self._ec2, "volumes to be free", [*volumes.values()], judge)

    def _attach(self, one: Attachment, volume: Resource) -> None:
        if one.server.id in list_holders(volume):
            return
        self._ec2.ensure(
            "attach_volume",
            "VolumeInUse",
            VolumeId=volume.id,
            InstanceId=one.server.id,
            Device=one.device,
        )

    def _grow(self, one: Attachment, volume: Resource) -> None:
        # A run before may have begun it.
        done = "IncorrectModificationState"
        self._ec2.ensure("modify_volume", done, VolumeId=volume.id, Size=one.wanted.size)

    def _wait_until_grown(self, wanted: Mapping[str, WantedVolume]) -> None:
        if not wanted:
            return
        filters = {"volume-id": [*wanted]}
        operation, key = "describe_volumes_modifications", "VolumesModifications"

        def look() -> None:
            found = {one["VolumeId"]: one for one in self._ec2.list_all(operation, key, filters)}
            waiting = []
            for volume, one in wanted.items():
                state = found.get(volume, {}).get("ModificationState", "not shown")
                if state == "failed":
                    reason = found[volume].get("StatusMessage") or "AWS does not say why"
                    raise NvoiError(f"volume {one.name} ({volume}) does not grow: {reason}")
                if state not in {"optimizing", "completed"}:
                    waiting.append(f"{one.name} is {state}")
            if waiting:
                raise NotReadyError(", ".join(waiting))

        wait(self._ec2, "volumes to grow", look)


def plan_attachments(
    servers: Mapping[str, Resource], wanted: Sequence[WantedServer]
) -> Iterator[Attachment]:
    for server in wanted:
        there = servers[server.name]
        used = {one["DeviceName"] for one in there.item.get("BlockDeviceMappings", ())}
        free = [device for device in DEVICES if device not in used]
        if len(free) < len(server.volumes):
            needed = format_count(len(server.volumes), "volume")
            raise NvoiError(f"{there} has no place for {needed}")
        for volume, device in zip(server.volumes, free, strict=False):
            yield Attachment(volume, there, device)


def find_device(volume: Resource) -> str:
    """Where its server sees it."""
    return f"{SERIAL}{volume.id.replace('-', '')}"


def is_done(one: Attachment, volume: Resource) -> bool:
    is_attached = one.server.id in list_holders(volume) and not judge_attached(volume)
    return is_attached and volume.size >= one.wanted.size


def list_holders(volume: Resource) -> list[str]:
    """The servers that it is attached to."""
    return [one["InstanceId"] for one in volume.item.get("Attachments", ())]


def judge_attached(volume: Resource) -> str:
    states = [one["State"] for one in volume.item.get("Attachments", ())]
    return "" if "attached" in states else f"{volume.name} is {(*states, volume.state)[0]}"
