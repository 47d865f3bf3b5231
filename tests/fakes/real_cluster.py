"""A real cluster as the tests of whole deploys ask it: by kubectl."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from nvoi.k3s.nodes import MASTER_LABEL


class RealCluster:
    """Answers what :class:`tests.fakes.cluster_state.ClusterState` does of objects.

    Args:
        kubeconfig: the way to it.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig

    def behave(self, match: str, behaviour: str = "ready", **more: Any) -> None:
        """Nothing: here containers do what they do."""

    def objects(self, kind: str, namespace: str | None = "default") -> list[Any]:
        """All objects of a kind; ``namespace`` None is everywhere."""
        place = [f"--namespace={namespace}"] if namespace else ["--all-namespaces"]
        command = ["kubectl", f"--kubeconfig={self._kubeconfig}", "get", kind, *place]
        found = subprocess.run(
            [*command, "--output=json"], capture_output=True, text=True, check=True
        )
        items: list[Any] = json.loads(found.stdout)["items"]
        return items

    def names(self, kind: str, namespace: str | None = "default") -> list[str]:
        """Their names."""
        return [item["metadata"]["name"] for item in self.objects(kind, namespace)]

    def find(self, kind: str, name: str, namespace: str = "default") -> Any:
        """One object, None where there is none."""
        found = [one for one in self.objects(kind, namespace) if one["metadata"]["name"] == name]
        return found[0] if found else None

    def get_node(self) -> str:
        """The name of the node that the tests run on: the only one, or the first master."""
        nodes = self.objects("nodes", None)
        masters = [one for one in nodes if MASTER_LABEL in one["metadata"]["labels"]]
        return str((masters or nodes)[0]["metadata"]["name"])
