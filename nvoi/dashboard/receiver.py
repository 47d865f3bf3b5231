"""Takes what nvoi sends, as docs/protocol.md says.

Nothing of a body is looked at before its signature is known to be right, and 2xx is answered
only once what it brought is committed.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from nvoi.dashboard import projects
from nvoi.dashboard.clock import read_clock
from nvoi.dashboard.context import Dashboard
from nvoi.dashboard.deliveries import store_delivery
from nvoi.dashboard.documents import ProtocolViolation
from nvoi.dashboard.hosts import find_client
from nvoi.dashboard.limits import Allowance, RateLimit
from nvoi.dashboard.parsing import Kind, check_deploy_header, parse_request
from nvoi.dashboard.paths import RawRoute
from nvoi.dashboard.records import DEFAULT_PROJECT, Delivery, Project, Receipt
from nvoi.dashboard.verification import ForgeryError, verify_request
from nvoi.errors import UsageError
from nvoi.protocol import check_deploy_id
from nvoi.secret import Secret

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

#: The largest body, in bytes; a sender halves a batch that is larger.
MOST_BYTES = 1 << 20
#: Seconds for a body to come, as a whole.
BODY_SECONDS = 30.0
#: Bytes of bodies that are held at one time: of all, and of one client. No signature is known
#: to be right before its body is whole, so a stranger could else keep every sender out.
HELD_BYTES = 64 << 20
HELD_BYTES_OF_ONE = 16 << 20

#: Wrong signatures of one address: so many a second for long, and so many at once. They are
#: answered like any, and cost no right one anything; but a stranger learns little by trying.
FORGERY_RATE, FORGERY_BURST = 1.0, 20.0


class RefusalError(Exception):
    """A request is not taken: how it is answered."""

    def __init__(
        self, status: int, message: str, *, field: str = "", retry_after: float = 0.0
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.retry_after = retry_after

    def build_response(self) -> Response:
        """The answer."""
        content = {"error": self.message} | ({"field": self.field} if self.field else {})
        headers = {"Retry-After": str(math.ceil(self.retry_after))} if self.retry_after else None
        return JSONResponse(content, status_code=self.status, headers=headers)


class Receiver:
    """Takes the requests of all projects."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        rate = dashboard.settings.rate
        # With less than one token a bucket would never let anything through.
        self._rates = RateLimit(rate, max(1.0, 2 * rate))
        self._forgeries = RateLimit(FORGERY_RATE, FORGERY_BURST)
        self._held = Allowance(HELD_BYTES, HELD_BYTES_OF_ONE)

    async def answer(self, request: Request, *, kind: Kind) -> Response:
        """Take a request and answer it."""
        try:
            duplicate = await self._take(request, kind)
        except RefusalError as refusal:
            return refusal.build_response()
        return JSONResponse({"ok": True, "duplicate": duplicate})

    async def _take(self, request: Request, kind: Kind) -> bool:
        """Store what a request brings; whether that was done before.

        Raises:
            RefusalError: it is not taken.
            StorageError: the database did not keep it.
        """
        project, keys = await self._get_project(request.path_params.get("token", ""))
        client = find_client(request.scope, self._dashboard.settings)
        body = await self._read_body(request, client)
        try:
            delivery = self._read_delivery(request, kind, project, keys, body)
        finally:
            self._held.release(client, len(body))
        # What is on its way to the disk may get there though the request is given up: those who
        # watch are to see it all the same.
        receipt = await asyncio.shield(self._store(project, delivery))
        return receipt.duplicate

    async def _store(self, project: Project, delivery: Delivery) -> Receipt:
        """Store a delivery, and wake the pages that show its deploy."""
        receipt = await self._dashboard.writer.write(lambda sql: store_delivery(sql, delivery))
        if receipt.attempt_id is not None and not receipt.duplicate:
            self._dashboard.feed.notify((project.name, delivery.deploy_id))
        return receipt

    async def _get_project(self, token: str | None) -> tuple[Project, tuple[Secret, ...]]:
        """The project of a path, with its keys; ``token`` is blank in the default one's."""
        keyring = self._dashboard.keyring

        def find(connection: sqlite3.Connection) -> tuple[Project, tuple[Secret, ...]] | None:
            if token:
                project = projects.find_project_by_token(connection, token)
            else:
                project = projects.find_project(connection, DEFAULT_PROJECT)
            if project is None:
                return None
            return project, projects.get_keys(connection, keyring, project)

        found = None if token is None else await self._dashboard.reader.read(find)
        if found is None:
            raise RefusalError(404, "there is no such project")
        return found

    async def _read_body(self, request: Request, client: str) -> bytes:
        """The raw body. Its bytes count as held until :meth:`_take` has done with them."""
        # HTTP allows nothing but digits there; the server has refused what is none.
        if int(request.headers.get("content-length", "0")) > MOST_BYTES:
            raise _build_size_refusal()
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while await self._read_chunk(request, client, body):
                    pass
        except TimeoutError:
            self._held.release(client, len(body))
            raise RefusalError(408, f"the body did not come in {BODY_SECONDS:.0f} s") from None
        except BaseException:
            self._held.release(client, len(body))
            raise
        return bytes(body)

    async def _read_chunk(self, request: Request, client: str, body: bytearray) -> bool:
        """Add what has come of the body; whether there is more to come."""
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise RefusalError(400, "the request was cut off")
        chunk: bytes = message.get("body", b"")
        body += chunk
        is_allowed = self._held.hold(client, len(chunk))
        if len(body) > MOST_BYTES:
            raise _build_size_refusal()
        if not is_allowed:
            raise RefusalError(503, "too much is being sent at once", retry_after=1)
        return bool(message.get("more_body", False))

    def _read_delivery(
        self,
        request: Request,
        kind: Kind,
        project: Project,
        keys: tuple[Secret, ...],
        body: bytes,
    ) -> Delivery:
        """What a request brings, once it is known to be the project's, and within its rate."""
        headers = join_headers(request.headers.items())
        webhook_id = self._verify(request, body, headers, keys)
        if wait := self._rates.take(project.id):
            raise RefusalError(429, "the project sends too many requests", retry_after=wait)
        try:
            deploy_id = check_id(request.path_params["deploy_id"])
            check_deploy_header(deploy_id, headers)
            content = parse_request(kind, body, headers)
        except ProtocolViolation as violation:
            raise RefusalError(422, violation.message, field=violation.field) from None
        digest = hashlib.sha256(body).digest()
        return Delivery(project.id, deploy_id, webhook_id, digest, read_clock(), content)

    def _verify(
        self,
        request: Request,
        body: bytes,
        headers: Mapping[str, str],
        keys: tuple[Secret, ...],
    ) -> str | None:
        try:
            return verify_request(body, headers, keys, now=time.time())
        except ForgeryError as error:
            client = find_client(request.scope, self._dashboard.settings)
            if wait := self._forgeries.take(client):
                text = "too many wrong signatures come from this address"
                raise RefusalError(429, text, retry_after=wait) from None
            raise RefusalError(401, str(error)) from None


