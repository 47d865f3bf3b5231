r"""The forms that a secret takes on its way into a log. Pure.

Escaped, character by character: quoted for a shell, a URL, JSON, HTML or a string of a language.
Text and secret are folded, which undoes all of that in both, and then compared. Encoded as a
whole: in base64 or hex. A secret of several lines, such as a private key, is taken line by line
too, as logs cut it, and one that is JSON value by value.
"""

from __future__ import annotations

import base64
import html
import json
import re
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

#: Shorter values are left: they are words that occur everywhere.
SHORTEST_SECRET = 5
#: Shorter pieces of base64 would match by chance.
_SHORTEST_ENCODED = 7
#: Encodings of encodings of longer values are left: each takes as much memory again.
_LONGEST_NESTED = 4096
_URL_SAFE = str.maketrans("+/", "-_")
#: The first and the last line of a key: the same in every key, so nothing to hide.
_FRAME = re.compile("-----[A-Z0-9 ]+-----")

#: Names of JSON's values that are secrets.
_names_secret = re.compile(
    r"(?i:secret|token|passw|passphrase|credential|private|auth|signature)"
    r"|(?:^|[^a-z])(?i:key|pwd|pin)|Key"
).search
_find_password = re.compile(r"://[^/@\s]*:[^/@\s]+@").search
#: A URL without one, as ``token_uri`` is.
_is_address = re.compile(r"[a-z][a-z0-9+.-]*://[^@]*", re.IGNORECASE).fullmatch
#: What looks like chance: a word of 16 characters that changes its kind of letters 4 times.
_is_word = re.compile(r"[A-Za-z0-9+/=_.~-]{16,}").fullmatch
_find_changes = re.compile(r"[a-z](?=[A-Z0-9])|[A-Z](?=[0-9])|[0-9](?=[A-Za-z])").findall
_FEWEST_CHANGES = 4


def find_values(secret: str) -> Iterator[str]:
    """Strings inside ``secret``, where it is JSON, that are secrets themselves.

    Those whose name says so, that look like chance, keys in PEM, and URLs with a password; not
    other words and URLs, which all of a log may be full of.
    """
    waiting: list[tuple[str, object]] = [("", _read_json(secret))]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.items())
        elif isinstance(value, list):
            waiting.extend((name, item) for item in value)
        elif isinstance(value, str):
            if _is_secret(name, value):
                yield value
            waiting.append((name, _read_json(value)))


def _read_json(text: str) -> object:
    """The object or list that ``text`` is in JSON, else None."""
    try:
        return json.loads(text) if text.lstrip()[:1] in {"{", "["} else None
    except (ValueError, RecursionError):
        return None


def _is_secret(name: str, value: str) -> bool:
    looks_random = _is_word(value) and len(_find_changes(value)) >= _FEWEST_CHANGES
    if _names_secret(name) or looks_random:
        return not _is_address(value)
    return bool(_FRAME.search(value) or _find_password(value))


def _split_lines(secret: str) -> list[str]:
    return [line for line in secret.splitlines(True) if not _FRAME.fullmatch(line.strip())]


def find_all(text: str, piece: str) -> Iterator[tuple[int, int]]:
    """Where ``piece`` stands in ``text``: start and end."""
    at = text.find(piece)
    while at >= 0:
        yield at, at + len(piece)
        at = text.find(piece, at + len(piece))


def build_encoded(secret: str) -> Iterator[str]:
    """Base64 and hex of ``secret`` and of its lines, and keys in PEM without their line ends."""
    lines = _split_lines(secret)
    body = "".join(lines)
    for part in {body, body.strip(), *map(str.strip, lines)}:
        if len(part) >= SHORTEST_SECRET:
            data = part.encode("utf-8", "surrogatepass")
            yield from (data.hex(), data.hex().upper())
            yield from _build_base64(data)
    if SHORTEST_SECRET <= len(whole := body.strip()) <= _LONGEST_NESTED:
        # As PowerShell's -EncodedCommand has it, and Docker's config.json in a Secret.
        yield from _build_base64(whole.encode("utf-16-le", "surrogatepass"))
        for inner in set(_build_base64(whole.encode("utf-8", "surrogatepass"))):
            yield from _build_base64(inner.encode())
    keys = (re.sub(r"\\+[nr]|\s", "", key) for key in _FRAME.split(secret)[1::2])
    yield from (key for key in keys if len(key) >= _SHORTEST_ENCODED)


