"""Takes what nvoi sends, as docs/protocol.md says.

Nothing of a body is looked at before its signature is known to be right, and 2xx is answered
only once what it brought is committed. ``X-Nvoi-Signature`` covers the body and is always asked
for. The Standard Webhooks headers cover the request's id and time as well; where one of them is
there, all are checked (https://github.com/standard-webhooks/standard-webhooks, "Verifying
signatures"), and a project that has once sent them needs them from then on.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from functools import partial
from sqlite3 import Connection

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from nvoi.dashboard import projects
from nvoi.dashboard.context import Dashboard
from nvoi.dashboard.database import read_clock
from nvoi.dashboard.deliveries import (
    Delivery,
    Kind,
    ProtocolViolation,
    parse_about,
    parse_body,
)
from nvoi.dashboard.limits import Allowance, RateLimit
from nvoi.dashboard.projects import DEFAULT_PROJECT, Project
from nvoi.dashboard.requests import build_refusal, find_client, read_body
from nvoi.dashboard.store import Receipt, store_delivery
from nvoi.errors import UsageError
from nvoi.protocol import (
    SIGNATURE,
    TOLERANCE_SECONDS,
    WEBHOOK_ID,
    WEBHOOK_SIGNATURE,
    WEBHOOK_TIMESTAMP,
    check_deploy_id,
    verify,
    verify_webhook,
)
from nvoi.secret import Secret

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

#: Why a request with the plain signature alone is refused. Only the key's owner is told.
UNSIGNED = "this project's requests have webhook headers; one without them may be a replay"

_WEBHOOK_HEADERS = (WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE)
#: Printable ASCII without a dot, which separates what is signed; longer ids have no use.
_WEBHOOK_ID = re.compile(r"[!-\-/-~]{1,255}")


class Receiver:
    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        rate = dashboard.settings.rate
        # With less than one token a bucket would never let anything through.
        self._rates = RateLimit(rate, max(1.0, 2 * rate))
        self._forgeries = RateLimit(FORGERY_RATE, FORGERY_BURST)
        self._held = Allowance(HELD_BYTES, HELD_BYTES_OF_ONE)

    async def answer(self, request: Request, *, kind: Kind) -> Response:
        project, keys = await self._get_project(request.path_params.get("token", ""))
        client = find_client(request.scope, self._dashboard.settings)
        with self._held.reserve(client) as hold:
            body = await read_body(request, MOST_BYTES, BODY_SECONDS, hold)
            delivery = self._read_delivery(request, kind, project, keys, body)
        # What is on its way to the disk may get there though the request is given up: those who
        # watch are to see it all the same.
        receipt = await asyncio.shield(self._store(project, delivery))
        return JSONResponse({"ok": True, "duplicate": receipt.duplicate})

    async def _store(self, project: Project, delivery: Delivery) -> Receipt:
        def store(sql: Connection) -> Receipt:
            if delivery.webhook_id is not None and not project.needs_webhook:
                projects.note_webhook(sql, project.id)
            return store_delivery(sql, delivery)

        receipt = await self._dashboard.writer.write(store)
        if receipt.attempt_id is not None and not receipt.duplicate:
            self._dashboard.feed.notify((project.name, delivery.deploy_id))
        return receipt

    async def _get_project(self, token: str | None) -> tuple[Project, tuple[Secret, ...]]:
        """The project of a path, with its keys; ``token`` is blank in the default one's."""

        def find(sql: Connection) -> tuple[Project, tuple[Secret, ...]] | None:
            if token:
                project = projects.find_project_by_token(sql, token)
            else:
                project = projects.find_project(sql, DEFAULT_PROJECT)
            if project is None:
                return None
            return project, projects.get_keys(sql, self._dashboard.keyring, project)

        found = None if token is None else await self._dashboard.reader.read(find)
        if found is None:
            raise HTTPException(404, "there is no such project")
        return found

    def _read_delivery(
        self, request: Request, kind: Kind, project: Project, keys: Sequence[Secret], body: bytes
    ) -> Delivery:
        """What a request brings, once it is known to be the project's, and within its rate."""
        headers = join_headers(request.headers.items())
        try:
            webhook_id = verify_request(
                body, headers, keys, now=time.time(), needs_webhook=project.needs_webhook
            )
        except ForgeryError as error:
            raise self._refuse(request, error) from None
        if wait := self._rates.take(project.id):
            raise build_refusal(429, "the project sends too many requests", wait)
        deploy_id = check_id(request.path_params["deploy_id"])
        content = parse_body(kind, body, headers)
        return Delivery(
            project.id,
            deploy_id,
            webhook_id,
            hashlib.sha256(body).digest(),
            read_clock(),
            content,
            parse_about(headers, deploy_id, content),
        )

    def _refuse(self, request: Request, error: ForgeryError) -> HTTPException:
        if wait := self._forgeries.take(find_client(request.scope, self._dashboard.settings)):
            return build_refusal(429, "too many wrong signatures come from this address", wait)
        return HTTPException(401, str(error))


def build_routes(dashboard: Dashboard) -> list[BaseRoute]:
    receiver = Receiver(dashboard)
    kinds: tuple[Kind, ...] = ("logs", "status")
    return [
        Route(
            f"{base}/{{deploy_id:segment}}/{kind}",
            partial(receiver.answer, kind=kind),
            methods=["POST"],
        )
        for base in ("/api/deploys", "/api/projects/{token:segment}/deploys")
        for kind in kinds
    ]


def check_id(deploy_id: str | None) -> str:
    """The deploy id of a path; None stands for bytes that are not UTF-8."""
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


# -- signatures -----------------------------------------------------------------------------


class ForgeryError(Exception):
    """The request is not to be believed. The text says why, and nothing of any key."""


def verify_request(
    body: bytes,
    headers: Mapping[str, str],
    keys: Sequence[Secret],
    *,
    now: float,
    needs_webhook: bool = False,
) -> str | None:
    """Check a request's signatures, at ``now`` in Unix seconds; gives its ``webhook-id``, if any.

    A ForgeryError says that one is missing or wrong, or that the request's time is not now.
    """
    # All keys are tried, whichever fits: the time taken tells nothing of them.
    fits = [_fits(body, headers, key.reveal()) for key in keys]
    if True not in fits:
        raise ForgeryError("the signature is missing or wrong")
    if not _has_webhook(headers):
        if needs_webhook:
            raise ForgeryError(UNSIGNED)
        return None
    off = abs(now - int(headers[WEBHOOK_TIMESTAMP]))
    if off > TOLERANCE_SECONDS:
        # Only the key's owner is told: whose clock is wrong is worth knowing.
        raise ForgeryError(
            f"webhook-timestamp is {off:.0f} s off this server's clock; "
            f"{TOLERANCE_SECONDS} s are allowed"
        )
    return headers[WEBHOOK_ID]


def _fits(body: bytes, headers: Mapping[str, str], key: str) -> bool:
    """Whether every signature that is there is of this one key."""
    plain = verify(body, headers.get(SIGNATURE.lower()), key)
    if not _has_webhook(headers):
        return plain
    webhook_id = headers.get(WEBHOOK_ID, "")
    webhook = verify_webhook(
        body,
        headers.get(WEBHOOK_SIGNATURE),
        key,
        webhook_id=webhook_id if _WEBHOOK_ID.fullmatch(webhook_id) else None,
        timestamp=headers.get(WEBHOOK_TIMESTAMP),
        tolerance=float("inf"),
    )
    return plain and webhook


def _has_webhook(headers: Mapping[str, str]) -> bool:
    return any(name in headers for name in _WEBHOOK_HEADERS)
