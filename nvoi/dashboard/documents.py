"""Reads JSON strictly, and says where it is not as expected. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

#: Numbers stay within what JavaScript and SQLite both hold exactly.
LARGEST = 2**53 - 1

_SURROGATE = re.compile("[\ud800-\udfff]")


class ProtocolViolation(Exception):  # noqa: N818 - it is no error of ours
    """A request that is not the protocol's.

    Args:
        field: where: a path as ``logs[3].level``, or a header's name; empty for the whole body.
        message: what is wrong there, and what is allowed.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


def parse_json(body: bytes) -> dict[str, Any]:
    """The object in ``body``: strict JSON in strict UTF-8, no key twice."""
    if not body:
        raise ProtocolViolation("", "the body is empty")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ProtocolViolation("", f"the body is not UTF-8 at byte {error.start}") from None
    try:
        document = json.loads(
            text, parse_constant=_refuse_constant, object_pairs_hook=_build_object
        )
    except RecursionError:
        raise ProtocolViolation("", "the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ProtocolViolation(
            "", f"the body is not JSON at character {error.pos}: {error.msg}"
        ) from None
    except ValueError:
        # int() refuses numbers of thousands of digits.
        raise ProtocolViolation("", "the body has a number that is too long") from None
    return get_object("", document)


def _refuse_constant(constant: str) -> Any:
    raise ProtocolViolation("", f"the body is not JSON: {constant} is no value")


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ProtocolViolation(_shorten(name), "the key is there twice")
            seen.add(name)
    return built


def check_keys(place: str, fields: dict[str, Any], names: set[str]) -> None:
    """Make sure that the object at ``place`` has exactly the keys ``names``."""
    prefix = f"{place}." if place else ""
    for name in fields.keys() - names:
        raise ProtocolViolation(f"{prefix}{_shorten(name)}", "the protocol has no such key")
    for name in sorted(names - fields.keys()):
        raise ProtocolViolation(f"{prefix}{name}", "it is missing")


def get_object(place: str, value: Any) -> dict[str, Any]:
    """``value`` where it is an object."""
    if not isinstance(value, dict):
        raise ProtocolViolation(place, "an object is needed")
    return value


def get_list(place: str, value: Any) -> list[Any]:
    """``value`` where it is a list."""
    if not isinstance(value, list):
        raise ProtocolViolation(place, "a list is needed")
    return value


def get_text(place: str, value: Any, *, may_be_empty: bool = False) -> str:
    """``value`` where it is a text that can be stored."""
    if not isinstance(value, str):
        raise ProtocolViolation(place, "a text is needed")
    if not value and not may_be_empty:
        raise ProtocolViolation(place, "a text that is not empty is needed")
    if has_surrogate(value):
        raise ProtocolViolation(place, "it has half of a surrogate pair")
    return value


def has_surrogate(text: str) -> bool:
    """Whether ``text`` has half of a surrogate pair, which no UTF-8 can carry."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def get_number(place: str, value: Any) -> int:
    """``value`` where it is a whole number of 0 or more."""
    # True is an int to Python, and no number to JSON.
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST:
        raise ProtocolViolation(place, "a whole number is needed, 0 or more")
    return value


def _shorten(name: str) -> str:
    """A key as a stranger wrote it, fit for an answer."""
    return ascii(name)[1:-1][:80]