def build_routes(dashboard: Dashboard) -> list[BaseRoute]:
    """The routes that a callback URL leads to."""
    receiver = Receiver(dashboard)
    kinds: tuple[Kind, ...] = ("logs", "status")
    return [
        RawRoute(
            f"{base}/{{deploy_id}}/{kind}", partial(receiver.answer, kind=kind), methods=["POST"]
        )
        for base in ("/api/deploys", "/api/projects/{token}/deploys")
        for kind in kinds
    ]


def check_id(deploy_id: str | None) -> str:
    """The deploy id of a path; None stands for bytes that are not UTF-8.

    Raises:
        ProtocolViolation: nvoi sends no such id.
    """
    try:
        if deploy_id is not None:
            return check_deploy_id(deploy_id)
    except UsageError as error:
        raise ProtocolViolation("deploy_id", error.message) from None
    raise ProtocolViolation("deploy_id", "the deploy id in the path is not UTF-8")


def join_headers(items: list[tuple[str, str]]) -> dict[str, str]:
    """Headers by name in lower case, one that came twice joined (RFC 9110, 5.3)."""
    joined: dict[str, str] = {}
    for name, value in items:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _build_size_refusal() -> RefusalError:
    return RefusalError(413, f"the body is over {MOST_BYTES} bytes")
