r"""The forms that a secret takes on its way into a log. Pure.

Escaped, character by character: quoted for a shell, a URL, JSON, HTML or a string of a language.
Encoded as a whole: in base64 or hex, also broken into lines. A secret of several lines, such as a
private key, is taken line by line too, as logs cut it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

#: Shorter values are left: they are words that occur everywhere.
SHORTEST_SECRET = 5
#: Shorter pieces of base64 would match by chance.
_SHORTEST_ENCODED = 7
#: Where base64 is broken into lines: MIME (RFC 2045, section 6.8), PEM (RFC 7468, section 2).
_LINE_WIDTHS = (76, 64)

#: Letters and digits are what no kind of escaping touches.
_find_runs = re.compile("[A-Za-z0-9]+").finditer
_find_tokens = re.compile(r"""[A-Za-z0-9]+|\s+|["'\\]+|.""", re.DOTALL).findall
#: The first and the last line of a key: the same in every key, so nothing to hide.
_is_frame = re.compile(r"-----[A-Z0-9 ]+-----\s*").fullmatch

#: No form of a character is longer: the four bytes of an emoji, each as "\\\\\\\\xf0".
_LONGEST_CHARACTER = 48
#: Backslashes before a character: JSON in JSON in JSON puts seven.
_BACKSLASHES = r"\\{0,8}+"
_LETTERS = {"\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r"}
_ENTITIES = {'"': "quot", "&": "amp", "'": "apos", "<": "lt", ">": "gt"}
#: A code of a quote or a backslash, as :func:`_build_codes` has them.
_QUOTE_CODE = (
    "(?i:%(?:25)?(?:22|27|5c)|[ux]\\{?0{0,6}(?:22|27|5c)|042|047|134"
    "|&(?:amp;)?(?:quot|apos|#0{0,4}(?:34|39|92)|#x0{0,4}(?:22|27|5c));)"
)


@dataclass(frozen=True, repr=False)
class Escaped:
    """A secret or a line of one, found in every escaped form, a mixture of them too.

    ``anchor`` is a piece that each form holds as it is; ``before`` and ``after`` are how many
    characters at most a form has up to the anchor's start and from there.
    """

    text: str
    anchor: str
    before: int
    after: int

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Made when it is first needed: most secrets never come near a log."""
        escaped = "".join(map(_build_token, _find_tokens(self.text)))
        return re.compile(f"{escaped}|{re.escape(self.text)}")

    def find_spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where in ``text`` the secret is: start and end."""
        count = text.count(self.anchor)
        if count * (self.before + self.after) > len(text):
            yield from (found.span() for found in self.pattern.finditer(text))
            return
        end, at = 0, text.find(self.anchor) if count else -1
        while at >= 0:
            found = self.pattern.search(text, max(end, at - self.before), at + self.after)
            if found:
                yield found.span()
                end = found.end()
            at = text.find(self.anchor, end if found else at + 1)


def build_escaped(secret: str, longest_anchor: int) -> Iterator[Escaped]:
    """What finds the escaped forms of ``secret`` and of its lines."""
    for part in {secret.strip(), *_split_lines(secret)}:
        if len(part) < SHORTEST_SECRET:
            continue
        runs = [(run[0][:longest_anchor], run.start()) for run in _find_runs(part)]
        anchor, start = max(runs, key=lambda run: len(run[0]), default=("", 0))
        yield Escaped(part, anchor, _measure(part[:start]), _measure(part[start:]))


def build_encoded(secret: str) -> Iterator[str]:
    """Base64 and hex of ``secret`` and of its lines, whole and in lines."""
    body = "".join(line for line in secret.splitlines(keepends=True) if not _is_frame(line))
    for part in {body, body.strip(), *_split_lines(secret)}:
        if len(part) < SHORTEST_SECRET:
            continue
        data = part.encode("utf-8", "surrogatepass")
        yield from (data.hex(), data.hex().upper())
        for piece in _build_base64(data):
            if len(piece) >= _SHORTEST_ENCODED:
                yield piece
                yield piece.translate(str.maketrans("+/", "-_"))


def _split_lines(secret: str) -> list[str]:
    return [line.strip() for line in secret.splitlines() if not _is_frame(line)]


def _measure(text: str) -> int:
    """How many characters the longest form of ``text`` has."""
    plain = sum(len(run[0]) for run in _find_runs(text))
    return plain + (len(text) - plain) * _LONGEST_CHARACTER


def _build_base64(data: bytes) -> Iterator[str]:
    """Base64 of ``data`` alone and inside a longer text, and the lines of it.

    Inside a longer text it starts at one of three places of a group of three bytes
    (RFC 4648, section 4); only the characters that are ``data``'s alone are looked for.
    """
    yield base64.b64encode(data).decode()
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + data).decode()
        first = -(-offset * 8 // 6)
        last = (offset + len(data)) * 8 // 6
        yield encoded[first:last]
        for width in _LINE_WIDTHS:
            cuts = (first, *range(width, last, width), last)
            yield from (encoded[start:end] for start, end in pairwise(cuts))


def _build_token(token: str) -> str:
    """A pattern for letters and digits, a row of white space, one of quotes, or one other.

    What it repeats is limited and, by its ``+``, never given back; of two alternatives at most
    one fits a text. So no text makes it slow.
    """
    if token.isascii() and token.isalnum():
        return token
    count, each = len(token), "".join(map(_build_character, token))
    if token.isspace():  # folded, indented, or joined to one line
        return rf"(?:\s{{{count},{40 * count}}}+|(?!\s{{{count}}}){each})"
    if token[0] not in "\"'\\":
        return each
    # A shell's quoting makes '\'' or '"'"' of a quote, and ends of it are shared in a row.
    row, parts = "[\"'\\\\]", re.findall(r"\\+|.", token)
    each = "".join(map(_build_backslashes, parts))
    plain = rf"{row}{{{count},{40 * count}}}+(?!{_QUOTE_CODE})"
    return rf"(?:{plain}|(?={row}{{0,{40 * count}}}+{_QUOTE_CODE}){each})"


def _build_backslashes(part: str) -> str:
    if part[0] != "\\":
        return _build_character(part)
    count, coded = len(part), "|".join(_build_codes("\\"))
    return rf"(?:(?:{_BACKSLASHES}(?i:{coded})){{{count}}}|\\{{{count},{16 * count}}}+)"


def _build_character(character: str) -> str:
    plain = "|".join((re.escape(character), *_LETTERS.get(character, "")))
    coded = "|".join(_build_codes(character))
    spaced = r"|\+" if character == " " else ""  # in a form's data
    return rf"(?:{_BACKSLASHES}(?:(?i:{coded})|{plain}){spaced})"


def _build_codes(character: str) -> Iterator[str]:
    r"""The codes of one character, without the ``\`` that may stand before: in any case."""
    number, data = ord(character), character.encode("utf-8", "surrogatepass")
    yield rf"[ux]\{{?0{{0,6}}{number:x}\}}?"
    yield r"\\{1,8}".join(f"(?:x{byte:02x}|{byte:03o})" for byte in data)
    yield "".join(f"%(?:25)?{byte:02x}" for byte in data)
    yield f"&(?:amp;)?#(?:0{{0,4}}{number}|x0{{0,4}}{number:x});"
    if character in _ENTITIES:
        yield f"&(?:amp;)?{_ENTITIES[character]};"
    units = character.encode("utf-16-be", "surrogatepass").hex()
    if len(units) > len("ffff"):
        yield rf"u{units[:4]}\\{{1,8}}u{units[4:]}"
