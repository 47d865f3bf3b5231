"""What a fake server saw of one request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from urllib3 import HTTPHeaderDict

from nvoi.protocol import SEQUENCE, WEBHOOK_ID

Kind = Literal["logs", "status", ""]
TERMINAL = ("completed", "failed")

#: Header fields by name in any case; one that came twice is joined by ``, ``.
Headers = HTTPHeaderDict


@dataclass
class Received:
    """One request, an attempt of a retried one included, in the order of arrival.

    ``arrived`` and ``answered_at`` are seconds of ``time.monotonic``. ``complete`` is False
    where the body was not read whole; ``stored`` is True on the one attempt that the receiver
    took. ``answered`` is the status that was sent, or None; ``retry_after`` what went with it,
    in seconds. ``kind`` and ``deploy_id`` are blank where the path is none of the protocol's.
    """

    number: int
    connection: int
    method: str
    path: str
    kind: Kind
    deploy_id: str
    headers: Headers
    arrived: float
    body: bytes = b""
    payload: Any = None
    complete: bool = False
    stored: bool = False
    answered: int | None = None
    answered_at: float | None = None
    retry_after: float | None = None

    @property
    def webhook_id(self) -> str:
        """The id that all attempts of this request share."""
        return self.headers.get(WEBHOOK_ID, "")

    @property
    def records(self) -> list[dict[str, Any]]:
        """The log records of a batch; none for anything else."""
        logs = self.payload.get("logs") if isinstance(self.payload, dict) else None
        if self.kind != "logs" or not isinstance(logs, list):
            return []
        return [record for record in logs if isinstance(record, dict)]

    @property
    def state(self) -> str:
        """``started``, ``completed`` or ``failed`` of a status request; blank otherwise."""
        state = self.payload.get("status") if isinstance(self.payload, dict) else None
        return state if self.kind == "status" and isinstance(state, str) else ""

    @property
    def sequence(self) -> tuple[int, int] | None:
        """``X-Nvoi-Sequence`` as two numbers, or None where it is not there or malformed."""
        header = self.headers.get(SEQUENCE, "")
        match = re.fullmatch(r"([1-9][0-9]*)-([1-9][0-9]*)", header)
        return (int(match[1]), int(match[2])) if match else None

    def describe(self) -> str:
        """One line for a message: which request this was and how it was answered."""
        answer = "not answered" if self.answered is None else f"answered {self.answered}"
        what = self.state or self.headers.get(SEQUENCE, "")
        whole = "" if self.complete else ", cut off"
        return (
            f"request {self.number} ({self.method} {self.path} {what}"
            f" id={self.webhook_id or 'none'}{whole}, {answer})"
        )


def split_path(path: str, base: str) -> tuple[str, Kind]:
    """The deploy id and the kind that a request's path names; both blank for a strange path."""
    if not path.startswith(base + "/"):
        return "", ""
    match path.removeprefix(base + "/").split("/"):
        case [deploy_id, "logs"]:
            return unquote(deploy_id), "logs"
        case [deploy_id, "status"]:
            return unquote(deploy_id), "status"
    return "", ""
