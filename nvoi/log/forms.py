"""The forms that a secret takes on its way into a log. Pure.

As it is, URL-encoded, base64, JSON-escaped, quoted for a shell. One of several lines, such
as a private key, is taken line by line, as logs cut it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

#: Shorter values are left: they are words that occur everywhere.
SHORTEST_SECRET = 5
#: Shorter pieces of base64 would match by chance.
_SHORTEST_BASE64 = 7


def build_forms(secret: str) -> Iterator[str]:
    """Every text that shows ``secret`` or, where it has several lines, a line of it."""
    parts = {secret, secret.strip()}
    parts.update(line.strip() for line in secret.splitlines() if not line.startswith("-----"))
    for part in parts:
        if len(part) < SHORTEST_SECRET:
            continue
        yield part
        yield from _build_escaped(part)
        yield from _build_base64(part.encode("utf-8", "surrogatepass"))


def _build_escaped(text: str) -> Iterator[str]:
    data = text.encode("utf-8", "surrogatepass")
    for encoded in (quote(data, safe=""), quote(data, safe="/"), quote_plus(data)):
        yield encoded
        yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)
    for ensure_ascii in (True, False):
        escaped = json.dumps(text, ensure_ascii=ensure_ascii)[1:-1]
        yield escaped
        yield escaped.replace("/", "\\/")
    yield repr(text)[1:-1]
    yield text.replace("'", "'\"'\"'")  # shlex.quote


def _build_base64(data: bytes) -> Iterator[str]:
    """Base64 of ``data`` alone and inside a longer text, in both alphabets.

    Inside a longer text it starts at one of three places of a group of three bytes
    (RFC 4648, section 4); only the characters that are ``data``'s alone are looked for.
    """
    pieces = {base64.b64encode(data).decode(), base64.b64encode(data).decode().rstrip("=")}
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + data).decode()
        first = -(-offset * 8 // 6)
        last = (offset + len(data)) * 8 // 6
        pieces.add(encoded[first:last])
    for piece in pieces:
        if len(piece) >= _SHORTEST_BASE64:
            yield piece
            yield piece.translate(str.maketrans("+/", "-_"))
