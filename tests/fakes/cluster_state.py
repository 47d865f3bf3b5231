"""A fake cluster as tests speak to it: see :mod:`tests.fakes.kubernetes`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.kubernetes.applying import apply
from tests.fakes.kubernetes.controllers import step
from tests.fakes.kubernetes.kinds import KINDS
from tests.fakes.kubernetes.scheduling import register
from tests.fakes.kubernetes.server import ApiServer, build_kubeconfig
from tests.fakes.kubernetes.store import Store, copy, show

PROGRAM = Path(__file__).with_name("kubectl.py")

#: A host's ``k3s``: kubectl is the fake one, and nothing else is known.
K3S = """\
#!/bin/sh
case "$1 ${{2:-}}" in
  # It is read in each run: Python would take ten times as long.
  'kubectl config') exec cat {folder}/kubeconfig.json ;;
  'kubectl '*) shift; exec {python} -S -E {program} {port} "$@" ;;
  --version*) echo 'k3s version v1.33.5+k3s1 (b2e8ff61)' ;;
  *) echo "k3s: not known here: $*" >&2; exit 64 ;;
esac
"""


class ClusterState:
    """A cluster. Whoever makes one closes it.

    Args:
        folder: where its hosts find how to reach it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._store = Store()
        self.api = ApiServer(self._store)
        kubeconfig = folder / "kubeconfig.json"
        kubeconfig.touch(0o600)
        kubeconfig.write_text(json.dumps(build_kubeconfig(self.api.port)))

    def close(self) -> None:
        self.api.close()

    @property
    def script(self) -> str:
        port = self.api.programs_port
        words = {"python": sys.executable, "program": PROGRAM, "folder": self.folder, "port": port}
        return K3S.format(**{key: shlex.quote(str(word)) for key, word in words.items()})

    def behave(self, match: str, behaviour: str = "ready", **more: Any) -> None:
        """What pods of an image, workload or container do from now on: ``looks``, ``logs`` …"""
        with self._store.lock:
            rules = self._store.scenario.get("pods", ())
            others = [rule for rule in rules if rule["match"] != match]
            rules = [{"match": match, "behaviour": behaviour} | more, *others]
            self._store.scenario["pods"] = rules

    def scenario(self, **parts: Any) -> None:
        """Set parts of the scenario: ``addresses``, ``fail``, ``exec``, ``pods``.

        Counts of what fails begin anew.
        """
        with self._store.lock:
            self._store.scenario |= {key.replace("_", "-"): part for key, part in parts.items()}
            counters = self._store.counters
            for key in [key for key in counters if key.startswith("fail ")]:
                del counters[key]

    def advance(self) -> None:
        """Have all that there is go one step further, without that anybody looks."""
        with self._store.opened() as store:
            step(store)

    def reset(self) -> None:
        with self._store.lock:
            self._store.scenario = {}

    def listen(self, hear: Callable[[Any], None]) -> None:
        """Have each object that is new or changed told, before whoever changed it is answered."""
        self._store.listeners.append(hear)

    def forget_changes(self) -> None:
        self._store.forget()

    def objects(self, kind: str, namespace: str | None = "default") -> list[Any]:
        """All objects of a kind; ``namespace`` None is everywhere."""
        with self._store.lock:
            return [copy(show(item)) for item in self._store.select(kind, namespace)]

    def names(self, kind: str, namespace: str | None = "default") -> list[str]:
        return [item["metadata"]["name"] for item in self.objects(kind, namespace)]

    def find(self, kind: str, name: str, namespace: str = "default") -> Any:
        with self._store.lock:
            item = self._store.get(kind, name, namespace)
            return copy(show(item)) if item else None

    def add(self, item: Any) -> None:
        """Put an object there as it is, in the place of one of its name; it gets its version."""
        with self._store.opened() as store:
            added = store.add(copy(item))
        item["metadata"] |= copy(show(added))["metadata"]

    def apply(self, item: Any, manager: str) -> None:
        with self._store.opened() as store:
            metadata = item["metadata"]
            place = {"name": metadata["name"], "namespace": metadata.get("namespace", "default")}
            apply(store, KINDS[item["kind"]], place, copy(item), manager, force=True)

    def remove(self, kind: str, name: str, namespace: str = "default") -> None:
        with self._store.opened() as store:
            item = store.get(kind, name, namespace)
            if item is not None:
                store.remove(item)

    def register_node(self, name: str, **given: Any) -> None:
        """A node, new or changed: ``labels``, ``ready``, ``version``, ``address``, ``master`` …"""
        with self._store.opened() as store:
            register(store, name, given)

    @property
    def gaps(self) -> list[str]:
        """The Services that had ready pods where they lead to, and then had none."""
        return list(self._store.gaps)

    @property
    def calls(self) -> list[list[str]]:
        """All that was asked for so far, in kubectl's words."""
        return list(self.api.calls)

    @property
    def secrets_read(self) -> set[str]:
        """The names of the Secrets that were answered so far with what they hold."""
        return self.api.secrets_read
