"""The objects of a cluster in memory, and the changes that watches are told of."""

from __future__ import annotations

import json
import time
from binascii import crc32
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock

from tests.fakes.kubernetes.kinds import CLUSTER, KINDS, Object

#: What the fake alone knows of an object; never shown.
HIDDEN = "_fake"
LETTERS = "bcdfghjklmnpqrstvwxz2456789"
Key = tuple[str, str, str]


class Store:
    """All that a cluster has. ``scenario`` is what the test says."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.objects: dict[Key, Object] = {}
        self.counters: dict[str, int] = {}
        self.scenario: Object = {}
        #: The Services that have pods which answer, and those that had and then had none.
        self.served: set[str] = set()
        self.gaps: list[str] = []
        #: Version, type and object of each change, the oldest first; those before are forgotten.
        self.changes: list[tuple[int, str, Object]] = []
        self.forgotten = 0
        self._shown: dict[Key, Object] = {}
        #: Called with each object that is new or changed.
        self.listeners: list[Callable[[Object], None]] = []

    @property
    def version(self) -> int:
        return self.counters.get("version", 0)

    @contextmanager
    def opened(self) -> Iterator[Store]:
        """Nobody else reads or writes meanwhile; then all changes are told."""
        with self.lock:
            try:
                yield self
            finally:
                self._note_changes()

    def forget(self) -> None:
        """Forget all changes so far: who was told of them has to list again."""
        with self.lock:
            self.changes.clear()
            self.forgotten = self.count("version")

    def _note_changes(self) -> None:
        for key in [*self._shown]:
            old, item = self._shown[key], self.objects.get(key)
            if item is None or item["metadata"]["uid"] != old["metadata"]["uid"]:
                del self._shown[key]
                self._note("DELETED", old)
        for key, item in self.objects.items():
            before = self._shown.get(key)
            if before is None or is_changed(before, item):
                item["metadata"]["resourceVersion"] = str(self.version + 1)
                self._shown[key] = copy(show(item))
                self._note("MODIFIED" if before else "ADDED", self._shown[key])
                for hear in self.listeners:
                    hear(copy(show(item)))

    def _note(self, kind: str, item: Object) -> None:
        number = self.count("version")
        shown = item | {"metadata": item["metadata"] | {"resourceVersion": str(number)}}
        self.changes.append((number, kind, shown))

    def count(self, name: str) -> int:
        self.counters[name] = number = self.counters.get(name, 0) + 1
        return number

    def get(self, kind: str, name: str, namespace: str = "default") -> Object | None:
        return self.objects.get((get_place(kind, namespace), kind, name))

    def select(self, kind: str, namespace: str | None = None) -> list[Object]:
        place = None if namespace is None else get_place(kind, namespace)
        keys = [key for key in self.objects if key[1] == kind and place in (None, key[0])]
        return [self.objects[key] for key in sorted(keys)]

    def add(self, item: Object) -> Object:
        """Take up a new object, with what the API adds to each."""
        kind, metadata = item["kind"], item["metadata"]
        item.setdefault("apiVersion", KINDS[kind].version)
        item.setdefault(HIDDEN, {}).setdefault("number", self.count("number"))
        if KINDS[kind].namespaced:
            metadata.setdefault("namespace", "default")
        metadata.setdefault("uid", self.make_uid())
        metadata.setdefault("creationTimestamp", now())
        if kind in ("Deployment", "StatefulSet", "ReplicaSet", "Job"):
            metadata.setdefault("generation", 1)
        self.objects[get_place(kind, metadata.get("namespace", "")), kind, metadata["name"]] = item
        return item

    def remove(self, item: Object) -> None:
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
        number = self.count("uid")
        return f"{crc32(b'uid %d' % number):08x}-0000-4000-8000-{number:012x}"

    def make_suffix(self) -> str:
        return spell(f"suffix {self.count('suffix')}", 5)


def get_place(kind: str, namespace: str) -> str:
    return namespace if KINDS[kind].namespaced else CLUSTER


def spell(text: str, length: int) -> str:
    """A hash in letters that make no words."""
    letters: list[str] = []
    for index in range(length):
        letters.append(LETTERS[crc32(f"{index}{text}{letters}".encode()) % len(LETTERS)])
    return "".join(letters)


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def copy(item: Object) -> Object:
    return dict(json.loads(json.dumps(item)))


def is_changed(shown: Object, item: Object) -> bool:
    return show(item) != shown


def show(item: Object) -> Object:
    return {key: value for key, value in item.items() if key != HIDDEN}
