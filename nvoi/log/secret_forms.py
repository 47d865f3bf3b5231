r"""The forms that a secret takes on its way into a log. Pure.

There are two kinds, and each is found in its own way.

**Escaped** forms change a secret character by character: ``it's 5`` is ``it\\'s\\x205`` in a
string of Python, ``it%27s%205`` in a URL, ``it&#39;s 5`` in HTML, and one may be put in the
other. Instead of listing them all, :class:`_Folded` undoes the escapes of both the text and the
secret, and compares what comes out. No escape touches letters and digits, so that of each
secret the longest run of these, its *anchor*, stands in every form as it is: only the text
around an anchor is folded.

**Encoded** forms, in base64 or hex, change a secret as a whole. There are few, so
:func:`build_encoded` lists them.

Logs cut a private key into lines and a JSON into its values, so these are looked for too.
"""

from __future__ import annotations

import base64
import html
import json
import re
import sys
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping

#: Where something starts and ends in a text.
Span = tuple[int, int]

#: Shorter values are left: they are words that occur everywhere.
SHORTEST_SECRET = 5
#: Shorter pieces of base64 would match by chance.
_SHORTEST_ENCODED = 7
#: Encodings of encodings of longer values are left: each takes as much memory again.
_LONGEST_NESTED = 4096
_GO_ESCAPES = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "<>&"})
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


def find_all(text: str, piece: str) -> Iterator[Span]:
    """Where ``piece`` stands in ``text``: start and end."""
    at = text.find(piece)
    while at >= 0:
        yield at, at + len(piece)
        at = text.find(piece, at + len(piece))


