"""Whether a request was signed by a project's key. Pure.

``X-Nvoi-Signature`` covers the body and is always asked for. The Standard Webhooks headers
cover the request's id and time as well; where one of them is there, all are checked
(https://github.com/standard-webhooks/standard-webhooks, "Verifying signatures").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from nvoi.protocol import (
    SIGNATURE,
    TOLERANCE_SECONDS,
    WEBHOOK_ID,
    WEBHOOK_SIGNATURE,
    WEBHOOK_TIMESTAMP,
    verify,
    verify_webhook,
)
from nvoi.secret import Secret

WEBHOOK_HEADERS = (WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE)

#: Stands for the key of a project that has none, so that it costs as much to refuse.
NO_KEY = Secret("0" * 64)

#: Printable ASCII without a dot, which separates what is signed; longer ids have no use.
_WEBHOOK_ID = re.compile(r"[!-\-/-~]{1,255}")


class ForgeryError(Exception):
    """The request is not to be believed. The text says why, and nothing of any key."""


def verify_request(
    body: bytes, headers: Mapping[str, str], keys: Sequence[Secret], *, now: float
) -> str | None:
    """Check a request's signatures before anything looks at its body.

    Args:
        body: the raw bytes.
        headers: the request's, by name in lower case; one that came twice is joined by ``,``
            and so never right.
        keys: the project's; each is tried in full.
        now: Unix seconds.

    Returns:
        the request's ``webhook-id``; None where it has no Standard Webhooks headers.

    Raises:
        ForgeryError: a signature is missing or wrong, or the request's time is not now.
    """
    usable = keys or (NO_KEY,)
    # All keys are tried, whichever fits: the time taken tells nothing of them.
    fits = [_fits(body, headers, key) for key in usable]
    if not keys or not any(fits):
        raise ForgeryError("the signature is missing or wrong")
    if not _has_webhook(headers):
        return None
    timestamp = headers[WEBHOOK_TIMESTAMP]
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        # Only the key's owner is told: whose clock is wrong is worth knowing.
        raise ForgeryError(
            f"webhook-timestamp is {abs(now - int(timestamp)):.0f} s off this server's clock; "
            f"{TOLERANCE_SECONDS} s are allowed"
        )
    return headers[WEBHOOK_ID]


def _fits(body: bytes, headers: Mapping[str, str], key: Secret) -> bool:
    """Whether every signature that is there is of this one key."""
    text = key.reveal()
    plain = verify(body, headers.get(SIGNATURE.lower()), text)
    if not _has_webhook(headers):
        return plain
    webhook_id = headers.get(WEBHOOK_ID, "")
    webhook = verify_webhook(
        body,
        headers.get(WEBHOOK_SIGNATURE),
        text,
        webhook_id=webhook_id if _WEBHOOK_ID.fullmatch(webhook_id) else None,
        timestamp=headers.get(WEBHOOK_TIMESTAMP),
        tolerance=float("inf"),
    )
    return plain and webhook


def _has_webhook(headers: Mapping[str, str]) -> bool:
    return any(name in headers for name in WEBHOOK_HEADERS)
