"""EC2's API: one way to ask, one policy of asking again, one way to find and to make.

boto3's clients send what is asked, held to nvoi's own ways through a network. Facts are of the
Amazon EC2 API Reference, "Ensuring idempotency" and "Eventual consistency".
"""

from __future__ import annotations

import copy
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config

from nvoi import network, parallel
from nvoi.account import Pace as CloudPace
from nvoi.account import get_endpoint
from nvoi.config.schema import AWSProvider
from nvoi.errors import NvoiError, UsageError
from nvoi.providers.aws.refusals import FAILURES, FORBIDDEN, GONE, EC2Error, read_failure
from nvoi.providers.aws.resources import (
    KINDS,
    Item,
    Resource,
    build_filters,
    build_made,
    build_tags,
    read_tags,
    spell,
)
from nvoi.providers.cloud import log, reading

T = TypeVar("T")

#: Items of a page; DescribeInstanceTypes takes no more.
PAGE = 100
#: What AWS makes again and again when it is asked for it, without a ClientToken or a name of its
#: own by which it could tell.
UNTOLD = frozenset({"vpc", "internet-gateway"})
#: EC2's description of itself has 10 MB: it is read once.
LOADER = botocore.loaders.create_loader()
#: How hosts are called that a service is asked at.
HOSTS = {"ec2": "ec2", "pricing": "api.pricing", "service-quotas": "servicequotas"}
CONNECTIONS = 32


@dataclass(frozen=True)
class Pace(CloudPace):
    """Seconds.

    Attributes:
        connect: until a connection is there.
        longest_pause: between two times that it is asked; each pause is twice as long as the one
            before, less up to half of it.
        settle: for which what may have been made is looked for, before it is made again.
    """

    connect: float = 10.0
    longest_pause: float = 5.0
    settle: float = 5.0


PACE = Pace()


class Clients:
    """One for each service and region of an account. Usable from any thread.

    Args:
        environ: the caller's environment. Of AWS' own variables ``AWS_ENDPOINT_URL`` counts;
            profiles and credentials of this machine do not: the config has them.
    """

    def __init__(self, account: AWSProvider, environ: Mapping[str, str], pace: Pace) -> None:
        self._account, self._environ, self._pace = account, environ, pace
        self._made: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    @cached_property
    def session(self) -> boto3.session.Session:
        unread = ("profile", "config_file", "credentials_file")
        session = botocore.session.Session(
            session_vars=dict.fromkeys(unread, (None, None, None, None))
        )
        session.register_component("data_loader", LOADER)
        return boto3.session.Session(
            aws_access_key_id=self._account.access_key_id.reveal(),
            aws_secret_access_key=self._account.secret_access_key.reveal(),
            region_name=self._account.region,
            botocore_session=session,
        )

    def get(self, region: str, service: str = "ec2") -> Any:
        """A client that asks once.

        Raises:
            UsageError: a proxy or CA bundle that the environment names cannot be used.
        """
        with self._lock:
            if (region, service) not in self._made:
                self._made[region, service] = self._build(region, service)
            return self._made[region, service]

    def _build(self, region: str, service: str) -> Any:
        url = get_endpoint(self._environ, "AWS_ENDPOINT_URL", "") or None
        host = url or f"https://{HOSTS[service]}.{region}.amazonaws.com"
        proxy = network.find_proxy(host, self._environ)
        try:
            manager = network.build_manager(host, self._environ)
        except network.NetworkError as error:
            raise UsageError(f"{host}: {error}") from error
        build: Any = self.session.client
        client = build(
            service,
            region_name=region,
            endpoint_url=url,
            config=Config(
                connect_timeout=self._pace.connect,
                read_timeout=self._pace.answer,
                # botocore repeats also what has made something, and for how long nobody knows.
                retries={"mode": "standard", "total_max_attempts": 1},
                max_pool_connections=CONNECTIONS,
                # Without any botocore would look for them by its own rules.
                proxies={"http": proxy, "https": proxy} if proxy else {},
            ),
        )
        tls = manager.connection_pool_kw.get("ssl_context")
        if tls is not None:
            trust(client, tls)
        return client


