"""Answers as the text of a config: a new one, or one that is there with what was changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

from nvoi.config.document import Document, write_data
from nvoi.config.loader import load
from nvoi.config.reading import find_types, take_apart
from nvoi.config.schema import OWN_NAME, At, Config, OneOf
from nvoi.errors import UsageError
from nvoi.files import SIZE_LIMIT
from nvoi.onboarding.answers import Answers, build_config
from nvoi.operation import Request
from nvoi.secret import Secret
from nvoi.targets import get_target

Tree = dict[str, Any]

FILENAME = "the config"
# Encrypted it is some bytes longer.
LONGEST = SIZE_LIMIT - 64
INTRODUCTION = "# The deploy config of {name}. nvoi's docs/config.md describes every key.\n"
COMMENTS = {
    "callback_url": "The dashboard that follows each run.",
    "application": "",
    "application.compute_provider": "Where the app runs.",
    "application.domain_provider": "What brings the domains to the services.",
    "application.ssh_keys": "With this pair nvoi reaches the servers.",
    "application.servers": "Volumes are on the disks of one server.",
    "application.app": "What runs. A service finds the port to listen on in $PORT.",
    "application.services": "Finished images beside the app.",
    "application.database": "Its address is in each service's DATABASE_URL.",
    "application.env": "For every service.",
    "application.secrets": "For every service too, and masked wherever nvoi prints or sends.",
}
GONE = object()
# Keys that say the same in two ways, or that another one decides: they go before it is set.
RIVALS = {"host": ("hosts", "count"), "hosts": ("host", "count")}
# What is asked is written, also where it is the default.
ASKED = frozenset({"size", "zone", "path"})


def compose(text: str | None, before: Answers | None, answers: Answers, directory: Path) -> str:
    """The config to be saved: a new one, or ``text`` with what was changed since ``before``."""
    if text is None or before is None:
        text = build_document(answers)
    else:
        text = change_document(text, before, answers)
    check_length(len(text.encode()))
    config = load(text, filename=FILENAME, environ=None)
    check_target(config, directory)
    return text


def check_length(size: int) -> None:
    if size > LONGEST:
        raise UsageError("all that is in the config makes more than 1 MiB, which cannot be read")


def check_target(config: Config, directory: Path) -> None:
    """Whether the config's target can do what it asks for. A Dockerfile may still be written."""
    request = Request(config, directory, home=directory, deploy_id="onboard")
    with suppress(UsageError):
        get_target(config).check(request)


def build_document(answers: Answers) -> str:
    tree = build_tree(build_config(answers))
    # To write what is far too long would take minutes, and its texts are no longer than it.
    check_length(count_characters(tree))
    above = {key: tree.pop(key) for key in ("callback_url",) if key in tree}
    return INTRODUCTION.format(name=answers.name) + write_data({**above, **tree}, COMMENTS)


def count_characters(data: Any) -> int:
    """Those of all texts in ``data``, however deep they are."""
    if isinstance(data, str):
        return len(data)
    values = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return sum(map(count_characters, values))


def change_document(text: str, before: Answers, after: Answers) -> str:
    """``text``, which says ``before``, so that it says ``after``; all else is as it was."""
    document = Document(text, FILENAME)
    changes = list(find_changes(build_tree(build_config(before)), build_tree(build_config(after))))
    for path, value in changes:
        section, _, key = path.rpartition(".")
        rivals = [f"{section}.{rival}" for rival in RIVALS.get(key, ())]
        for place in [path, *rivals] if value is GONE else rivals:
            if document.find(place) is not None:
                document.remove(place)
    for path, value in changes:
        if value is not GONE:
            document.set(path, value)
    return document.text


def build_tree(record: Any) -> Tree:
    """The keys and values that a record of the schema is read from, defaults left out. Pure."""
    tree: Tree = {}
    kind: Any = type(record)
    types = find_types(kind)
    for each in fields(record):
        key, value = each.name, getattr(record, each.name)
        _, _, markers = take_apart(types[key])
        if OWN_NAME in markers or (is_default(each, value) and not is_asked(record, key)):
            continue
        section = tree
        for marker in markers:
            if isinstance(marker, OneOf):
                (name,) = (name for name, one in marker.kinds.items() if isinstance(value, one))
                value = {name: value}
            elif isinstance(marker, At):
                *parents, key = marker.path.split(".")
                for parent in parents:
                    section = section.setdefault(parent, {})
        section[key] = to_data(value)
    return shorten_hosts(tree)


def is_asked(record: Any, key: str) -> bool:
    """Whether a key is written also where it is the default: a check of no page asks for none."""
    return key in ASKED and getattr(record, "type", "http") == "http"


def is_default(field: Field[Any], value: Any) -> bool:
    if field.default_factory is not MISSING:
        return bool(value == field.default_factory())
    return field.default is not MISSING and bool(value == field.default)


def to_data(value: Any) -> Any:
    """A field's value as dicts, lists and texts; here secrets go into what is encrypted."""
    if is_dataclass(value):
        return build_tree(value)
    if isinstance(value, Mapping):
        return {name: to_data(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float):
        return f"{value:g}s"
    return value.reveal() if isinstance(value, Secret) else value


def shorten_hosts(tree: Tree) -> Tree:
    """A group as one writes it: hosts count themselves, and one is a `host`."""
    hosts = tree.get("hosts", [])
    if tree.get("count") == len(hosts):
        del tree["count"]
    if len(hosts) != 1:
        return tree
    short = {"hosts": ("host", hosts[0])}
    return dict(short.get(key, (key, value)) for key, value in tree.items())


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