def merge(spans: Iterable[Span]) -> list[Span]:
    """``spans`` in order; those that overlap are one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


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
        for escaped in _escape_json(whole) - {whole}:
            yield from _build_base64(escaped.encode("utf-8", "surrogatepass"))
        for inner in set(_build_base64(whole.encode("utf-8", "surrogatepass"))):
            yield from _build_base64(inner.encode())
    keys = (re.sub(r"\\+[nr]|\s", "", key) for key in _FRAME.split(secret)[1::2])
    yield from (key for key in keys if len(key) >= _SHORTEST_ENCODED)


def _escape_json(text: str) -> set[str]:
    """``text`` inside a string of JSON, as Python, JavaScript and Go write it."""
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    return {json.dumps(text)[1:-1], escaped, escaped.translate(_GO_ESCAPES)}


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
#: So many characters around an anchor are always looked at: a row of spaces may be long.
_SMALLEST_MARGIN = 1000
#: Five characters may end in a backslash.
_SHORTEST_FOLDED = SHORTEST_SECRET - 1
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
_ACCENTED = re.compile("[A-Za-z][\u0300-\u036f]+")
_FOREIGN = re.compile(r"[^\x00-\x7f]")
#: Letters and digits are what no kind of escaping touches.
_find_runs = re.compile("[A-Za-z0-9]+").findall
#: No form of a character is longer: the four bytes of an emoji, each as "\\\\\\\\xf0".
_LONGEST_CHARACTER = 48


class _Folded:
    """A text without escapes: one form for all that mean the same.

    Codes are decoded, rows of white space are one space, rows of quotes one quote, backslashes
    are gone, and characters are decomposed (Unicode's NFD).
    """

    def __init__(self, text: str) -> None:
        self.text = text
        #: Of each character: where in the text as it was that which became it starts and ends.
        self._starts = array("L", range(len(text)))
        self._ends = array("L", range(1, len(text) + 1))
        for _ in range(_MOST_NESTED):
            if not self.text.isascii():
                # A backslash, and a code, means something else before a letter of ASCII.
                self._change(_ACCENTED, lambda found: unicodedata.normalize("NFC", found[0]))
            if not self._change(_CODES, _decode):
                break
        self._change(_MARKS, _fold_mark)
        if not unicodedata.is_normalized("NFD", self.text):
            self._change(_FOREIGN, lambda found: unicodedata.normalize("NFD", found[0]))

    def _change(self, pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str]) -> bool:
        text, end = self.text, 0
        pieces: list[str] = []
        starts, ends = array("L"), array("L")
        for found in pattern.finditer(text):
            start, new = found.start(), replace(found)
            pieces += (text[end:start], new)
            starts += self._starts[end:start] + self._starts[start : start + 1] * len(new)
            ends += self._ends[end:start]
            end = found.end()
            ends += self._ends[end - 1 : end] * len(new)
        if pieces:
            self.text = "".join((*pieces, text[end:]))
            self._starts, self._ends = starts + self._starts[end:], ends + self._ends[end:]
        return bool(pieces)

    def find_spans(self, forms: Iterable[str]) -> Iterator[Span]:
        """Where one of ``forms`` stands, start and end in the text as it was."""
        for form in forms:
            for start, end in find_all(self.text, form):
                yield self._starts[start], self._ends[end - 1]


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


class Escaped:
    """A text to be found in every escaped form, a mixture of them too."""

    def __init__(self, text: str) -> None:
        self.text = text
        # Backslashes at the end are folded with what follows them: they are left out.
        bare = text.rstrip("\\")
        bare = bare if len(bare) >= _SHORTEST_FOLDED else text
        #: Itself, and as a form's data, which has a plus for each space.
        self.folded = {_Folded(each).text for each in (bare, bare.replace(" ", "+"))}
        # Unicode takes the sign of a Kelvin for the letter K; no other is one of ASCII's.
        composed = unicodedata.normalize("NFC", text.replace("\N{KELVIN SIGN}", " "))
        untouched = _MARKS.sub(" ", _CODES.sub(" ", composed))
        #: A piece that each form holds as it is; "" where there is none.
        self.anchor = max(_find_runs(untouched), key=len, default="")
        plain = sum(map(len, _find_runs(text)))
        #: No form has more characters.
        self.reach = plain + (len(text) - plain) * _LONGEST_CHARACTER


def find_escaped(text: str, secrets: Mapping[Escaped, Iterable[Escaped]]) -> list[Span]:
    """Where in ``text`` the escaped forms of secrets and of their parts are, in no order.

    The parts of a secret are looked for where it is not itself: there may be a thousand of them
    in a long one.
    """
    found: dict[Escaped, list[Span]] = {}
    for secret, span in _find_forms(text, secrets):
        found.setdefault(secret, []).append(span)
    absent = [part for secret in secrets if secret not in found for part in secrets[secret]]
    spans = [span for _, span in _find_forms(text, absent)]
    for secret, own in found.items():
        spans += own
        begun = 0
        for start, end in (*merge(own), (len(text), len(text))):
            for _, (first, last) in _find_forms(text[begun:start], secrets[secret]):
                spans.append((begun + first, begun + last))
            begun = end
    return spans


def _find_forms(text: str, secrets: Iterable[Escaped]) -> Iterator[tuple[Escaped, Span]]:
    """Folding is slow, so only the surroundings of the anchors are folded."""
    near = [secret for secret in secrets if secret.anchor in text]
    for secret in near:
        for span in find_all(text, secret.text):
            yield secret, span
    for begin, finish in merge(area for secret in near for area in _find_areas(text, secret)):
        folded = _Folded(text[begin:finish])
        for secret in near:
            for start, end in folded.find_spans(secret.folded):
                # A row of quotes is folded to one, which is in every text.
                if end - start >= _SHORTEST_FOLDED:
                    yield secret, (begin + start, begin + end)


def _find_areas(text: str, secret: Escaped) -> Iterator[Span]:
    """Where a form may stand: around each anchor, or anywhere."""
    if not secret.anchor:
        yield 0, len(text)
        return
    margin = max(secret.reach, _SMALLEST_MARGIN)
    for start, end in find_all(text, secret.anchor):
        yield max(0, start - margin), end + margin


def build_forms(secret: str) -> tuple[Escaped, list[Escaped], set[str]]:
    """What finds ``secret``: itself, its lines and the values in it, and what encodes them."""
    whole, values = secret.strip(), {secret, *find_values(secret)}
    parts = {part.strip() for value in values for part in (value, *_split_lines(value))} - {whole}
    escaped = [Escaped(part) for part in parts if len(part) >= SHORTEST_SECRET]
    return Escaped(whole), escaped, {form for value in values for form in build_encoded(value)}