def _build_base64(data: bytes) -> Iterator[str]:
    """Base64 of ``data``, in both alphabets: alone, with padding or without, and inside others.

    Inside a longer text it starts at one of three places of a group of three bytes
    (RFC 4648, section 4); only the characters that are ``data``'s alone are looked for.
    """
    pieces = [base64.b64encode(data).decode()]
    pieces.append(pieces[0].rstrip("="))
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + data).decode()
        pieces.append(encoded[-(-offset * 8 // 6) : (offset + len(data)) * 8 // 6])
    for piece in pieces:
        if len(piece) >= _SHORTEST_ENCODED:
            yield from (piece, piece.translate(_URL_SAFE))


_HEX = "[0-9A-Fa-f]"
_UTF8 = rf"(?: [0-7]{_HEX} | [C-Fc-f]{_HEX} (?: (?:\\*+%|\\++x)[89ABab]{_HEX} ){{1,3}} )"
#: Codes of characters: bytes of UTF-8 or Latin-1, units of UTF-16, numbers, and names. A row of
#: backslashes begins where none stands before it and is taken whole: none is looked at twice.
_CODES = re.compile(
    rf"""% {_UTF8}
      | \\ (?<!\\\\) \\*+ (?: [%x]{_UTF8} | x[89A-Fa-f]{_HEX} | [01][0-7]{{2}}
            | 3[0-7]{{2}} (?: \\++2[0-7]{{2}} ){{1,3}} | U{_HEX}{{8}} | [ux]\{{{_HEX}{{1,6}}\}}
            | u (?: [Dd][89ABab]{_HEX}{{2}} \\++u(?=[Dd][C-Fc-f]) )? {_HEX}{{4}} )
      | & (?: \#[0-9]{{1,7}} | \#[Xx]{_HEX}{{1,6}} | quot|apos|amp|lt|gt ) ;""",
    re.VERBOSE,
)
#: JSON in a URL in HTML is folded in three.
_MOST_NESTED = 4
_SPACE, _QUOTE = r"(?: \\*+\s | \\++[tnvfr] )", r"""(?: \\*+["'] )"""
#: White space in a row; quotes in a row, as a shell's ``'\''``; backslashes before others. What
#: is folded to itself, such as one space, is left out.
_MARKS = re.compile(
    rf"""[\s"'\\] (?: (?<=[^\S ]){_SPACE}*+ | (?<=[ ]){_SPACE}++ | (?<='){_QUOTE}*+
        | (?<="){_QUOTE}++ | (?<=\\)(?<!\\\\)\\*+
            (?: [\stnvfr]{_SPACE}*+ | ["']{_QUOTE}*+ | [^A-Za-z0-9\\] )?+ )""",
    re.VERBOSE,
)
#: What the codes of quotes and backslashes begin with.
_QUOTES_BEGIN = "\"'\\%&"
_FOREIGN = re.compile(r"[^\x00-\x7f]")
#: Letters and digits are what no kind of escaping touches.
_find_runs = re.compile("[A-Za-z0-9]+").findall
#: No form of a character is longer: the four bytes of an emoji, each as "\\\\\\\\xf0".
_LONGEST_CHARACTER = 48


class Folded:
    """A text without escapes: one form for all that mean the same.

    Codes are decoded, rows of white space are one space, rows of quotes one quote, backslashes
    are gone, and characters are decomposed (Unicode's NFD).
    """

    def __init__(self, text: str) -> None:
        self.text = text
        #: For each change: where its literal and replaced stretches begin, after and before it.
        self._changes: list[tuple[list[int], list[int]]] = []
        for _ in range(_MOST_NESTED):
            if not self._change(_CODES, _decode):
                break
        self._change(_MARKS, _fold_mark)
        if not unicodedata.is_normalized("NFD", self.text):
            self._change(_FOREIGN, lambda found: unicodedata.normalize("NFD", found[0]))

    def _change(self, pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str]) -> bool:
        text, end, size = self.text, 0, 0
        pieces: list[str] = []
        after, before = [0], [0]
        for found in pattern.finditer(text):
            start = found.start()
            new = replace(found)
            size += start - end
            after += (size, size + len(new))
            size += len(new)
            pieces += (text[end:start], new)
            end = found.end()
            before += (start, end)
        if pieces:
            self.text = "".join((*pieces, text[end:]))
            self._changes.append((after, before))
        return bool(pieces)

    def find_spans(self, folded: str) -> Iterator[tuple[int, int]]:
        """Where ``folded`` stands, start and end in the text as it was."""
        return (self._locate(start, end) for start, end in find_all(self.text, folded))

    def _locate(self, start: int, end: int) -> tuple[int, int]:
        for after, before in reversed(self._changes):
            first, last = bisect_right(after, start) - 1, bisect_right(after, end - 1) - 1
            # Stretches with odd numbers are replaced ones: they are taken whole.
            start = before[first] + (0 if first % 2 else start - after[first])
            end = before[last + 1] if last % 2 else before[last] + end - after[last]
        return start, end


def fold(text: str) -> list[Folded]:
    """What ``text`` is folded to; also as a form's data, which has a plus for each space."""
    return [Folded(one) for one in {text, text.replace("+", " ")}]


def _decode(found: re.Match[str]) -> str:
    code = found[0].lstrip("\\")
    if code[0] == "&":
        return html.unescape(code)
    if code[0].isdigit():
        data = bytes(int(number, 8) for number in re.findall("[0-7]{3}", code))
    else:
        digits = "".join(re.findall(rf"{_HEX}+", code))
        if code[0] == "U" or code[1] == "{":
            return chr(min(int(digits, 16), sys.maxunicode))
        data = bytes.fromhex(digits)
        if code[0] == "u":
            return data.decode("utf-16-be", "surrogatepass")
    try:
        return data.decode()
    except UnicodeDecodeError:  # a string of Python has "\xe4" for an ä
        return data.decode("latin-1")


def _fold_mark(found: re.Match[str]) -> str:
    mark = found[0].lstrip("\\")[:1]
    if mark.isspace() or mark in "tnvfr":
        return " " if mark else '"'
    return '"' if mark == "'" else mark


@dataclass(frozen=True, repr=False)
class Escaped:
    """A secret, found in every escaped form, a mixture of them too; and the parts of it.

    ``anchor`` is a piece that each form holds as it is; no form is longer than ``reach``, and
    none shorter than ``shortest``. ``folded`` is without the quotes at the end of the secret, as
    those of a string around it may be in their row: where it ``is_quoted`` some have to follow.
    ``inner`` are its lines and the secrets in it.
    """

    text: str
    folded: str
    is_quoted: bool
    anchor: str
    shortest: int
    reach: int
    inner: tuple[Escaped, ...] = ()

    def is_near(self, text: str) -> bool:
        """Whether ``text`` may hold the secret or a part of it; most do not."""
        return self.anchor in text or any(part.anchor in text for part in self.inner)

    def find_spans(self, text: str, folded: Sequence[Folded]) -> Iterator[tuple[int, int]]:
        """Where in ``text``, and in what it is folded to, the secret is: start and end."""
        spans = sorted(self._find_whole(text, folded))
        yield from spans
        # Each part would be looked for in all of a long secret that has been found already.
        begin = 0
        for start, end in (*spans, (len(text), len(text))):
            if self.inner and start > begin:
                rest = text[begin:start]
                again = fold(rest) if spans else folded
                for part in self.inner:
                    if part.anchor in rest:
                        for span in part.find_spans(rest, again):
                            yield begin + span[0], begin + span[1]
            begin = max(begin, end)

    def _find_whole(self, text: str, folded: Sequence[Folded]) -> Iterator[tuple[int, int]]:
        yield from find_all(text, self.text)
        for start, end in (span for one in folded for span in one.find_spans(self.folded)):
            is_whole = not self.is_quoted or text[end : end + 1] in _QUOTES_BEGIN
            if is_whole and end - start >= self.shortest:
                yield start, end


def build_forms(secret: str, longest_anchor: int) -> tuple[Escaped, set[str]]:
    """What finds the escaped forms of ``secret`` and of what is in it, and the encoded ones."""
    whole, values = secret.strip(), {secret, *find_values(secret)}
    inner = {part.strip() for value in values for part in (value, *_split_lines(value))} - {whole}
    escaped, *others = (
        _build_part(part, longest_anchor)
        for part in (whole, *inner)
        if part is whole or len(part) >= SHORTEST_SECRET
    )
    forms = {form for value in values for form in build_encoded(value)}
    return replace(escaped, inner=tuple(others)), forms


def _build_part(part: str, longest_anchor: int) -> Escaped:
    untouched = _MARKS.sub(" ", _CODES.sub(" ", unicodedata.normalize("NFC", part)))
    anchor = max(_find_runs(untouched), key=len, default="")[:longest_anchor]
    plain = sum(map(len, _find_runs(part)))
    reach = plain + (len(part) - plain) * _LONGEST_CHARACTER
    folded = Folded(part).text
    bare = folded.rstrip('"') or folded
    # A few quotes are folded to one, which is in every text.
    shortest = len(part.rstrip("\"'\\") or part) if len(bare) < SHORTEST_SECRET else 0
    return Escaped(part, bare, bare != folded, anchor, shortest, reach)
