"""Selectors of labels and of fields."""

from __future__ import annotations

import re

from tests.fakes.kubernetes.kinds import ApiError, Object

TERM = re.compile(r"\s*(!?)\s*([\w./-]+)\s*(?:(==|!=|=)\s*([\w.-]*)|(in|notin)\s*\(([^)]*)\))?\s*")


def matches(selector: str | None, labels: dict[str, str]) -> bool:
    """Whether labels are what a selector asks for."""
    position, text = 0, selector or ""
    while position < len(text):
        term = TERM.match(text, position)
        if term is None or text[term.end() : term.end() + 1] not in ("", ","):
            raise ApiError(400, "BadRequest", f"unable to parse requirement: {text[position:]}")
        position = term.end() + 1
        if not fits(term.groups(), labels):
            return False
    return True


def fits(term: tuple[str | None, ...], labels: dict[str, str]) -> bool:
    """Whether labels are what one term asks for."""
    no, key, sign, value, word, values = term
    own = labels.get(key or "")
    if word:
        is_among = own is not None and own in [one.strip() for one in (values or "").split(",")]
        return is_among == (word == "in")
    if sign:
        return (own == value) == (sign != "!=")
    return (own is None) == bool(no)


def matches_fields(selector: str | None, item: Object) -> bool:
    """Whether an object's fields are what is asked for."""
    for term in filter(None, (selector or "").split(",")):
        path, _, wanted = term.replace("!=", "=!=").replace("==", "=").partition("=")
        value: object = item
        for key in path.split("."):
            value = value.get(key, "") if isinstance(value, dict) else ""
        is_not = wanted.startswith("!=")
        if (str(value) == wanted.removeprefix("!=")) == is_not:
            return False
    return True
