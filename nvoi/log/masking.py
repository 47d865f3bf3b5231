"""Secrets out of every record, before any handler sees it.

Nearly no text holds a secret, and each log call waits for the search, so that one question has
to be answered fast: may this text hold any of a thousand forms? (:mod:`nvoi.log.secret_forms`
says which.) Looking for one after the other would take longer than the rest of the call. So the
text is cut into blocks of 6 characters, and these are compared, all at once, with a set of every
6 characters in a row of every form::

    form   tiger5hunter7         set   tiger5 iger5h ger5hu er5hun r5hunt 5hunte hunter unter7
    text   the password is tiger5hunter7.        blocks   the pa|ssword| is ti|ger5hu|nter7.

Wherever a form of 11 characters or more begins, it covers one whole block, so a text of which
no block is in the set has none of them. The few shorter forms are looked for one by one. Only
a text that fails this test is searched closely, by :meth:`_Needles.find_spans`.
"""

from __future__ import annotations

import contextlib
import logging
import operator
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Number
from typing import TYPE_CHECKING, Any

from nvoi.log import rendering

if TYPE_CHECKING:
    from nvoi.log.secret_forms import Escaped, Span

REDACTED = "[REDACTED]"

_BLOCK = 6
_find_blocks = re.compile("." * _BLOCK, re.DOTALL).findall
#: The same for a text of so many blocks, in half the time: a tenth of a log call.
_SLICES = [slice(start, start + _BLOCK) for start in range(0, 50 * _BLOCK, _BLOCK)]
_SPLITTERS = [operator.itemgetter(*_SLICES[: max(2, count)]) for count in range(len(_SLICES))]
#: What has this many characters covers one whole block wherever it begins.
_LONG = 2 * _BLOCK - 1

#: Fields that every record has. Not of a record that the factory makes, which may be anyone's.
_STANDARD_FIELDS = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__)
#: What is looked at in one value: who logs a million items must not wait for that.
_MOST_ITEMS, _MOST_DEPTH, _MOST_CHARACTERS = 10_000, 50, 1 << 18
_PLAIN = frozenset((str, int, float, bool, type(None), complex))
#: Containers that show nothing but what is in them; those of somebody's class may show more.
_CONTAINERS = (dict, list, tuple)


class _Needles:
    """All that is looked for: the forms of some secrets."""

    secrets: frozenset[str] = frozenset()
    #: Of each secret in its escaped forms: its lines and the values in it.
    escaped: Mapping[Escaped, Iterable[Escaped]] = {}
    #: Encoded forms: those that are not long, and the blocks of the others.
    short_encoded: frozenset[str] = frozenset()
    encoded: frozenset[str] = frozenset()
    #: What the quick look is for: these and the anchors of the escaped, likewise.
    short: frozenset[str] = frozenset()
    blocks: frozenset[str] = frozenset()
    #: No form has more characters.
    reach = 0
    #: The last text found to hold none: a record passes a logger, then handlers.
    clean = ""

    def extend(self, secrets: frozenset[str]) -> _Needles:
        """These and the forms of ``secrets``."""
        # Late, as many programs have no secret.
        from nvoi.log.secret_forms import SHORTEST_SECRET, build_forms  # noqa: PLC0415

        built = [build_forms(one) for one in secrets if len(one.strip()) >= SHORTEST_SECRET]
        escaped = [one for whole, parts, _ in built for one in (whole, *parts)]
        encoded = {form for _, _, forms in built for form in forms}
        anchors = {one.anchor for one in escaped}
        new = _Needles()
        new.secrets = self.secrets | secrets
        new.escaped = {**self.escaped, **{whole: parts for whole, parts, _ in built}}
        new.short_encoded = self.short_encoded | {one for one in encoded if len(one) < _LONG}
        new.encoded = self.encoded | _list_blocks(encoded)
        new.short = self.short | {one for one in encoded | anchors if len(one) < _LONG}
        new.blocks = self.blocks | new.encoded | _list_blocks(anchors)
        new.reach = max(_LONG, self.reach, *(one.reach for one in escaped))
        return new

    def may_be_in(self, text: str) -> bool:
        """The quick look: False means that ``text`` holds none of these."""
        count = len(text) // _BLOCK
        split = _SPLITTERS[count] if count < len(_SPLITTERS) else _find_blocks
        if not self.blocks.isdisjoint(split(text)):
            return True
        for form in self.short:  # noqa: SIM110 - any() takes three times as long
            if form in text:
                return True
        return False

    def find_spans(self, text: str) -> list[Span]:
        """Where in ``text`` secrets are, in order; none overlaps another."""
        from nvoi.log.secret_forms import find_all, find_escaped, merge  # noqa: PLC0415 - as above

        spans = find_escaped(text, self.escaped)
        for form in self.short_encoded:
            spans += find_all(text, form)
        return merge([*spans, *self._find_encoded(text)])

    def _find_encoded(self, text: str) -> Iterator[Span]:
        """Where ``text`` has 11 characters or more of an encoded form, be it cut anywhere."""
        blocks, last = self.encoded, 0
        for index, block in enumerate(_find_blocks(text)):
            start = index * _BLOCK
            if start < last or block not in blocks:
                continue
            end = start + 1
            while start and text[start - 1 : start - 1 + _BLOCK] in blocks:
                start -= 1
            while text[end : end + _BLOCK] in blocks:
                end += 1
            last = end + _BLOCK - 1
            if last - start >= _LONG:
                yield start, last


