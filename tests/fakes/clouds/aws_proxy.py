"""A strict proxy before moto, which is too lenient: what EC2 refuses, and what takes it time.

From the Amazon EC2 API Reference ("Error codes", "Ensuring idempotency", "Eventual consistency")
and the Amazon VPC and EBS User Guides: what is used is not deleted, volumes attach in their own
zone and to servers that run, states come one after the other, a ClientToken makes one thing, and
what was just made is not known everywhere at once.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlencode
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from werkzeug import Request  # noqa: TC002 - routes are read at run time

from tests.fakes.clouds.aws_prices import build_price_list, has_terms
from tests.fakes.clouds.aws_quotas import VALUES, build_quota
from tests.fakes.clouds.moto import start_moto
from tests.fakes.clouds.server import Answer, Call, Cloud, Progress, Refused, route

KEY = "AKIAIOSFODNN7EXAMPLE"
SCOPE = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
ANY_ID = re.compile(r"(?:vpc|subnet|igw|rtb|sg|i|vol)-[0-9a-f]{8,17}")
#: What the code of an error calls things by their ids' beginnings.
UNKNOWN = {
    "vpc": "InvalidVpcID",
    "subnet": "InvalidSubnetID",
    "igw": "InvalidInternetGatewayID",
    "rtb": "InvalidRouteTableID",
    "sg": "InvalidGroup",
    "i": "InvalidInstanceID",
    "vol": "InvalidVolume",
}
LARGEST_USER_DATA = 16 * 1024
#: Of a page, as the API reference has it.
LARGEST_PAGE = {"DescribeInstanceTypes": 100}
NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


@dataclass
class Made:
    """What a ClientToken has made: of which request, and its answer."""

    request: str
    answer: Answer


class StrictAWS(Cloud):
    """EC2 at `url`, before the moto at `moto`.

    Attributes:
        lag: how often what was just made is not seen yet.
        page: items of a page at most.
        forbidden: actions that the credentials may not do; beside these, all that are not
            `allowed`, where any are.
        sold_out: types of servers, by the zones in which there are none now.
        regions: those that AWS has, and that are enabled for the account.
        disabled: regions that are not enabled for the account.
        closed: regions in which the credentials may do nothing.
        skew: how far this machine's clock is from AWS' own.
        untagged: actions that have made something without tags.
        products: the price list.
        quotas: by their codes.
    """

    def __init__(self, moto: str, *, lag: int = 0, **options: Any) -> None:
        self.moto, self.lag, self.page = moto, lag, 1000
        self.forbidden: set[str] = set()
        self.allowed: set[str] = set()
        self.sold_out: dict[str, set[str]] = {}
        self.regions = {"eu-central-1", "eu-west-1"}
        self.disabled: set[str] = set()
        self.closed: set[str] = set()
        self.skew = timedelta()
        self.untagged: list[str] = []
        self.products = build_price_list()
        self.quotas = dict(VALUES)
        self.refused: list[str] = []
        #: Called as a server starts for the first time, with what was asked for; and as it ends.
        self.on_start: Callable[[Call, ET.Element], None] = lambda *_: None
        self.on_end: Callable[[str], None] = lambda _: None
        #: Those that servers get instead of moto's, and which each has got.
        self.public_addresses: Iterator[str] = iter(())
        self.addresses: dict[str, str] = {}
        #: Volumes with their servers, and their sizes in GB.
        self.attached: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self._tokens: dict[tuple[str, ...], Made] = {}
        self._unseen: dict[str, int] = {}
        self._starting: dict[str, Progress] = {}
        self._ending: dict[str, Progress] = {}
        self._attaching: dict[str, Progress] = {}
        self._creating: dict[str, Progress] = {}
        self._growing: dict[str, Progress] = {}
        #: Volumes of servers that end, and which servers these are.
        self._held: dict[str, str] = {}
        super().__init__(**options)
        self.reset()

    def reset(self) -> None:
        """Have the account be empty."""
        start_moto().reset()

    # The server

    def read_call(self, request: Request) -> Call:
        """A call of an action: `GET /ec2/DescribeVpcs`, with its parameters as the query."""
        headers = dict(request.headers)
        scope = SCOPE.search(headers.get("Authorization", ""))
        service = scope[3] if scope else "ec2"
        if target := headers.get("X-Amz-Target", ""):
            action = target.partition(".")[2]
            return Call("GET", f"/{service}/{action}", {}, headers, request.data.decode())
        parameters = parse_qs(request.get_data(as_text=True), keep_blank_values=True)
        action = parameters.get("Action", [""])[0]
        # A dry run asks for rights alone.
        is_reading = action.startswith(("Describe", "Get")) or "DryRun" in parameters
        method = "GET" if is_reading else "POST"
        return Call(method, f"/{service}/{action}", parameters, headers, "")

    def authorize(self, call: Call) -> None:
        scope = SCOPE.search(call.headers.get("Authorization", ""))
        service, action = call.path.split("/")[1:]
        region = scope[2] if scope else ""
        if abs(self.skew) > timedelta(minutes=5):
            raise Refused(400, "RequestExpired", "Request has expired.")
        if scope is None or scope[1] != KEY or region in self.disabled:
            text = "AWS was not able to validate the provided access credentials"
            raise Refused(401, "AuthFailure", text)
        name = f"{service}:{action}"
        is_allowed = not self.allowed or name in self.allowed
        if name in self.forbidden or region in self.closed or not is_allowed:
            text = (
                "You are not authorized to perform this operation. User: arn:aws:iam::1:user/nvoi "
                f"is not authorized to perform: {service}:{action}. "
                "Encoded authorization failure message: AQIDBAUGBwgJ"
            )
            if service != "ec2":
                raise Refused(400, "AccessDeniedException", text, is_json=True)
            raise Refused(403, "UnauthorizedOperation", text)

    def add_headers(self) -> dict[str, str]:
        return {"Date": format_datetime(datetime.now(UTC) + self.skew, usegmt=True)}

    def build_refusal(self, refused: Refused) -> Answer:
        self.refused.append(refused.code)
        if refused.details.get("is_json"):
            return Answer(refused.status, {"__type": refused.code, "Message": refused.message})
        body = (
            f"<Response><Errors><Error><Code>{escape(refused.code)}</Code><Message>"
            f"{escape(refused.message)}</Message></Error></Errors>"
            "<RequestID>59dbff89-35bd-4eac-99ed-be587EXAMPLE</RequestID></Response>"
        )
        return Answer(refused.status, body, refused.headers)

    def forward(self, call: Call) -> Answer:
        """What moto answers."""
        body = urlencode(call.query, doseq=True)
        return Answer(*start_moto().ask(call.headers.get("Authorization", ""), body))

    # Everything

    @route("GET", "/pricing/GetProducts")
    def list_products(self, call: Call) -> Answer:
        """As the AWS Price List Query API Reference has it: JSON within JSON, in pages."""
        asked = call.json
        terms = {one["Field"]: one["Value"] for one in asked["Filters"]}
        assert all(one["Type"] == "TERM_MATCH" for one in asked["Filters"])
        found = [
            json.dumps(one)
            for one in self.products
            if one["serviceCode"] == asked["ServiceCode"] and has_terms(one, terms)
        ]
        first = int(asked.get("NextToken", 0))
        last = first + min(asked["MaxResults"], self.page)
        more = {"NextToken": str(last)} if last < len(found) else {}
        return Answer(200, {"FormatVersion": "aws_v1", "PriceList": found[first:last], **more})

    @route("GET", "/servicequotas/GetServiceQuota")
    def get_quota(self, call: Call) -> Answer:
        """As the Service Quotas API Reference has it."""
        code = call.json["QuotaCode"]
        found = build_quota(call.json["ServiceCode"], code, self.quotas.get(code, 0))
        if found is None:
            text = "The request failed because the specified quota does not exist."
            raise Refused(400, "NoSuchResourceException", text, is_json=True)
        return Answer(200, {"Quota": found})

    @route("GET", "/ec2/(?!Describe).*")
    def check_right(self, call: Call) -> Answer:
        raise Refused(412, "DryRunOperation", "Request would have succeeded")

    @route("GET", "/ec2/Describe.*")
    def describe(self, call: Call) -> Answer:
        action = call.path.rpartition("/")[2]
        whole = {key: value for key, value in call.query.items() if key not in PAGING}
        if action in CATALOGS:
            document = self._look_up(replace_query(call, whole))
            return Answer(200, unparse(self._cut_page(document, call, action)))
        states = take_filter(whole, "instance-state-name") if action in STATED else None
        if action == "DescribeInstances":
            whole["MaxResults"] = ["10000"]
        answer = self.forward(replace_query(call, whole))
        if answer.status >= 400:
            return answer
        document = parse(answer.body)
        if action == "DescribeRegions":
            self._show_regions(document)
        if action == "DescribeInstances":
            self._show_instances(document, states)
        if action == "DescribeVolumes":
            self._show_volumes(document)
        if action == "DescribeVolumesModifications":
            self._show_modifications(document)
        if action in LISTS:
            self._hide_unseen(document, action)
            document = self._cut_page(document, call, action)
        answer.body = unparse(document)
        return answer

    def _look_up(self, call: Call) -> ET.Element:
        """What is sold, which nothing changes: moto takes seconds to say it."""
        ignored = ("ClientToken", "Version")
        text = json.dumps({k: v for k, v in call.query.items() if k not in ignored})
        key = (read_region(call), text)
        if key not in CATALOG:
            if "instance-type" not in text and call.path.endswith("DescribeInstanceTypes"):
                call = replace_query(call, add_filter(call.query, "instance-type", FAMILIES))
            answer = self.forward(call)
            if answer.status >= 400:
                raise Refused(answer.status, "InvalidParameterValue", answer.body)
            CATALOG[key] = parse(answer.body)
        return CATALOG[key]

    @route("POST", "/ec2/.*")
    def change(self, call: Call) -> Answer:
        action = call.path.rpartition("/")[2]
        self._check_seen(call)
        check = getattr(self, f"_check_{action}", None)
        if token := call.find("ClientToken"):
            key = (read_region(call), action, token)
            text = json.dumps(call.query, sort_keys=True)
            if key in self._tokens:
                if self._tokens[key].request != text:
                    message = "Arguments on this idempotent request are inconsistent"
                    raise Refused(400, "IdempotentParameterMismatch", message)
                return self._tokens[key].answer
        if check is not None:
            check(call)
        if action in TAGGED and not any(name.startswith("TagSpec") for name in call.query):
            self.untagged.append(action)
        answer = self.forward(call)
        if answer.status < 400:
            self._note(action, call, answer)
            if token:
                self._tokens[key] = Made(text, answer)
        return answer

    # What takes time

    def _note(self, action: str, call: Call, answer: Answer) -> None:
        document = parse(answer.body)
        if action in TAGGED:
            tag, at = TAGGED[action]
            for one in find_all(document, at):
                self._unseen[get(one, tag)] = self.lag
        note = getattr(self, f"_note_{action}", None)
        if note is not None:
            note(call, document)

    def _note_RunInstances(self, call: Call, document: ET.Element) -> None:  # noqa: N802
        for one in find_all(document, "instancesSet/item"):
            name = get(one, "instanceId")
            self._starting[name] = self.start_progress()
            if address := next(self.public_addresses, None):
                self.addresses[name] = address
            self.on_start(call, one)

    def _note_StartInstances(self, call: Call, document: ET.Element) -> None:  # noqa: N802
        self._starting[list_values(call, "InstanceId")[0]] = self.start_progress()

    def _note_TerminateInstances(self, call: Call, document: ET.Element) -> None:  # noqa: N802
        for name in list_values(call, "InstanceId"):
            self.attached = {key: one for key, one in self.attached.items() if one != name}
            self.on_end(name)

    def _note_CreateVolume(self, call: Call, document: ET.Element) -> None:  # noqa: N802
        self._creating[get(document, "volumeId")] = self.start_progress()
        self.sizes[get(document, "volumeId")] = call.get_number("Size", 0)

    def _note_AttachVolume(self, call: Call, document: ET.Element) -> None:  # noqa: N802
        self._attaching[call.find("VolumeId") or ""] = self.start_progress()
        self.attached[call.find("VolumeId") or ""] = call.find("InstanceId") or ""

    def _note_DetachVolume(self, call: Call, document: ET.Element) -> None:  # noqa: N802
        self.attached.pop(call.find("VolumeId") or "", None)

    def _note_ModifyVolume(self, call: Call, document: ET.Element) -> None:  # noqa: N802
        self._growing[call.find("VolumeId") or ""] = self.start_progress()
        self.sizes[call.find("VolumeId") or ""] = call.get_number("Size", 0)

    def _is_over(self, progress: Progress | None) -> bool:
        if progress is None:
            return True
        return progress.polls <= 0 and time.monotonic() - progress.began >= progress.seconds

    def _check_seen(self, call: Call) -> None:
        for name, values in call.query.items():
            if name.startswith("TagSpecification") or "UserData" in name:
                continue
            for one in (value for value in values if ANY_ID.fullmatch(value)):
                if self._unseen.get(one, 0) > 0:
                    self._unseen[one] -= 1
                    kind = UNKNOWN[one.partition("-")[0]]
                    raise Refused(400, f"{kind}.NotFound", f"The ID '{one}' does not exist")

    def _hide_unseen(self, document: ET.Element, action: str) -> None:
        path, tag = LISTS[action]
        for items in document.findall(path):
            for one in [*items]:
                if self._unseen.get(get(one, tag), 0) > 0:
                    self._unseen[get(one, tag)] -= 1
                    items.remove(one)

    def _show_regions(self, document: ET.Element) -> None:
        for regions in document.findall("regionInfo"):
            for one in [*regions]:
                if get(one, "regionName") in self.disabled:
                    set_text(one, "optInStatus", "not-opted-in")
                elif get(one, "regionName") not in self.regions:
                    regions.remove(one)

    def _show_instances(self, document: ET.Element, states: list[str] | None) -> None:
        for reservation in find_all(document, "reservationSet/item"):
            instances = reservation.find("instancesSet")
            assert instances is not None
            for one in [*instances]:
                name, state = get(one, "instanceId"), one.find("instanceState/name")
                assert state is not None
                if name in self.addresses and has(one, "ipAddress"):
                    set_text(one, "ipAddress", self.addresses[name])
                if (
                    name in self._starting
                    and state.text == "running"
                    and not self._starting[name].look()
                ):
                    state.text = "pending"
                    for tag in ("ipAddress", "dnsName"):
                        remove(one, tag)
                if name in self._ending and not self._ending[name].look():
                    state.text = "shutting-down"
                if states is not None and state.text not in states:
                    instances.remove(one)
        sets = document.find("reservationSet")
        for reservation in [*(sets if sets is not None else ())]:
            if not find_all(reservation, "instancesSet/item") and sets is not None:
                sets.remove(reservation)

    def _show_volumes(self, document: ET.Element) -> None:
        for one in find_all(document, "volumeSet/item"):
            name = get(one, "volumeId")
            if name in self._creating and not self._creating[name].look():
                set_text(one, "status", "creating")
            if name in self._attaching and not self._attaching[name].look():
                for attachment in find_all(one, "attachmentSet/item"):
                    set_text(attachment, "status", "attaching")
            if name in self._held and not self._is_over(self._ending.get(self._held[name])):
                set_text(one, "status", "in-use")
                add_attachment(one, self._held[name])

    def _show_modifications(self, document: ET.Element) -> None:
        for one in find_all(document, "volumeModificationSet/item"):
            name = get(one, "volumeId")
            is_over = name not in self._growing or self._growing[name].look()
            set_text(one, "modificationState", "optimizing" if is_over else "modifying")

    def _cut_page(self, document: ET.Element, call: Call, action: str) -> ET.Element:
        """The page that is asked for; the document stays as it is."""
        asked = call.get_number("MaxResults", 0)
        if asked > LARGEST_PAGE.get(action, 1000):
            raise Refused(400, "InvalidParameterValue", "MaxResults is too large")
        tag = LISTS[action][0].partition("/")[0]
        items = document.find(tag)
        if not asked or items is None:
            return document
        first = call.get_number("NextToken", 0)
        last = first + min(asked, self.page)
        page = ET.Element(document.tag)
        page.extend(one for one in document if one.tag not in {tag, "nextToken"})
        ET.SubElement(page, tag).extend([*items][first:last])
        if last < len(items):
            ET.SubElement(page, "nextToken").text = str(last)
        return page

    # What is refused

    def _ask(self, call: Call, action: str, **filters: str) -> ET.Element:
        """What moto knows, whoever asks."""
        query = {"Action": [action], "Version": ["2016-11-15"], "MaxResults": ["10000"]}
        for number, (name, value) in enumerate(filters.items(), 1):
            query[f"Filter.{number}.Name"] = [name.replace("_", "-")]
            query[f"Filter.{number}.Value.1"] = [value]
        if action != "DescribeInstances":
            del query["MaxResults"]
        answer = self.forward(replace_query(call, query))
        assert answer.status < 400, answer.body
        return parse(answer.body)

    def _list_instances(self, call: Call, **filters: str) -> list[ET.Element]:
        """Those that have not ended."""
        found = find_all(
            self._ask(call, "DescribeInstances", **filters), "reservationSet/item/instancesSet/item"
        )
        return [
            one
            for one in found
            if one.findtext("instanceState/name") != "terminated"
            or not self._is_over(self._ending.get(get(one, "instanceId")))
        ]

    def _check_RunInstances(self, call: Call) -> None:  # noqa: N802 - by the action
        subnet = call.find("NetworkInterface.1.SubnetId") or ""
        group = call.find("NetworkInterface.1.SecurityGroupId.1") or ""
        place = self._get_one(call, "DescribeSubnets", "subnetSet", subnet_id=subnet)
        firewall = self._get_one(
            call, "DescribeSecurityGroups", "securityGroupInfo", group_id=group
        )
        if get(place, "vpcId") != get(firewall, "vpcId"):
            text = f"Security group {group} and subnet {subnet} belong to different networks."
            raise Refused(400, "InvalidParameter", text)
        zone, kind = get(place, "availabilityZone"), call.find("InstanceType") or ""
        if kind in self.sold_out.get(zone, ()):
            text = (
                f"We currently do not have sufficient {kind} capacity in the Availability Zone you "
                f"requested ({zone})."
            )
            raise Refused(500, "InsufficientInstanceCapacity", text)
        query = {
            "Action": ["DescribeInstanceTypeOfferings"],
            "Version": ["2016-11-15"],
            "LocationType": ["availability-zone"],
            "Filter.1.Name": ["instance-type"],
            "Filter.1.Value.1": [kind],
            "Filter.2.Name": ["location"],
            "Filter.2.Value.1": [zone],
        }
        offers = self._look_up(replace_query(call, query))
        if not find_all(offers, "instanceTypeOfferingSet/item"):
            text = f"Your requested instance type ({kind}) is not supported in {zone}."
            raise Refused(400, "Unsupported", text)
        data = call.find("UserData") or ""
        if len(data) * 3 / 4 > LARGEST_USER_DATA:
            raise Refused(400, "InvalidParameterValue", "User data is limited to 16384 bytes")

    def _get_one(self, call: Call, action: str, items: str, **filters: str) -> ET.Element:
        found = find_all(self._ask(call, action, **filters), f"{items}/item")
        if not found:
            value = next(iter(filters.values()))
            kind = UNKNOWN.get(value.partition("-")[0], "Invalid")
            raise Refused(400, f"{kind}.NotFound", f"The ID '{value}' does not exist")
        return found[0]

    def _check_TerminateInstances(self, call: Call) -> None:  # noqa: N802
        for name in list_values(call, "InstanceId"):
            found = self._get_instance(call, name)
            self._ending.setdefault(name, self.start_progress())
            for one in find_all(found, "blockDeviceMapping/item"):
                self._held[one.findtext("ebs/volumeId", "")] = name

    def _get_instance(self, call: Call, name: str) -> ET.Element:
        document = self._ask(call, "DescribeInstances", instance_id=name)
        found = find_all(document, "reservationSet/item/instancesSet/item")
        if not found:
            raise Refused(400, "InvalidInstanceID.NotFound", f"'{name}' does not exist")
        return found[0]

    def _check_AttachVolume(self, call: Call) -> None:  # noqa: N802
        volume, server = call.find("VolumeId") or "", call.find("InstanceId") or ""
        found = self._get_one(call, "DescribeVolumes", "volumeSet", volume_id=volume)
        holder = self._held.get(volume)
        if get(found, "status") == "in-use" or (
            holder and not self._is_over(self._ending.get(holder))
        ):
            raise Refused(400, "VolumeInUse", f"{volume} is already attached to an instance")
        if not self._is_over(self._creating.get(volume)):
            raise Refused(400, "IncorrectState", f"Volume '{volume}' is not 'available'")
        instance = self._get_instance(call, server)
        if get(found, "availabilityZone") != instance.findtext("placement/availabilityZone"):
            text = f"The volume '{volume}' is not in the same availability zone as '{server}'"
            raise Refused(400, "InvalidVolume.ZoneMismatch", text)
        is_running = instance.findtext("instanceState/name") == "running"
        if not is_running or not self._is_over(self._starting.get(server)):
            raise Refused(400, "IncorrectState", f"Instance '{server}' is not 'running'.")

    def _check_ModifyVolume(self, call: Call) -> None:  # noqa: N802
        volume = call.find("VolumeId") or ""
        found = self._get_one(call, "DescribeVolumes", "volumeSet", volume_id=volume)
        if not self._is_over(self._growing.get(volume)):
            text = f"Volume {volume} is in modifying state"
            raise Refused(400, "IncorrectModificationState", text)
        if call.get_number("Size", 0) < int(get(found, "size")):
            raise Refused(400, "InvalidParameterValue", "New size cannot be smaller than existing")

    def _check_DeleteVolume(self, call: Call) -> None:  # noqa: N802
        volume = call.find("VolumeId") or ""
        found = self._get_one(call, "DescribeVolumes", "volumeSet", volume_id=volume)
        holder = self._held.get(volume)
        if get(found, "status") == "in-use" or (
            holder and not self._is_over(self._ending.get(holder))
        ):
            raise Refused(400, "VolumeInUse", f"Volume {volume} is currently attached")

    def _check_DeleteVpc(self, call: Call) -> None:  # noqa: N802
        vpc = call.find("VpcId") or ""
        inside = {"vpc_id": vpc}
        used = [*self._list_instances(call, **inside)]
        used += find_all(self._ask(call, "DescribeSubnets", **inside), "subnetSet/item")
        groups = find_all(
            self._ask(call, "DescribeSecurityGroups", **inside), "securityGroupInfo/item"
        )
        used += [one for one in groups if get(one, "groupName") != "default"]
        tables = find_all(self._ask(call, "DescribeRouteTables", **inside), "routeTableSet/item")
        used += [one for one in tables if not is_main(one)]
        attached = {"attachment.vpc_id": vpc}
        used += find_all(
            self._ask(call, "DescribeInternetGateways", **attached), "internetGatewaySet/item"
        )
        refuse_used("vpc", vpc, used)

    def _check_DeleteSubnet(self, call: Call) -> None:  # noqa: N802
        subnet = call.find("SubnetId") or ""
        refuse_used("subnet", subnet, self._list_instances(call, subnet_id=subnet))

    def _check_DeleteSecurityGroup(self, call: Call) -> None:  # noqa: N802
        group = call.find("GroupId") or ""
        path = "networkInterfaceSet/item/groupSet/item"
        users = [
            one
            for one in self._list_instances(call)
            if group in {get(used, "groupId") for used in one.findall(path)}
        ]
        refuse_used("resource", group, users)

    def _check_DetachInternetGateway(self, call: Call) -> None:  # noqa: N802
        vpc = call.find("VpcId") or ""
        refuse_used("network", vpc, self._list_instances(call, vpc_id=vpc))

    def _check_DeleteInternetGateway(self, call: Call) -> None:  # noqa: N802
        gateway = call.find("InternetGatewayId") or ""
        found = self._ask(call, "DescribeInternetGateways", internet_gateway_id=gateway)
        attached = find_all(found, "internetGatewaySet/item/attachmentSet/item")
        refuse_used("internetGateway", gateway, attached)


PAGING = ("MaxResults", "NextToken")
STATED = ("DescribeInstances",)
#: What is sold, as it was told, by the region and the question.
CATALOGS = ("DescribeInstanceTypes", "DescribeInstanceTypeOfferings", "DescribeImages")
#: Of the hundreds of types there are these.
FAMILIES = ("t2.*", "t3.*", "t3a.*", "t4g.*", "m5.*", "m7g.*", "c6i.*")
CATALOG: dict[tuple[str, str], ET.Element] = {}
#: Actions that make something, which has tags at once: the element with its id, and where it is.
TAGGED = {
    "CreateVpc": ("vpcId", "vpc"),
    "CreateSubnet": ("subnetId", "subnet"),
    "CreateInternetGateway": ("internetGatewayId", "internetGateway"),
    "CreateRouteTable": ("routeTableId", "routeTable"),
    "CreateSecurityGroup": ("groupId", "."),
    "RunInstances": ("instanceId", "instancesSet/item"),
    "CreateVolume": ("volumeId", "."),
}
#: Where a list is in an answer, and the element with the id of an item.
LISTS = {
    "DescribeVpcs": ("vpcSet", "vpcId"),
    "DescribeSubnets": ("subnetSet", "subnetId"),
    "DescribeInternetGateways": ("internetGatewaySet", "internetGatewayId"),
    "DescribeRouteTables": ("routeTableSet", "routeTableId"),
    "DescribeSecurityGroups": ("securityGroupInfo", "groupId"),
    "DescribeInstances": ("reservationSet/item/instancesSet", "instanceId"),
    "DescribeVolumes": ("volumeSet", "volumeId"),
    "DescribeVolumesModifications": ("volumeModificationSet", "volumeId"),
    "DescribeInstanceTypes": ("instanceTypeSet", "instanceType"),
    "DescribeInstanceTypeOfferings": ("instanceTypeOfferingSet", "instanceType"),
    "DescribeImages": ("imagesSet", "imageId"),
}


def refuse_used(kind: str, name: str, users: Iterable[ET.Element]) -> None:
    if [*users]:
        text = f"The {kind} '{name}' has dependencies and cannot be deleted."
        raise Refused(400, "DependencyViolation", text)


def is_main(table: ET.Element) -> bool:
    return any(get(one, "main") == "true" for one in find_all(table, "associationSet/item"))


def read_region(call: Call) -> str:
    scope = SCOPE.search(call.headers.get("Authorization", ""))
    return scope[2] if scope else ""


def replace_query(call: Call, query: dict[str, list[str]]) -> Call:
    return Call(call.method, call.path, query, call.headers, call.text)


def list_values(call: Call, name: str) -> list[str]:
    """The values of a parameter, be it one or numbered."""
    numbered = re.compile(rf"{name}(\.\d+)?")
    return [
        value for key, found in call.query.items() if numbered.fullmatch(key) for value in found
    ]


def take_filter(query: dict[str, list[str]], name: str) -> list[str] | None:
    """Take a filter out of a query, with its values; the others keep their numbers."""
    number = next(
        (
            key.split(".")[1]
            for key, value in query.items()
            if key.endswith(".Name") and value == [name]
        ),
        None,
    )
    if number is None:
        return None
    mine = [key for key in query if key.startswith(f"Filter.{number}.")]
    values = [query[key][0] for key in mine if ".Value." in key]
    for key in mine:
        del query[key]
    return values


def add_filter(
    query: Mapping[str, list[str]], name: str, values: Sequence[str]
) -> dict[str, list[str]]:
    """A query with one more filter; numbers follow each other without a gap."""
    count = sum(key.startswith("Filter.") and key.endswith(".Name") for key in query)
    head = f"Filter.{count + 1}"
    more = {f"{head}.Value.{number}": [value] for number, value in enumerate(values, start=1)}
    return {**query, f"{head}.Name": [name], **more}


def parse(text: str) -> ET.Element:
    """A document without its namespaces."""
    return ET.fromstring(re.sub(r' xmlns="[^"]*"', "", text))


def unparse(document: ET.Element) -> str:
    document.set("xmlns", NAMESPACE)
    return ET.tostring(document, encoding="unicode")


def find_all(document: ET.Element, path: str) -> list[ET.Element]:
    return [document] if path == "." else document.findall(path)


def get(one: ET.Element, tag: str) -> str:
    return one.findtext(tag) or ""


def has(one: ET.Element, tag: str) -> bool:
    return one.find(tag) is not None


def set_text(one: ET.Element, tag: str, text: str) -> None:
    child = one.find(tag)
    if child is None:
        child = ET.SubElement(one, tag)
    child.text = text


def remove(one: ET.Element, tag: str) -> None:
    for child in one.findall(tag):
        one.remove(child)


def add_attachment(volume: ET.Element, server: str) -> None:
    """Have a volume be attached still, as its server is on its way out."""
    attachments = volume.find("attachmentSet")
    if attachments is None:
        attachments = ET.SubElement(volume, "attachmentSet")
    if not [*attachments]:
        item = ET.SubElement(attachments, "item")
        set_text(item, "volumeId", get(volume, "volumeId"))
        set_text(item, "instanceId", server)
        set_text(item, "status", "detaching")
