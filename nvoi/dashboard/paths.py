"""URL paths as they were sent: segments are split first and percent-decoded afterwards.

A deploy id may hold any character but control characters, ``/`` included, so a path that was
decoded as a whole (as ASGI's ``path`` is) no longer tells where a segment ends.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, request_response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]

_FIELD = re.compile(r"\{([a-z_]+)\}")


def quote_segment(text: str) -> str:
    """``text`` as one segment of a path; ``.`` and ``..`` stay distinct from what they mean."""
    if text in {".", ".."}:
        return text.replace(".", "%2E")
    return quote(text, safe="")


def decode_segment(raw: str) -> str | None:
    """What a segment stands for; None where its bytes are not UTF-8."""
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        return None


def get_raw_path(scope: Scope) -> str:
    """The path of a request before any decoding, without its query."""
    # ASGI 3, "HTTP connection scope": raw_path is optional, path is there always.
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        return quote(str(scope["path"]))
    return raw.partition(b"?")[0].decode("latin-1")


class RawRoute(BaseRoute):
    """A route whose template is matched against the raw path.

    Args:
        template: segments, each with at most one ``{field}``, which matches one character or
            more of one segment: ``/api/deploys/{deploy_id}/logs``.
        endpoint: what answers. It finds the decoded fields in ``request.path_params``; a field
            whose bytes are not UTF-8 is None.
        methods: those that are allowed; with GET comes HEAD.
    """

    def __init__(
        self, template: str, endpoint: Endpoint, *, methods: Collection[str] = ("GET",)
    ) -> None:
        self.template = template
        self.endpoint = endpoint
        self.methods = frozenset(methods) | ({"HEAD"} if "GET" in methods else frozenset())
        self._app = request_response(endpoint)
        parts = _FIELD.split(template)
        # Every second part is a field's name.
        self._pattern = re.compile(
            "".join(
                f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part)
                for index, part in enumerate(parts)
            )
        )

    def find_fields(self, raw_path: str) -> Mapping[str, str | None] | None:
        """The decoded fields where the path is one of this route's, else None."""
        match = self._pattern.fullmatch(raw_path)
        if match is None:
            return None
        return {name: decode_segment(value) for name, value in match.groupdict().items()}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette's router asks: fully, but for the method, or not at all."""
        fields = self.find_fields(get_raw_path(scope)) if scope["type"] == "http" else None
        if fields is None:
            return Match.NONE, {}
        child: Scope = {"endpoint": self.endpoint, "path_params": dict(fields)}
        return (Match.FULL if scope["method"] in self.methods else Match.PARTIAL), child

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse the method."""
        if scope["method"] not in self.methods:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(self.methods))})
        await self._app(scope, receive, send)
