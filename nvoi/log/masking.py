"""Secrets out of every record, before any handler sees it.

A secret is looked for as it is and in the forms it takes on its way into a log: see
:mod:`nvoi.log.forms`.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from nvoi.log import rendering

if TYPE_CHECKING:
    from nvoi.log.forms import Escaped

REDACTED = "[REDACTED]"

#: A text is looked through in blocks of this many characters: see :meth:`Masker.mask_text`.
_BLOCK = 6
_find_blocks = re.compile(f".{{{_BLOCK}}}", re.DOTALL).findall
#: What has this many characters covers one whole block wherever it begins.
_LONG = 2 * _BLOCK - 1

_STANDARD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
_STANDARD_COUNT = len(logging.makeLogRecord({}).__dict__)


class _Needles:
    """All forms of some secrets, made ready to be looked for."""

    __slots__ = ("clean", "encoded", "escaped", "grams", "pieces", "secrets", "short")

    def __init__(self, secrets: frozenset[str]) -> None:
        self.secrets = secrets
        self.escaped: tuple[Escaped, ...] = ()
        forms: set[str] = set()
        if secrets:
            from nvoi.log.forms import build_encoded, build_escaped  # noqa: PLC0415 - many have none

            self.escaped = tuple({part for one in secrets for part in build_escaped(one, _LONG)})
            forms.update(form for one in secrets for form in build_encoded(one))
        anchors = {part.anchor for part in self.escaped}
        self.pieces = tuple(form for form in forms if len(form) < _LONG)
        self.short = (*self.pieces, *(anchor for anchor in anchors if len(anchor) < _LONG))
        self.encoded = _cut(form for form in forms if len(form) >= _LONG)
        self.grams = self.encoded | _cut(anchor for anchor in anchors if len(anchor) >= _LONG)
        #: The last text found to hold none: a record passes a logger, then handlers.
        self.clean = ""

    def find_spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where in ``text`` secrets are, start and end, in no order; they may overlap."""
        for part in self.escaped:
            yield from part.find_spans(text)
        for piece in self.pieces:
            at = text.find(piece)
            while at >= 0:
                yield at, at + len(piece)
                at = text.find(piece, at + 1)
        yield from self._find_stretches(text)

    def _find_stretches(self, text: str) -> Iterator[tuple[int, int]]:
        """Where ``text`` has 11 characters or more of an encoded form, be it cut anywhere."""
        grams, last = self.encoded, 0
        for index, block in enumerate(_find_blocks(text)):
            start = index * _BLOCK
            if start < last or block not in grams:
                continue
            end = start + 1
            while start and text[start - 1 : start - 1 + _BLOCK] in grams:
                start -= 1
            while text[end : end + _BLOCK] in grams:
                end += 1
            last = end + _BLOCK - 1
            if last - start >= _LONG:
                yield start, last


def _cut(forms: Iterable[str]) -> frozenset[str]:
    """Every block of the forms."""
    return frozenset(
        form[start : start + _BLOCK] for form in forms for start in range(len(form) - _BLOCK + 1)
    )


def _replace(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """``text`` with the placeholder for each span; those that overlap are one."""
    pieces: list[str] = []
    end = 0
    for start, last in sorted(spans):
        if start >= end:
            pieces += (text[end:start], REDACTED)
        end = max(end, last)
    return "".join((*pieces, text[end:]))


class Masker:
    """Replaces each registered secret by ``[REDACTED]``. Safe to use from any thread."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._needles = _Needles(frozenset())
        if secrets:
            self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Mask these too from now on. Values under 5 characters are left."""
        values = {str.__str__(secret) for secret in secrets}
        if values.issubset(self._needles.secrets):
            return
        with self._lock:
            self._needles = _Needles(self._needles.secrets | values)

    def reset_lock(self) -> None:
        """In a forked child the lock may be held by a thread that is not there."""
        self._lock = threading.Lock()

    def mask_text(self, text: str) -> str:
        """``text`` without secrets; the very same object where it has none.

        Nearly all texts have none, and this is on the path of each log call, where a search
        for every form would cost more than the rest of the call. Each form is long, or holds
        a piece that no escaping changes, its anchor. Of 11 characters or more, such a piece
        covers one whole block of the text wherever it begins: a text none of whose blocks is
        part of one has none of them. The shorter ones are looked for one by one.
        """
        needles = self._needles
        if text == needles.clean:
            return text
        if needles.grams.isdisjoint(_find_blocks(text)):
            for form in needles.short:
                if form in text:
                    break
            else:
                needles.clean = text
                return text
        spans = list(needles.find_spans(text))
        if spans:
            return _replace(text, spans)
        needles.clean = text
        return text

    def clean_text(self, text: str) -> str:
        """``text`` without secrets and terminal codes, also where a code cuts a secret in two."""
        cleaned = rendering.clean(text)
        return cleaned if cleaned is text else self.mask_text(cleaned)

    def mask(self, record: logging.LogRecord) -> None:
        """Mask ``record`` in place: message, arguments, extra fields, traceback, stack.

        What holds no secret stays as it was, so that handlers which group records by
        their unformatted message still can.
        """
        if not self._needles.secrets:
            return
        message = rendering.render_message(record)
        masked = self.mask_text(message)
        if masked is not message:
            record.msg, record.args = masked, None
        elif record.args:
            self._mask_arguments(record, message)
        if record.exc_info or record.exc_text or record.stack_info:
            self._mask_traceback(record)
        if len(record.__dict__) != _STANDARD_COUNT:
            for name in record.__dict__.keys() - _STANDARD_FIELDS:
                record.__dict__[name] = self.mask_value(record.__dict__[name])

    def mask_value(self, value: object) -> object:
        """``value`` without secrets: itself where it has none, else a masked copy or text."""
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, str):
            return self.mask_text(value)
        if isinstance(value, Mapping):
            return self._mask_mapping(value)
        if isinstance(value, (list, tuple)):
            items = [self.mask_value(item) for item in value]
            same = all(new is old for new, old in zip(items, value, strict=True))
            return value if same else type(value)(items) if type(value) in (list, tuple) else items
        text = rendering.render_value(value)
        masked = self.mask_text(text)
        return value if masked is text else masked

    def _mask_mapping(self, mapping: Mapping[object, object]) -> object:
        masked = {self.mask_value(key): self.mask_value(item) for key, item in mapping.items()}
        same = all(
            new_key is key and new is item
            for (new_key, new), (key, item) in zip(masked.items(), mapping.items(), strict=False)
        )
        return mapping if same and len(masked) == len(mapping) else masked

    def _mask_arguments(self, record: logging.LogRecord, message: str) -> None:
        # A secret may stand in an argument that the message does not show whole.
        args = record.args
        if isinstance(args, tuple):
            for arg in args:
                if not (arg in message if isinstance(arg, str) else isinstance(arg, (int, float))):
                    break
            else:
                return
        if self.mask_value(args) is not args:
            record.msg, record.args = message, None

    def _mask_traceback(self, record: logging.LogRecord) -> None:
        details = rendering.render_traceback(record)
        masked = self.mask_text(details)
        if masked is not details:
            record.exc_info, record.exc_text, record.stack_info = None, masked, None


class MaskingFilter(logging.Filter):
    """Masks what passes a logger or handler that is not below ``nvoi``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask ``record`` in place and let it pass."""
        masker.mask(record)
        return True


#: The secrets of this process. One for all loggers: a secret of one run is one in each log.
masker = Masker()


def add_secrets(*secrets: str) -> None:
    """Mask these values in every record of nvoi's loggers from now on."""
    masker.add(secrets)
