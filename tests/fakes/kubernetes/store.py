"""The objects of a cluster as files, one program at a time."""

from __future__ import annotations

import copy
import fcntl
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.kubernetes.kinds import CLUSTER, KINDS, Object

#: What the fake alone knows of an object; never printed.
HIDDEN = "_fake"
LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class Store:
    """All that a cluster has, read at the beginning of a call and written at its end.

    ``counters`` go on from call to call. ``scenario`` is what the test says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._texts: dict[Path, str] = {}
        self.objects: dict[tuple[str, str, str], Object] = {}
        for path in sorted((folder / "objects").glob("*/*/*.json")):
            self._texts[path] = path.read_text()
            item = json.loads(self._texts[path])
            self.objects[path.parts[-3], path.parts[-2], item["metadata"]["name"]] = item
        self.counters: Object = read(folder / "counters.json")
        self.scenario: Object = read(folder / "scenario.json")

    def save(self) -> None:
        """Write what has changed."""
        kept = set()
        for (namespace, kind, name), item in self.objects.items():
            path = self.folder / "objects" / namespace / kind / f"{name}.json"
            kept.add(path)
            text = json.dumps(item)
            if self._texts.get(path) != text:
                write(path, text)
        for path in self._texts.keys() - kept:
            path.unlink()
        write(self.folder / "counters.json", json.dumps(self.counters))

    def count(self, name: str) -> int:
        """The next number of a counter, from 1 on."""
        self.counters[name] = number = self.counters.get(name, 0) + 1
        return int(number)

    def get(self, kind: str, name: str, namespace: str = "default") -> Object | None:
        """One object."""
        return self.objects.get((get_place(kind, namespace), kind, name))

    def select(self, kind: str, namespace: str | None = None) -> list[Object]:
        """All objects of a kind, by name."""
        return [
            item
            for (place, one, _), item in sorted(self.objects.items())
            if one == kind and (namespace is None or place == get_place(kind, namespace))
        ]

    def add(self, item: Object) -> Object:
        """Take up a new object, with what the API adds to each."""
        kind, metadata = item["kind"], item["metadata"]
        item.setdefault("apiVersion", KINDS[kind].version)
        if KINDS[kind].namespaced:
            metadata.setdefault("namespace", "default")
        metadata.setdefault("uid", self.make_uid())
        metadata.setdefault("creationTimestamp", now())
        if kind in ("Deployment", "StatefulSet", "ReplicaSet", "Job"):
            metadata.setdefault("generation", 1)
        self.objects[get_place(kind, metadata.get("namespace", "")), kind, metadata["name"]] = item
        self.touch(item)
        return item

    def touch(self, item: Object) -> None:
        """Give a changed object its new version."""
        item["metadata"]["resourceVersion"] = str(self.count("resourceVersion"))

    def remove(self, item: Object) -> None:
        """Forget an object."""
        place = get_place(item["kind"], item["metadata"].get("namespace", ""))
        self.objects.pop((place, item["kind"], item["metadata"]["name"]), None)

    def list_owned(self, owner: Object, kind: str) -> list[Object]:
        """The objects of a kind that another was made for, oldest first."""
        uid = owner["metadata"]["uid"]
        found = [
            item
            for item in self.select(kind, owner["metadata"].get("namespace", ""))
            if any(one["uid"] == uid for one in item["metadata"].get("ownerReferences", ()))
        ]
        return sorted(found, key=lambda item: item[HIDDEN]["number"])

    def make_uid(self) -> str:
        """An id that no other object has."""
        text = hashlib.sha256(f"uid {self.count('uid')}".encode()).hexdigest()
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:32]))

    def make_suffix(self) -> str:
        """Five letters that end the name of a pod."""
        return spell(f"suffix {self.count('suffix')}", 5)


def get_place(kind: str, namespace: str) -> str:
    """The folder of an object."""
    return namespace if KINDS[kind].namespaced else CLUSTER


def spell(text: str, length: int) -> str:
    """A hash in letters that make no words."""
    return "".join(LETTERS[byte % len(LETTERS)] for byte in hashlib.sha256(text.encode()).digest())[
        :length
    ]


def now() -> str:
    """The time as the API writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def show(item: Object) -> Object:
    """An object as it is printed."""
    shown = copy.copy(item)
    shown.pop(HIDDEN, None)
    return shown


def read(path: Path) -> Object:
    """What a file of JSON holds, nothing where there is none."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}


def write(path: Path, text: str) -> None:
    """A file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    draft.replace(path)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Nobody else reads or writes meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """The cluster, which is written again also where the call fails."""
    with lock(folder):
        store = Store(folder)
        try:
            yield store
        finally:
            store.save()
