"""The objects of a cluster as files, one program at a time."""

from __future__ import annotations

import json
import time
from binascii import crc32
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fakes.kubernetes import files
from tests.fakes.kubernetes.kinds import CLUSTER, KINDS, Object

#: What the fake alone knows of an object; never printed.
HIDDEN = "_fake"
LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class Store:
    """All that a cluster has, read at the beginning of a call and written at its end.

    ``counters`` go on from call to call. ``scenario`` is what the test says.
    """

    def __init__(self, folder: files.Folder) -> None:
        self.folder = folder
        self._texts: dict[str, str] = {}
        self.objects: dict[tuple[str, str, str], Object] = {}
        for names in files.find_files(files.join(folder, "objects")):
            path = files.join(folder, "objects", *names)
            self._texts[path] = files.read_text(path)
            item = json.loads(self._texts[path])
            self.objects[names[0], names[1], item["metadata"]["name"]] = item
        self.counters: Object = files.read(files.join(folder, "counters.json"))
        self.scenario: Object = files.read(files.join(folder, "scenario.json"))

    def save(self) -> None:
        """Write what has changed."""
        kept = set()
        for (namespace, kind, name), item in self.objects.items():
            path = files.join(self.folder, "objects", namespace, kind, f"{name}.json")
            kept.add(path)
            text = json.dumps(item)
            if self._texts.get(path) != text:
                files.write(path, text)
        for path in self._texts.keys() - kept:
            files.remove(path)
        files.write(files.join(self.folder, "counters.json"), json.dumps(self.counters))

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
        number = self.count("uid")
        return f"{crc32(b'uid %d' % number):08x}-0000-4000-8000-{number:012x}"

    def make_suffix(self) -> str:
        """Five letters that end the name of a pod."""
        return spell(f"suffix {self.count('suffix')}", 5)


def get_place(kind: str, namespace: str) -> str:
    """The folder of an object."""
    return namespace if KINDS[kind].namespaced else CLUSTER


def spell(text: str, length: int) -> str:
    """A hash in letters that make no words."""
    letters: list[str] = []
    for index in range(length):
        letters.append(LETTERS[crc32(f"{index}{text}{letters}".encode()) % len(LETTERS)])
    return "".join(letters)


def now() -> str:
    """The time as the API writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def copy(item: Object) -> Object:
    """Another object just like it."""
    return dict(json.loads(json.dumps(item)))


def show(item: Object) -> Object:
    """An object as it is printed."""
    return {key: value for key, value in item.items() if key != HIDDEN}


@contextmanager
def opened(folder: files.Folder) -> Iterator[Store]:
    """The cluster, which is written again also where the call fails."""
    with files.lock(folder):
        store = Store(folder)
        try:
            yield store
        finally:
            store.save()
