"""Answers as the text of a config: a new one, or one that is there with what was changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from nvoi.config.document import SAFE_TEXT, YAML_11_WORDS, Document
from nvoi.config.loader import load
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.tree import Tree, build_tree

FILENAME = "the config"
INTRODUCTION = "# The deploy config of {name}. nvoi's docs/config.md describes every key.\n"
COMMENTS = {
    "callback_url": "The dashboard that follows each run.",
    "application.compute_provider": "Where the app runs.",
    "application.domain_provider": "What brings the domains to the services.",
    "application.ssh_keys": "With this pair nvoi reaches the servers.",
    "application.servers": "Volumes are on the disks of one server.",
    "application.app": "What runs. A service finds the port to listen on in $PORT.",
    "application.database": "Its address is in each service's DATABASE_URL.",
    "application.env": "For every service.",
    "application.secrets": "For every service too, and masked wherever nvoi prints or sends.",
}
GONE = object()
# Keys that say the same in two ways, or that another one decides: they go before it is set.
RIVALS = {"host": ("hosts", "count"), "hosts": ("host", "count")}


def build_document(answers: Answers) -> str:
    """The text of a new config. Pure.

    Raises:
        ConfigError: the answers do not fit together; it carries every fault.
    """
    lines = "\n".join(write_tree(build_tree(answers)))
    text = f"{INTRODUCTION.format(name=answers.name)}{lines}\n"
    load(text, filename=FILENAME, environ=None)
    return text


def change_document(text: str, before: Answers, after: Answers) -> str:
    """``text``, which says ``before``, so that it says ``after``; all else is as it was.

    Raises:
        ConfigError: the answers do not fit together, or not to the rest of the text.
        UsageError: a value is shared by several places of the text, and not changed.
    """
    document = Document(text, FILENAME)
    changes = list(find_changes(build_tree(before), build_tree(after)))
    for path, value in changes:
        section, _, key = path.rpartition(".")
        rivals = [f"{section}.{rival}" for rival in RIVALS.get(key, ())]
        for place in [path, *rivals] if value is GONE else rivals:
            if document.find(place) is not None:
                document.remove(place)
    for path, value in changes:
        if value is not GONE:
            document.set(path, value)
    load(document.text, filename=FILENAME, environ=None)
    return document.text


def find_changes(before: Tree, after: Tree, above: str = "") -> Iterator[tuple[str, Any]]:
    """Each path that differs with its new value, or ``GONE``; whole sections where they go."""
    for key in before:
        if key not in after:
            yield f"{above}{key}", GONE
    for key, value in after.items():
        old = before.get(key)
        if value == old:
            continue
        if isinstance(value, dict) and value:
            yield from find_changes(old if isinstance(old, dict) else {}, value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def write_tree(tree: Tree, path: str = "", indent: str = "") -> Iterator[str]:
    """The lines of a YAML mapping, with a comment above each section that has one."""
    for key, value in tree.items():
        place = f"{path}{key}"
        if place in COMMENTS or place == "application":
            yield ""
        if place in COMMENTS:
            yield f"{indent}# {COMMENTS[place]}"
        name = f"{indent}{write_text(key)}:"
        if isinstance(value, dict) and value:
            yield name
            yield from write_tree(value, f"{place}.", f"{indent}  ")
        elif isinstance(value, str) and "\n" in value:
            yield f"{name} |"
            yield from (f"{indent}  {line}" for line in value.splitlines())
        else:
            yield f"{name} {write_value(value)}"


def write_value(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(write_text(item) for item in value)}]"
    return "{}" if isinstance(value, dict) else write_text(value)


def write_text(text: str) -> str:
    """``text`` so that every reader of YAML takes it for text; in quotes they are JSON's."""
    if SAFE_TEXT.fullmatch(text) and text.lower() not in YAML_11_WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)
