"""A real cluster as the tests of whole deploys ask it: by kubectl."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from nvoi.k3s.nodes import MARKER, MASTER_LABEL
from nvoi.kubernetes.names import PART_OF
from nvoi.naming import VOLUMES_FOLDER
from tests.waiting import wait_until

#: What an app can have, but what it keeps: all of it goes by its label.
KINDS = (
    "deployments,statefulsets,jobs,services,networkpolicies,ingresses,poddisruptionbudgets,"
    "secrets,pvc"
)
#: What the API adds to an object, which cannot be made anew with it.
GIVEN = ("creationTimestamp", "managedFields", "resourceVersion", "uid")
AWAY, STRANGER = "nvoi-away", "nvoi-stranger"


class RealCluster:
    """Answers what :class:`tests.fakes.cluster_state.ClusterState` does of objects.

    Args:
        kubeconfig: the way to it.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._nodes: list[Any] = []

    def ask(self, *words: str, body: Any = None, check: bool = True) -> str:
        """What kubectl prints; ``body`` is given to it as JSON."""
        command = ["kubectl", f"--kubeconfig={self._kubeconfig}", *words]
        text = json.dumps(body) if body is not None else ""
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    @contextmanager
    def follow(self, *words: str) -> Iterator[IO[str]]:
        """The lines that kubectl prints, as they come."""
        command = ["kubectl", f"--kubeconfig={self._kubeconfig}", *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            yield process.stdout
            process.kill()

    def objects(self, kind: str, namespace: str | None = "default") -> list[Any]:
        """All objects of a kind; ``namespace`` None is everywhere."""
        place = [f"--namespace={namespace}"] if namespace else ["--all-namespaces"]
        items: list[Any] = json.loads(self.ask("get", kind, *place, "--output=json"))["items"]
        return items

    def names(self, kind: str, namespace: str | None = "default") -> list[str]:
        """Their names."""
        return [item["metadata"]["name"] for item in self.objects(kind, namespace)]

    def find(self, kind: str, name: str, namespace: str | None = "default") -> Any:
        """One object, None where there is none."""
        found = [one for one in self.objects(kind, namespace) if one["metadata"]["name"] == name]
        return found[0] if found else None

    def list_nodes(self) -> list[str]:
        """The names of the nodes: first that on which the tests run, the master."""
        nodes = self.objects("nodes", None)
        nodes.sort(key=lambda one: MASTER_LABEL not in one["metadata"]["labels"])
        return [node["metadata"]["name"] for node in nodes]

    def find_version(self, node: str) -> str:
        """The release that a node runs."""
        return str(self.find("nodes", node, None)["status"]["nodeInfo"]["kubeletVersion"])

    def describe(self) -> str:
        """Which Kubernetes it is, and on what its nodes run."""
        version = json.loads(self.ask("get", "--raw", "/version"))["gitVersion"]
        infos = [node["status"]["nodeInfo"] for node in self.objects("nodes", None)]
        runtimes = sorted({one["containerRuntimeVersion"] for one in infos})
        return f"Kubernetes {version}, {len(infos)} nodes with {', '.join(runtimes)}"

    def clear(self, app: str, volumes: Path) -> None:
        """Have nothing of an app in it, and its volumes in a folder of the test's."""
        self.delete_all(app)
        for name, node in self._find_marked():
            gone = {key: None for key in node if key.startswith(MARKER)}
            change = {"metadata": {"labels": gone, "annotations": gone}}
            self.ask("patch", "node", name, f"--patch={json.dumps(change)}")
            self.ask("uncordon", name)
        place = Path(VOLUMES_FOLDER)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(volumes)
        self._nodes = self.objects("nodes", None)

    def delete_all(self, app: str) -> None:
        self.ask("delete", KINDS, f"--selector={PART_OF}={app}")

    def restore(self) -> None:
        """Have the nodes that there were, and no others. Their kubelets never went."""
        Path(VOLUMES_FOLDER).unlink(missing_ok=True)
        self.ask("delete", "node", AWAY, "--ignore-not-found")
        there = self.list_nodes()
        for node in self._nodes:
            if node["metadata"]["name"] not in there:
                for key in GIVEN:
                    node["metadata"].pop(key, None)
                self.ask("create", "--filename=-", body=node)

    def add_absent_node(
        self, since: str, labels: Mapping[str, str], annotations: Mapping[str, str]
    ) -> None:
        """A node of which nothing is heard, ``since`` then."""
        taint = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
        spec = {"taints": [taint, taint | {"effect": "NoSchedule"}]}
        metadata = {"name": AWAY, "labels": {**labels}, "annotations": {**annotations}}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}
        self.ask("create", "--filename=-", body=node)
        condition = {
            "type": "Ready",
            "status": "Unknown",
            "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.",
            "lastHeartbeatTime": since,
            "lastTransitionTime": since,
        }
        change = json.dumps({"status": {"conditions": [condition]}})
        self.ask("patch", "node", AWAY, "--subresource=status", f"--patch={change}")

    def execute(self, pod: str, *words: str) -> str:
        """What a command in a pod prints."""
        return self.ask("exec", pod, "--", *words).strip()

    def run_alone(self, image: str, command: str) -> str:
        """What a pod of nobody's prints until it ends."""
        words = ("--restart=Never", f"--image={image}", "--", "sh", "-c", command)
        self.ask("run", STRANGER, *words)

        def has_ended() -> bool:
            return self.find("Pod", STRANGER)["status"]["phase"] in {"Succeeded", "Failed"}

        try:
            wait_until(has_ended, f"the end of {STRANGER}")
            return self.ask("logs", STRANGER)
        finally:
            self.ask("delete", "pod", STRANGER)

    @contextmanager
    def know(self, definition: Mapping[str, Any]) -> Iterator[None]:
        """Have it know a kind of objects for a while, where it does not anyway."""
        name = definition["metadata"]["name"]
        if self.ask("get", "crd", name, "--ignore-not-found"):
            yield
            return
        self.ask("create", "--filename=-", body=definition)
        try:
            self.ask("wait", "--for=condition=Established", f"crd/{name}", "--timeout=60s")
            yield
        finally:
            self.ask("delete", "crd", name)

    @contextmanager
    def hold(self, manifests: Sequence[Mapping[str, Any]]) -> Iterator[list[Any]]:
        """Have it hold objects for a while, as it takes them without a field that it does not know.

        Nothing may be in their place before.
        """
        body = {"apiVersion": "v1", "kind": "List", "items": [*manifests]}
        self.ask("create", "--dry-run=server", "--filename=-", body=body)
        try:
            words = ("apply", "--server-side", "--validate=strict", "--output=json")
            found: list[Any] = json.loads(self.ask(*words, "--filename=-", body=body))["items"]
            yield found
        finally:
            self.ask("delete", "--ignore-not-found", "--filename=-", body=body)

    def _find_marked(self) -> list[tuple[str, list[str]]]:
        nodes = [node["metadata"] for node in self.objects("nodes", None)]
        return [
            (one["name"], [*one["labels"], *one.get("annotations", {})])
            for one in nodes
            if any(key.startswith(MARKER) for key in [*one["labels"], *one.get("annotations", {})])
        ]


def find_kubeconfig() -> Path | None:
    """That of the real cluster which the tests are to run on."""
    path = os.environ.get("NVOI_TEST_KUBECONFIG")
    return Path(path) if path else None
