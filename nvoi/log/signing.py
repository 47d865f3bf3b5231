"""Signatures of callbacks: sign and verify. Pure, and of the standard library alone.

Two schemes over the exact bytes of the body, with the deploy key's text as the key:
``X-Nvoi-Signature``, as GitHub signs its webhooks, and Standard Webhooks
(https://github.com/standard-webhooks/standard-webhooks, "Signature scheme"), which
covers the id and the time as well.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

#: How far a Standard Webhooks timestamp may be from now, in seconds, as its libraries have it.
TOLERANCE_SECONDS = 300


def sign(body: bytes, key: str) -> str:
    """The value of ``X-Nvoi-Signature``: ``sha256=`` and 64 hex digits."""
    return "sha256=" + hmac.digest(key.encode(), body, "sha256").hex()


def verify(body: bytes, signature: str | None, key: str) -> bool:
    """Whether ``signature`` is the one of ``body``, in constant time.

    Args:
        body: the request's body as received, before anything has parsed it.
        signature: the header ``X-Nvoi-Signature``; None, where it is missing, is never right.
        key: the deploy key's text, 64 hex characters.
    """
    if not signature:
        return False
    expected = sign(body, key).encode()
    return hmac.compare_digest(expected, signature.encode("utf-8", "surrogatepass"))


def sign_webhook(body: bytes, key: str, webhook_id: str, timestamp: int) -> str:
    """The value of ``webhook-signature``: ``v1,`` and base64."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key.encode(), signed, hashlib.sha256)).decode()


def verify_webhook(
    body: bytes,
    signatures: str | None,
    key: str,
    *,
    webhook_id: str | None,
    timestamp: str | None,
    now: float | None = None,
    tolerance: float = TOLERANCE_SECONDS,
) -> bool:
    """Whether a Standard Webhooks signature is right and its timestamp recent.

    Args:
        body: the request's body as received.
        signatures: the header ``webhook-signature``, one or several, separated by spaces.
        key: the deploy key's text.
        webhook_id: the header ``webhook-id``.
        timestamp: the header ``webhook-timestamp``, Unix seconds.
        now: Unix seconds to compare with; the clock's where left out.
        tolerance: how many seconds the timestamp may be off, either way.
    """
    if not (signatures and webhook_id and timestamp and timestamp.isascii()):
        return False
    if not timestamp.isdigit() or len(timestamp) > 15:  # noqa: PLR2004 - longer than any time
        return False
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance:
        return False
    expected = sign_webhook(body, key, webhook_id, int(timestamp)).encode()
    candidates = [text.encode("utf-8", "surrogatepass") for text in signatures.split(" ")]
    # Every candidate is compared, so that the time taken does not tell which one fits.
    return any([hmac.compare_digest(expected, candidate) for candidate in candidates])  # noqa: C419 - no short cut