def _list_blocks(forms: Iterable[str]) -> frozenset[str]:
    """Every block of the long ones among the forms."""
    blocks: set[str] = set()
    for form in forms:
        if len(form) >= _LONG:
            # Shifted texts, put side by side: in half the time of a slice for each block.
            blocks.update(map("".join, zip(*(form[i:] for i in range(_BLOCK)), strict=False)))
    return frozenset(blocks)


def _replace(text: str, spans: Iterable[Span]) -> str:
    pieces, last = [], 0
    for start, end in spans:
        pieces += [text[last:start], REDACTED]
        last = end
    return "".join((*pieces, text[last:]))


def _read_secret(secret: object) -> str:
    if isinstance(secret, str):
        return str.__str__(secret)
    if isinstance(secret, (bytes, bytearray)):
        return secret.decode("utf-8", "replace")
    if secret is None:
        return ""
    raise TypeError(f"a secret is a str or bytes, not of the type {type(secret).__name__}")


class Masker:
    """Replaces each registered secret by ``[REDACTED]``. Safe to use from any thread."""

    def __init__(self, secrets: Iterable[str | bytes | None] = ()) -> None:
        self._lock = threading.Lock()
        self._needles = _Needles()
        self.add(secrets)

    def add(self, secrets: Iterable[str | bytes | None]) -> None:
        """Mask these too from now on: one value or several. Those under 5 characters are left.

        Raises:
            TypeError: one of them is no str, no bytes (in UTF-8) and not None, which is passed
                over; none of them is masked then.
        """
        several = (secrets,) if isinstance(secrets, (str, bytes, bytearray)) else secrets
        values = frozenset(map(_read_secret, several)) - {""}
        if not values <= self._needles.secrets:
            with self._lock:
                self._needles = self._needles.extend(values - self._needles.secrets)

    @property
    def reach(self) -> int:
        """How many characters the longest form of a secret may have; 0 where there is none."""
        return self._needles.reach

    def reset_lock(self) -> None:
        """In a forked child the lock may be held by a thread that is not there."""
        self._lock = threading.Lock()

    def mask_text(self, text: str) -> str:
        """``text`` without secrets; the very same object where it has none."""
        needles = self._needles
        if text != needles.clean:
            if needles.may_be_in(text) and (spans := needles.find_spans(text)):
                return _replace(text, spans)
            needles.clean = text
        return text

    def clean_text(self, text: str, clean: Callable[[str], str] = rendering.clean) -> str:
        """``text`` without secrets and terminal codes, also where a code cuts a secret in two."""
        masked = self.mask_text(text)
        cleaned = clean(masked)
        return cleaned if cleaned is masked else self.mask_text(cleaned)

    def split_text(self, text: str, at: int) -> tuple[str, str]:
        """The beginning of ``text``, masked, and the rest as it is, from about ``at`` on.

        A secret that stands there stays whole; the beginning is never empty.
        """
        needles = self._needles
        spans = needles.find_spans(text) if needles.may_be_in(text) else []
        for start, end in spans:
            if start < at < end:
                # What goes on is a long text in base64: each half of that is found by itself.
                at = start or (end if end < len(text) else at)
        begun = [(start, min(end, at)) for start, end in spans if start < at]
        return _replace(text[:at], begun), text[at:]

    def mask_beginning(self, text: str) -> str:
        """``text`` without secrets; what follows the first 262,144 characters is left out."""
        if len(text) <= _MOST_CHARACTERS:
            return self.mask_text(text)
        looked_at = text[: _MOST_CHARACTERS + self.reach]
        begun, rest = self.split_text(looked_at, _MOST_CHARACTERS)
        return f"{begun}… [{len(text) - len(looked_at) + len(rest)} characters cut]"

    def mask(self, record: logging.LogRecord) -> None:
        """Mask ``record`` in place: message, arguments, extra fields, traceback, stack.

        What holds no secret stays as it was, so that handlers which group records by their
        unformatted message, or take the arguments apart, still can. Only an argument that is
        an object of somebody's class becomes a :class:`HeldText`. Never raises: of what cannot
        be looked through the masked text is left.
        """
        if not self._needles.secrets:
            return
        fields: dict[str, Any] = {}
        try:
            fields = getattr(record, "__dict__", fields)
            if not self._is_clean(record) and not self._mask_arguments(record):
                # Only the message has the secret whole, or it can be had in no other way.
                message = self.mask_beginning(rendering.render_message(record))
                record.msg, record.args = message, ()
            if details := rendering.render_traceback(record):
                masked = self.mask_text(details)
                if masked is not details:
                    record.exc_info, record.stack_info, record.exc_text = None, None, masked
            if not _STANDARD_FIELDS.issuperset(fields):
                for name in fields.keys() - _STANDARD_FIELDS:
                    fields[name] = self.mask_value(fields[name])
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a record may be broken in any way
            emptied = fields.keys() - _STANDARD_FIELDS | {"exc_info", "exc_text", "stack_info"}
            message = f"a record that cannot be masked: {type(error).__name__}"
            left = {**dict.fromkeys(emptied), "args": (), "msg": message}
            for name, value in left.items():
                with contextlib.suppress(Exception):
                    setattr(record, name, value)

    def _is_clean(self, record: logging.LogRecord) -> bool:
        """Whether message and arguments are plain and hold no secret: nearly always so."""
        args = record.args
        is_plain = not args or (type(args) is tuple and _PLAIN.issuperset(map(type, args)))
        if type(record.msg) is not str or not is_plain:
            return False
        message = rendering.render_message(record)
        if self.mask_text(message) is not message:
            return False
        # A secret may stand in an argument that the message does not show whole.
        for arg in args or ():
            if type(arg) is str and arg not in message and self.mask_text(arg) is not arg:
                return False
        return True

    def _mask_arguments(self, record: logging.LogRecord) -> bool:
        """Mask message and arguments, each in its place, if no secret is left by that."""
        msg: object = record.msg
        args: Any = record.args
        if args and (type(args) not in {tuple, dict} or len(args) > _MOST_ITEMS):
            return False
        record.msg = self.mask_value(msg, is_argument=not issubclass(type(msg), _CONTAINERS))
        if type(args) is dict:
            record.args = {self._hold(name): self._hold(each) for name, each in args.items()}
        elif args:
            record.args = tuple(map(self._hold, args))
        message = rendering.find_message(record)
        if message is None:  # "%d" of a user's class
            record.msg, record.args = msg, args
        return message is not None and self.mask_text(message) is message

    def _hold(self, value: object) -> Any:
        return self.mask_value(value, is_argument=True)

    def mask_value(self, value: object, *, is_argument: bool = False) -> object:
        """``value`` without secrets: itself where it has none, else a masked copy or text.

        Of an argument, an object of somebody's class becomes a :class:`HeldText`, unasked.
        """
        try:
            return _Walk(self, is_argument).mask(value)
        except Exception:  # noqa: BLE001 - too large or too deep, or changed by another thread
            held = HeldText(value, self)
            return held if is_argument else str(held)


