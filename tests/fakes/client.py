"""A sender of single requests that speaks the protocol by hand: what the fakes are tried with."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

import urllib3

from nvoi import protocol
from tests.waiting import PATIENCE

# Longer than a test waits for what ends a request otherwise.
TIMEOUT = urllib3.Timeout(connect=PATIENCE, read=2 * PATIENCE)


def build_record(message: str, level: str = "info") -> dict[str, str]:
    """A log record as it goes over the wire."""
    return {"level": level, "message": message, "logged_at": "2024-01-15T10:30:00.123Z"}


def build_batch(*messages: str) -> dict[str, Any]:
    """The body of a batch."""
    return {"logs": [build_record(message) for message in messages]}


def sign(key: str, webhook_id: str, body: bytes) -> dict[str, str]:
    """The headers that both signature schemes ask for."""
    stamp = int(time.time())
    return {
        "X-Nvoi-Signature": protocol.sign(body, key),
        "webhook-id": webhook_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": protocol.sign_webhook(body, key, webhook_id, stamp),
    }


class Client:
    """Sends one request after another, without a retry, for one deploy id."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        deploy_id: str = "run-1",
        pool: urllib3.PoolManager | None = None,
    ) -> None:
        self._url = url
        self._key = key
        self._deploy_id = deploy_id
        self._run_id = str(uuid.uuid4())
        self._pool = pool or urllib3.PoolManager()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.clear()

    def started(self, **keys: str) -> int:
        """Send ``started``; gives the answer's status, as all of these do."""
        return self.post("status", {"status": "started", **keys})

    def completed(self, count: int = 0) -> int:
        """Send ``completed``, with the count of records logged."""
        payload = {"status": "completed", "tunnels": [], "duration_seconds": 1}
        return self.post("status", payload, count_headers(count))

    def failed(self, error: str = "it broke") -> int:
        """Send ``failed``."""
        return self.post("status", {"status": "failed", "error": error}, count_headers(0))

    def logs(self, first: int, *messages: str, webhook_id: str = "") -> int:
        """Send a batch whose first record has that number."""
        last = first + len(messages) - 1
        headers = {"X-Nvoi-Sequence": f"{first}-{last}"}
        return self.post("logs", build_batch(*messages), headers, webhook_id=webhook_id)

    def post(
        self,
        kind: str,
        payload: Any,
        headers: Mapping[str, str] | None = None,
        *,
        webhook_id: str = "",
    ) -> int:
        """Send ``payload`` (bytes as they are), signed; ``headers`` win over the right ones.

        Its id is one that no other request has, unless ``webhook_id`` is given.
        """
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        fields = {
            "Content-Type": "application/json",
            "User-Agent": "nvoi/0",
            # A header is written as Latin-1, and the id's bytes are UTF-8.
            "X-Nvoi-Deploy-Id": self._deploy_id.encode().decode("latin-1"),
            "X-Nvoi-Run-Id": self._run_id,
            **sign(self._key, webhook_id or protocol.build_webhook_id(), body),
            **(headers or {}),
        }
        url = f"{self._url}/{quote(self._deploy_id, safe='')}/{kind}"
        response = self._pool.request(
            "POST", url, body=body, headers=fields, retries=False, redirect=False, timeout=TIMEOUT
        )
        return response.status

    def try_logs(self, first: int, *messages: str, webhook_id: str = "") -> int | None:
        """As :meth:`logs`; None where no answer came."""
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return self.logs(first, *messages, webhook_id=webhook_id)
        return None


def count_headers(count: int, dropped: int = 0) -> dict[str, str]:
    """The headers of a terminal status."""
    return {"X-Nvoi-Log-Count": str(count), "X-Nvoi-Log-Dropped": str(dropped)}
