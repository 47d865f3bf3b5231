"""A fake cluster as tests speak to it: see :mod:`tests.fakes.kubernetes`."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fakes.kubernetes import nodes
from tests.fakes.kubernetes.files import join, lock, read, write
from tests.fakes.kubernetes.store import opened, show

PROGRAM = Path(__file__).with_name("kubectl.py")

#: A host's ``k3s``: kubectl is the fake one, and nothing else is known.
K3S = """\
#!/bin/sh
case $1 in
  kubectl) shift; exec {python} -S -E {program} {folder} "$@" ;;
  --version) echo 'k3s version v1.33.5+k3s1 (b2e8ff61)' ;;
  *) echo "k3s: not known here: $*" >&2; exit 64 ;;
esac
"""


class ClusterState:
    """A cluster in a folder.

    Args:
        folder: where it is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def script(self) -> str:
        """A program ``k3s`` for a host."""
        words = {"python": sys.executable, "program": PROGRAM, "folder": self.folder}
        return K3S.format(**{key: shlex.quote(str(word)) for key, word in words.items()})

    def behave(self, match: str, behaviour: str = "ready", **more: Any) -> None:
        """What pods of an image, workload or container do from now on: ``looks``, ``logs`` …"""
        with lock(self.folder):
            scenario = read(join(self.folder, "scenario.json"))
            others = [rule for rule in scenario.get("pods", ()) if rule["match"] != match]
            rules = [{"match": match, "behaviour": behaviour} | more, *others]
            self._write(scenario | {"pods": rules})

    def scenario(self, **parts: Any) -> None:
        """Set parts of the scenario: ``addresses``, ``fail``, ``api_down``, ``exec``, ``pods``.

        Counts of what fails begin anew.
        """
        with opened(self.folder) as store:
            named = {key.replace("_", "-"): value for key, value in parts.items()}
            self._write(store.scenario | named)
            for key in [key for key in store.counters if key == "down" or key.startswith("fail ")]:
                del store.counters[key]

    def reset(self) -> None:
        """All is well again."""
        with lock(self.folder):
            self._write({})

    def _write(self, scenario: dict[str, Any]) -> None:
        write(join(self.folder, "scenario.json"), json.dumps(scenario))

    def objects(self, kind: str, namespace: str | None = "default") -> list[Any]:
        """All objects of a kind; ``namespace`` None is everywhere."""
        with opened(self.folder) as store:
            return [show(item) for item in store.select(kind, namespace)]

    def names(self, kind: str, namespace: str | None = "default") -> list[str]:
        """Their names."""
        return [item["metadata"]["name"] for item in self.objects(kind, namespace)]

    def find(self, kind: str, name: str, namespace: str = "default") -> Any:
        """One object, None where there is none."""
        with opened(self.folder) as store:
            item = store.get(kind, name, namespace)
            return show(item) if item else None

    def add(self, item: Any) -> None:
        """Put an object there as it is, in the place of one of its name."""
        with opened(self.folder) as store:
            store.add({"_fake": {"number": store.count("number")}} | item)

    def remove(self, kind: str, name: str, namespace: str = "default") -> None:
        """Take an object away."""
        with opened(self.folder) as store:
            item = store.get(kind, name, namespace)
            if item is not None:
                store.remove(item)

    def register_node(self, name: str, **given: Any) -> None:
        """A node, new or changed: ``labels``, ``ready``, ``version``, ``address``, ``master`` …"""
        with opened(self.folder) as store:
            nodes.register(store, name, given)

    def run(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Call the fake."""
        return subprocess.run(
            [sys.executable, "-S", "-E", PROGRAM, self.folder, *argv],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of all calls so far, without those that every call has."""
        return [
            [word for word in call["argv"] if not word.startswith("--request-timeout")]
            for call in self.records
        ]

    @property
    def secrets_read(self) -> set[str]:
        """The names of the Secrets that were printed so far with what they hold."""
        path = self.folder / "secrets"
        return set(path.read_text().split()) if path.exists() else set()

    @property
    def records(self) -> list[dict[str, Any]]:
        """All calls so far: ``argv``, ``stdin_bytes``, ``at``."""
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