class HeldText:
    """An object that was logged, masked: asked for each text once, however many handlers show it.

    Pickled and copied it is a plain ``str``.
    """

    __slots__ = ("_masker", "_shown", "_value")

    def __init__(self, value: object, masker: Masker) -> None:
        self._value, self._masker = value, masker
        self._shown: dict[Callable[[object], str], str] = {}

    def _show(self, show: Callable[[object], str]) -> str:
        if show not in self._shown:
            self._shown[show] = rendering.render_value(self._value, show)
        # Masked each time, as secrets may have been added.
        return self._masker.mask_beginning(self._shown[show])

    def __str__(self) -> str:
        return self._show(str)

    def __repr__(self) -> str:
        return self._show(repr)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class _Walk:
    """One look through a value. Raises where there is too much in it.

    Only its type is asked what a value is, and only Python's own containers for what is in them:
    one of somebody's class may do anything when it is asked itself, or have no end.
    """

    def __init__(self, masker: Masker, is_argument: bool) -> None:
        self._masker, self._is_argument = masker, is_argument
        self._left = _MOST_ITEMS

    def mask(self, value: Any, depth: int = 0) -> Any:
        """``value`` itself where it has no secret, else a masked copy or text."""
        kind = type(value)
        if kind is str:
            return self._masker.mask_text(value)
        if kind in _PLAIN or kind is HeldText:
            return value
        if kind in _CONTAINERS:
            return self._mask_items(value, kind, depth)
        is_simple = issubclass(kind, (str, Number)) or kind.__module__ == "datetime"
        if self._is_argument and not is_simple:
            return HeldText(value, self._masker)
        for base in _CONTAINERS:
            if issubclass(kind, base):
                masked = self._mask_items(value, base, depth)
                if masked is not value:
                    return masked
        return self._mask_shown(value, kind)

    def _mask_items(self, value: Any, base: Any, depth: int) -> Any:
        self._left -= base.__len__(value)
        if self._left < 0 or depth > _MOST_DEPTH:
            raise OverflowError
        # Copied first: another thread may change it meanwhile.
        if base is dict:
            items = [part for pair in dict.items(value) for part in pair]
        else:
            items = [*base.__iter__(value)]
        masked = [self.mask(item, depth + 1) for item in items]
        if all(map(operator.is_, masked, items)):
            return value
        return dict(zip(masked[::2], masked[1::2], strict=True)) if base is dict else base(masked)

    def _mask_shown(self, value: object, kind: type) -> object:
        """``value`` itself where none of its texts has a secret."""
        # A class without a text of its own is asked for its repr() instead.
        own: object = kind.__str__
        ways = (repr,) if own is object.__str__ else (str, repr)
        try:
            texts = [str.__str__(show(value)) for show in ways]
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - what it shows to others is not known
            return str(HeldText(value, self._masker))
        if isinstance(value, str):
            texts.append(str.__str__(value))
        masked = list(map(self._masker.mask_beginning, texts))
        return value if all(map(operator.is_, masked, texts)) else masked[0]


class MaskingFilter(logging.Filter):
    """Masks what passes a logger or handler that is not below ``nvoi``."""

    def filter(self, record: logging.LogRecord) -> bool:
        masker.mask(record)
        return True


#: The secrets of this process. One for all loggers: a secret of one run is one in each log.
masker = Masker()


def clean(value: object) -> str:
    """A text of a run's own, masked and without terminal codes, as messages are."""
    return masker.clean_text(rendering.render_value(value))


def add_secrets(*secrets: str | bytes | None) -> None:
    """Mask these values in every record of nvoi's loggers from now on; as :meth:`Masker.add`."""
    masker.add(secrets)
