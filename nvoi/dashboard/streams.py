"""Server-sent events: what is new of a deploy, as it comes.

A stream reads from the database what follows the last line that it sent, and sends it, as fast
as its reader takes it. Nothing is kept for it in between, so one that reconnects with the
number of its last line (``Last-Event-ID``) goes on where it was.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from sqlite3 import Connection

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from nvoi.dashboard.context import Dashboard, get_dashboard
from nvoi.dashboard.database import StorageError
from nvoi.dashboard.lines import read_lines
from nvoi.dashboard.queries import Attempt, find_attempt_by_id, get_attempt
from nvoi.dashboard.requests import find_number, get_deploy_id, get_number

#: Seconds without news after which a comment is sent: proxies end what is silent for long
#: (nginx after 60 s), and it is how a reader that has gone is noticed.
KEEP_ALIVE_SECONDS = 15.0
#: Milliseconds that a browser waits before it connects again.
RETRY_MILLISECONDS = 1000
#: Lines and bytes of one event, which a slow reader holds; the bytes may be exceeded by those of
#: one line.
MOST_LINES, MOST_BYTES = 500, 32 * 1024

#: HTML, "Server-sent events", parsing: a comment begins with a colon.
_EVENT_ID = re.compile(r"[0-9]{1,15}", re.ASCII)
_COMMENT = b": still here\n\n"


@dataclass(frozen=True, slots=True)
class _News:
    """What follows a line: an event of lines, if there are any, and how the attempt is.

    ``last`` is the number of the last line; ``more`` says that others follow. ``attempt`` is
    None where it was deleted.
    """

    lines: bytes
    last: int
    more: bool
    attempt: bytes | None


async def answer_events(request: Request) -> Response:
    """Open a stream of one attempt, the newest where the query names none."""
    name, deploy_id = request.path_params["project"], get_deploy_id(request)
    number = find_number(request, "attempt")
    after = get_number(request, "after", 0)
    # A browser that connects again asks for the same URL, and says what it has seen since.
    last_id = request.headers.get("last-event-id", "")
    if _EVENT_ID.fullmatch(last_id):
        after = int(last_id)
    dashboard = get_dashboard(request)
    attempt = await dashboard.reader.read(lambda sql: get_attempt(sql, name, deploy_id, number))
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    return StreamingResponse(
        _send(dashboard, attempt, after),
        media_type="text/event-stream",
        # nginx would gather what is sent: ngx_http_proxy_module, X-Accel-Buffering.
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _send(dashboard: Dashboard, attempt: Attempt, after: int) -> AsyncIterator[bytes]:
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    told: bytes | None = None
    with dashboard.feed.listen((attempt.project, attempt.deploy_id)) as listener:
        silent = False
        while not listener.closed:
            version = listener.version
            query = partial(read_news, attempt_id=attempt.id, after=after)
            try:
                news = await listener.share(
                    (attempt.id, after), partial(dashboard.reader.read, query)
                )
            except StorageError:
                # The page connects again, and goes on as soon as the database can be read.
                return
            if news.attempt is None:
                return
            parts = news.lines
            after = news.last
            if not news.more and news.attempt != told:
                told = news.attempt
                parts += b"event: attempt\ndata: " + told + b"\n\n"
            if parts or silent:
                yield parts or _COMMENT
            if not news.more:
                silent = not await listener.wait(version, KEEP_ALIVE_SECONDS)


def read_news(sql: Connection, attempt_id: int, after: int) -> _News:
    attempt = find_attempt_by_id(sql, attempt_id)
    if attempt is None:
        return _News(b"", after, more=False, attempt=None)
    last, size, chunks = after, 0, []
    # A few at a time, as one line may have a megabyte.
    while last < attempt.lines and size < MOST_BYTES and last - after < MOST_LINES:
        lines = read_lines(sql, attempt_id, last, 50)
        if not lines:
            break
        for line in lines:
            chunks.append(msgspec.json.encode(line))
            size += len(chunks[-1])
            last = line.number
            if size >= MOST_BYTES:
                break
    event = b""
    if chunks:
        event = b"event: lines\nid: %d\ndata: [%b]\n\n" % (last, b",".join(chunks))
    more = bool(chunks) and last < attempt.lines
    return _News(event, last, more, msgspec.json.encode(attempt))


ROUTES = [
    Route("/api/projects/{project:segment}/deploys/{deploy_id:segment}/events", answer_events)
]