def trust(client: Any, tls: ssl.SSLContext) -> None:
    """Have a client trust whom all of nvoi trusts; botocore has a bundle of its own beside."""

    def require(connection: Any, *_: object) -> None:
        connection.cert_reqs, connection.ca_certs = "CERT_REQUIRED", None

    sender = client._endpoint.http_session  # noqa: SLF001 - it has no public way to another
    sender._manager.connection_pool_kw["ssl_context"] = tls  # noqa: SLF001 - likewise
    sender._get_ssl_context = lambda: tls  # noqa: SLF001 - of ways through a proxy
    sender._setup_ssl_cert = require  # noqa: SLF001 - or it would add its own


class EC2:
    """What one account has in one region. Usable from any thread.

    Attributes:
        made: what was made, in order.
    """

    def __init__(self, account: AWSProvider, environ: Mapping[str, str], pace: Pace = PACE) -> None:
        self.region, self.pace = account.region, pace
        self.made: list[Resource] = []
        self.clients = Clients(account, environ, pace)

    @property
    def _client(self) -> Any:
        return self.clients.get(self.region)

    def move(self, region: str) -> EC2:
        """The same account in another region, for a glance."""
        there = copy.copy(self)
        there.region, there.pace = region, self.pace.hurry()
        return there

    def list_known_regions(self) -> list[str]:
        """The regions that this version of boto3 knows. Nobody is asked."""
        session = self.clients.session
        return [
            region
            for partition in session.get_available_partitions()
            for region in session.get_available_regions("ec2", partition_name=partition)
        ]

    def find_partition(self) -> str:
        return str(self.clients.session.get_partition_for_region(self.region))

    def check_right(self, operation: str, **parameters: Any) -> None:
        """See that the credentials may do something that changes the account; nothing is done.

        Raises:
            EC2Error: they may not.
        """
        try:
            self.call(operation, DryRun=True, **parameters)
        except EC2Error as error:
            if error.code in FORBIDDEN:
                raise

    @reading("AWS")
    def list_regions(self, home: str) -> dict[str, str]:
        """Whether each region is enabled for the account, as AWS says it, asked at ``home``."""
        found = self.ask(self.clients.get(home), "describe_regions", {"AllRegions": True})
        return {one["RegionName"]: one.get("OptInStatus", "") for one in found["Regions"]}

    def call(self, operation: str, **parameters: Any) -> Item:
        """Ask, again and again while that may help: only for what may be done twice.

        Raises:
            EC2Error: it is refused, or nobody answered in time.
        """
        return self.ask(self._client, operation, parameters)

    def ask(self, client: Any, operation: str, parameters: Mapping[str, Any]) -> Item:
        """As :meth:`call`, of another client of this account."""
        return self._repeat(lambda: self._try(client, operation, parameters))

    def ensure(self, operation: str, done: str, **parameters: Any) -> None:
        """As :meth:`call`, where a refusal by a code like ``done`` says that it is so already."""

        def attempt() -> None:
            try:
                self._try(self._client, operation, parameters)
            except EC2Error as error:
                if not re.fullmatch(done, error.code):
                    raise

        self._repeat(attempt)

    def list_all(
        self, operation: str, key: str, filters: Mapping[str, Sequence[str]], **parameters: Any
    ) -> list[Item]:
        """All items of all pages of a list."""
        asked = {**parameters, "Filters": build_filters(filters), "MaxResults": PAGE}
        items: list[Item] = []
        while True:
            page = self.call(operation, **asked)
            # One before the last may be empty, and have no list.
            items += page.get(key, ())
            if page.get("NextToken"):
                asked["NextToken"] = page["NextToken"]
            elif key in page:
                return items
            else:
                raise EC2Error(f"AWS: {operation}: the answer cannot be read: it has no {key}")

    @reading("AWS")
    def find(self, kind: str, filters: Mapping[str, Sequence[str]]) -> list[Resource]:
        """All things of a kind that pass the filters, by their ids. The newest may still lack."""
        how = KINDS[kind]
        items = self.list_all(f"describe_{spell(kind)}s", how.list_key, filters)
        if kind == "instance":
            items = [one for reservation in items for one in reservation["Instances"]]
        found = (Resource(kind, one[how.id_key], read_tags(one), one) for one in items)
        return sorted(found, key=lambda one: one.id)

    def make(
        self,
        find: Callable[[], Resource | None],
        kind: str,
        tags: Mapping[str, str],
        **parameters: Any,
    ) -> Resource:
        """Make what ``find`` does not see yet, once, with its tags.

        Where it is not known whether it was made it is looked for, before it is made again.

        Raises:
            EC2Error: it is refused, or nobody answered in time.
            NvoiError: another run makes the same.
        """
        operation = "run_instances" if kind == "instance" else f"create_{spell(kind)}"
        specifications = [build_tags(kind, tags), *parameters.pop("TagSpecifications", ())]
        request = {**parameters, "TagSpecifications": specifications}

        def attempt() -> Resource | None:
            try:
                answer = self._try(self._client, operation, request)
            except EC2Error as error:
                if not (error.is_taken or error.may_have_acted):
                    raise
                found = self._look(find, self.pace.settle)
                if found is None:
                    raise
                return found
            found = self._look(find, self.pace.patience)
            if kind in UNTOLD:
                self._check_alone(build_made(kind, answer), tags)
            return found

        found = self._repeat(attempt)
        if found is None:
            message = f"AWS made {KINDS[kind].words} {tags['Name']}, and does not show it"
            raise EC2Error(message, hint="run nvoi again in a minute: it takes it over")
        self.made.append(found)
        log.info("Made %s", found)
        return found

    def _check_alone(self, made: Resource, tags: Mapping[str, str]) -> None:
        """See that no other run has made the same meanwhile.

        Raises:
            NvoiError: one has. What this run made is given back: the other may be in use by now.
        """
        same = self.find(made.kind, {f"tag:{key}": [value] for key, value in tags.items()})
        if not any(one.id != made.id for one in same):
            return
        left = ""
        try:
            self.delete(made)
        except EC2Error as error:
            left = f"; left at AWS: {made}: {error.message}"
        raise NvoiError(
            f"another run makes {made} at the same time{left}",
            hint="deploy again once it has ended",
        )

    def delete(self, one: Resource) -> None:
        """Have it gone; servers are ended otherwise.

        Raises:
            EC2Error: it is refused, or nobody answered in time.
        """
        self.ensure(f"delete_{spell(one.kind)}", GONE, **{KINDS[one.kind].id_key: one.id})

    def _look(self, find: Callable[[], T | None], seconds: float) -> T | None:
        deadline, pause = time.monotonic() + seconds, self.pace.pause
        while (found := find()) is None and (left := deadline - time.monotonic()) > 0:
            parallel.sleep(min(pause, left))
            pause = min(pause * 2, self.pace.longest_pause)
        return found

    def _repeat(self, attempt: Callable[[], T]) -> T:
        """What ``attempt`` returns, once it does not fail by what passes."""
        deadline, pause = time.monotonic() + self.pace.patience, self.pace.pause
        while True:
            try:
                return attempt()
            except EC2Error as error:
                left = deadline - time.monotonic()
                if not error.may_pass or left <= 0:
                    raise
            jittered = pause * random.uniform(0.5, 1)  # noqa: S311 - no secret
            parallel.sleep(min(jittered, left))
            pause = min(pause * 2, self.pace.longest_pause)

    def _try(self, client: Any, operation: str, parameters: Mapping[str, Any]) -> Item:
        parallel.check()
        try:
            answer: Item = getattr(client, operation)(**parameters)
        except FAILURES as failure:
            raise read_failure(failure, client.meta.endpoint_url) from failure
        return answer
