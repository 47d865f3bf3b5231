"""An account at Cloudflare, as its API has it: zones, DNS records, tunnels.

Facts are of Cloudflare's API reference: "Zones", "DNS Records for a Zone", "Cloudflare Tunnel" and
"Verify Token", and of its documentation, "Troubleshooting Cloudflare API".
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from nvoi.account import Pace, build_client, get_endpoint
from nvoi.config.schema import Cloudflare
from nvoi.domains.cloudflare_records import (
    DNSRecord,
    Tunnel,
    Zone,
    build_body,
    read_record,
    read_tunnel,
    read_zone,
)
from nvoi.errors import RequestError
from nvoi.http import NO_TEXTS, TEMPORARY, find_value, get_text, list_objects
from nvoi.log.levels import get_logger
from nvoi.log.masking import add_secrets
from nvoi.secret import Secret

T = TypeVar("T")

log = get_logger("nvoi.domains")

BASE_URL = "https://api.cloudflare.com/client/v4"
#: The variable that names another one.
BASE_URL_VARIABLE = "CLOUDFLARE_BASE_URL"
#: What a page has at most of each.
ZONES_PAGE, RECORDS_PAGE, TUNNELS_PAGE = 50, 1000, 1000
SERVER_ERROR = 500
#: HTTP statuses: what was asked for is refused to this token, is not there, comes too often.
UNAUTHORIZED, FORBIDDEN, MISSING, TOO_MANY = 401, 403, 404, 429
#: Codes of errors: a header that no token has; an id that is none; a tunnel or record that is there
#: already, be it of a kind that cannot be beside the new one; a tunnel that is connected.
NO_TOKEN = frozenset({6003, 6103, 6111})
NO_SUCH_ID = frozenset({7000, 7003})
TAKEN = frozenset({1013, 81053, 81054, 81056, 81057, 81058})
CONNECTED = 1022
#: The id of nothing: what is asked about it is refused to those who may not, and found by nobody.
NOTHING = "00000000000000000000000000000000"
NO_TUNNEL = "00000000-0000-0000-0000-000000000000"

#: What to do where the account refuses.
MAKE_TOKEN = "make one at dash.cloudflare.com, My Profile, API Tokens"  # noqa: S105 - a hint
RIGHTS = (
    "it needs Zone: Read and DNS: Edit on the domain's zone, and Cloudflare Tunnel: Edit on the "
    "account {account}"
)
UNREACHED = "is api.cloudflare.com reached from here? see www.cloudflarestatus.com"
BUSY = "Cloudflare takes 1,200 requests in 5 minutes: run this again after that"
FULL = "remove what is not needed at dash.cloudflare.com, or have the limit raised there"
QUOTA = re.compile(r"\b(?:quota|limit|too many)\b", re.IGNORECASE)

#: How often something is made anew whose making was not answered, and that is not there.
TRIES = 3


class TokenRefusedError(RequestError):
    """The account refuses this token; ``key`` is the one of the config that should change."""

    def __init__(self, message: str, key: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, status=FORBIDDEN)
        self.key = key


class Account:
    """An account, asked with the token of the config.

    Each of its methods raises :class:`TokenRefusedError` where the token may not do that, and
    :class:`~nvoi.errors.RequestError` where the account says no or does not answer.

    Args:
        account: the section of the config.
        environ: names a proxy and CAs, if any, and a stand-in for the API.
    """

    def __init__(
        self, account: Cloudflare, environ: Mapping[str, str], pace: Pace | None = None
    ) -> None:
        self.pace = pace or Pace()
        base = get_endpoint(environ, BASE_URL_VARIABLE, BASE_URL).rstrip("/")
        self.id = account.account_id
        self._root = urlsplit(base).path
        self._tunnels = f"/accounts/{self.id}/cfd_tunnel"
        self._client = build_client(
            "Cloudflare",
            base,
            environ,
            {"Authorization": f"Bearer {account.api_token.reveal()}"},
            pace=self.pace,
            log=log,
            is_temporary=lambda error: (error.status or 0) >= SERVER_ERROR,
            is_undone=lambda _: False,
        )

    def close(self) -> None:
        self._client.close()

    # Zones

    def find_zone(self, name: str) -> Zone | None:
        """The zone ``name``, rather of this account than of another one that the token reads."""
        found = self._list("zones", "/zones", {"name": name}, ZONES_PAGE, read_zone)
        zones = sorted(found, key=lambda zone: zone.account_id != self.id)
        return zones[0] if zones else None

    def list_zones(self) -> list[Zone]:
        """The account's zones, as far as the token sees them."""
        query = {"account.id": self.id}
        return self._list("zones", "/zones", query, ZONES_PAGE, read_zone)

    # DNS records

    def list_records(self, zone_id: str, **filters: str) -> list[DNSRecord]:
        """The records of a zone that are exactly so: ``name``, ``comment``."""
        query = {f"{key}.exact": text for key, text in filters.items()}
        path = f"/zones/{zone_id}/dns_records"
        read = partial(read_record, zone_id=zone_id)
        return self._list("DNS records", path, query, RECORDS_PAGE, read)

    def create_record(self, record: DNSRecord) -> DNSRecord:
        read = partial(read_record, zone_id=record.zone_id)
        return self._ask("POST", record.path, record, body=build_body(record), read=read)

    def change_record(self, record: DNSRecord) -> None:
        self._ask("PATCH", record.path, record, body=build_body(record))

    def delete_record(self, record: DNSRecord) -> None:
        """A record that is gone is no error."""
        self._remove(record.path, record)

    # Tunnels

    def list_tunnels(self, prefix: str) -> list[Tunnel]:
        query = {"is_deleted": "false", "include_prefix": prefix}
        return self._list("tunnels", self._tunnels, query, TUNNELS_PAGE, read_tunnel)

    def find_tunnel(self, name: str) -> Tunnel | None:
        found = self.list_tunnels(name)
        return next((one for one in found if one.name == name), None)

    def create_tunnel(self, name: str) -> Tunnel:
        body = {"name": name, "config_src": "cloudflare"}
        return self._ask("POST", self._tunnels, Tunnel("", name), body=body, read=read_tunnel)

    def get_settings(self, tunnel: Tunnel) -> dict[str, Any]:
        """The tunnel's configuration; empty where it has none yet."""
        found = find_value(self._ask("GET", self._find(tunnel, "configurations"), tunnel), "config")
        return found if isinstance(found, dict) else {}

    def put_settings(self, tunnel: Tunnel, settings: Mapping[str, Any]) -> None:
        self._ask("PUT", self._find(tunnel, "configurations"), tunnel, body={"config": settings})

    def get_token(self, tunnel: Tunnel) -> Secret:
        """What cloudflared connects to the tunnel with; no log shows it from now on."""
        token = Secret(self._ask("GET", self._find(tunnel, "token"), tunnel, read=get_text))
        add_secrets(token.reveal())
        return token

    def delete_connections(self, tunnel: Tunnel) -> None:
        self._remove(self._find(tunnel, "connections"), tunnel)

    def delete_tunnel(self, tunnel: Tunnel) -> None:
        """A tunnel that is gone is no error."""
        self._remove(self._find(tunnel), tunnel)

    def _find(self, tunnel: Tunnel, *parts: str) -> str:
        return "/".join([self._tunnels, tunnel.id, *parts])

    # Rights

    def check_tunnel_rights(self) -> None:
        """See that the token may change tunnels: even of none it is refused to who may not."""
        self._probe(f"{self._tunnels}/{NO_TUNNEL}", "changing tunnels of the account")

    def check_record_rights(self, zone: Zone) -> None:
        """The same for DNS records."""
        path = f"/zones/{zone.id}/dns_records/{NOTHING}"
        self._probe(path, f"changing DNS records of {zone.name}")

    def _probe(self, path: str, what: str) -> None:
        try:
            self._ask("PATCH", path, what, body={})
        except TokenRefusedError:
            raise
        except RequestError as error:
            if error.is_silence or error.status in TEMPORARY:
                raise

    def find_trouble(self) -> str:
        """What is wrong with the token itself; empty where nothing is."""
        trouble = ""
        # An account's own token is known to the account alone.
        for path in ("/user/tokens/verify", f"/accounts/{self.id}/tokens/verify"):
            try:
                status = get_text(self._send("GET", path), "status")
            except RequestError as error:
                if error.is_silence or error.status in TEMPORARY:
                    return ""
                trouble = "Cloudflare knows no such token"
                continue
            return "" if status == "active" else f"the token is {status}"
        return trouble

    # Requests

    def _list(
        self,
        what: str,
        path: str,
        query: Mapping[str, str],
        size: int,
        read: Callable[[dict[str, Any]], T],
    ) -> list[T]:

        def read_page(document: object) -> tuple[list[T], int]:
            length = find_value(document, "result_info", "per_page")
            items = [read(item) for item in list_objects(document, "result")]
            return items, length if isinstance(length, int) else size

        found: list[T] = []
        for page in itertools.count(1):
            pages = {**query, "page": str(page), "per_page": str(size)}
            items, length = self._ask("GET", path, what, query=pages, is_whole=True, read=read_page)
            found += items
            # A page may be shorter than was asked for.
            if not items or len(items) < length:
                break
        return found

    def _remove(self, path: str, what: object) -> None:
        try:
            self._ask("DELETE", path, what)
        except TokenRefusedError:
            raise
        except RequestError as error:
            if error.status != MISSING:
                raise

    def _ask(
        self,
        method: str,
        path: str,
        what: object,
        *,
        read: Callable[[Any], T] = lambda result: result,
        **more: Any,
    ) -> T:
        """What ``read`` makes of the result of a request.

        Raises:
            RequestError: in words that say what it was about.
        """
        try:
            return read(self._send(method, path, **more))
        except RequestError as error:
            raise self._explain(error, what, path) from error

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] = NO_TEXTS,
        body: object = None,
        is_whole: bool = False,
    ) -> Any:
        answer = self._client.request(
            method,
            self._root + path,
            query=query,
            body=body,
            seconds=self.pace.answer,
            patience=self.pace.patience,
        )
        document = answer.read_object()
        return document if is_whole else document.get("result")

    def _explain(self, error: RequestError, what: object, path: str) -> RequestError:
        codes = read_codes(error)
        text = f"{what}: {error.message}"
        if codes & NO_SUCH_ID and path.startswith("/accounts/"):
            return TokenRefusedError(f"Cloudflare knows no account {self.id}: {text}", "account_id")
        if error.status in {UNAUTHORIZED, FORBIDDEN} or codes & NO_TOKEN:
            trouble = self.find_trouble()
            hint = MAKE_TOKEN if trouble else RIGHTS.format(account=self.id)
            text = f"{trouble or 'the token has no right to this'}: {text}"
            return TokenRefusedError(text, "api_token", hint=hint)
        hint = FULL if QUOTA.search(error.message) else ""
        hint = UNREACHED if error.is_silence else BUSY if error.status == TOO_MANY else hint
        return RequestError(
            f"Cloudflare: {text}",
            hint=hint,
            status=error.status,
            is_silence=error.is_silence,
            document=error.document,
            retry_after=error.retry_after,
        )


def read_codes(error: RequestError) -> frozenset[int]:
    errors = list_objects(error.document, "errors")
    chain = [each for one in errors for each in list_objects(one, "error_chain")]
    codes = (one.get("code") for one in [*errors, *chain])
    return frozenset(code for code in codes if isinstance(code, int))


def make(create: Callable[[], T], find: Callable[[], T | None]) -> T:
    """Make something once: where it is not known whether it was made, it is looked for.

    Raises:
        RequestError: it was not, and cannot be.
    """
    for number in range(TRIES):
        try:
            return create()
        except RequestError as error:
            is_unknown = error.is_silence or error.status in TEMPORARY
            if not is_unknown and not read_codes(error) & TAKEN:
                raise
            found = find()
            if found is not None:
                return found
            if not is_unknown or number == TRIES - 1:
                raise
    raise AssertionError("the last try returns or raises")
