"""What asks the services of AWS: boto3's clients, held to nvoi's own ways through a network."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config

from nvoi import network
from nvoi.account import Pace as CloudPace
from nvoi.account import get_endpoint
from nvoi.config.schema import AWSProvider
from nvoi.errors import UsageError

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
