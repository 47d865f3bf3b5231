"""kubectl's arguments and input, as data: nothing here runs.

Secrets are in the input only; arguments can be seen by every user of a machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from nvoi.kubernetes import registry
from nvoi.kubernetes.names import NAMESPACE, SERVER_GROUP
from nvoi.kubernetes.ownership import Reference
from nvoi.kubernetes.workloads import Manifest

FIELD_MANAGER = "nvoi"
#: Seconds that one request to the cluster may take.
REQUEST_SECONDS = 30
DRAIN_SECONDS = 300


@dataclass(frozen=True)
class Kubectl:
    """One call of kubectl. ``stdin`` may hold secrets and is never shown."""

    argv: tuple[str, ...]
    stdin: bytes | None = field(default=None, repr=False)

    @property
    def verb(self) -> str:
        """What it does, such as ``apply``."""
        return next(word for word in self.argv[1:] if not word.startswith("-"))


def build_call(*arguments: str, stdin: bytes | None = None) -> Kubectl:
    """A call whose single requests end."""
    return Kubectl(("kubectl", f"--request-timeout={REQUEST_SECONDS}s", *arguments), stdin)


def build_list(manifests: Iterable[Manifest]) -> bytes:
    """Manifests as one document for kubectl."""
    items = [*manifests]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}).encode()


def build_apply(manifests: Iterable[Manifest], *, dry_run: bool = False) -> Kubectl:
    """Makes the cluster hold ``manifests``, as their only owner.

    Fields that somebody else has set are taken over. ``dry_run`` has the cluster check them only.
    """
    arguments = ["apply", "--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}"]
    arguments += ["--dry-run=server"] if dry_run else []
    return build_call(*arguments, "--filename=-", stdin=build_list(manifests))


def build_get(
    kinds: Sequence[str], *, selector: str | None = None, namespace: str = NAMESPACE
) -> Kubectl:
    """Prints all objects of ``kinds`` in one JSON document."""
    chosen = [f"--selector={selector}"] if selector else []
    return build_call("get", ",".join(kinds), f"--namespace={namespace}", *chosen, "--output=json")


def build_get_names(
    words: Iterable[str], *, selector: str | None = None, namespace: str = NAMESPACE
) -> Kubectl:
    """Prints the names of objects, and nothing that they hold; those that are gone are no error.

    Args:
        words: kinds, such as ``secrets``, or objects, such as ``secret/NAME``.
        selector: of kinds, the labels that are asked for.
        namespace: the objects' namespace.
    """
    chosen = [f"--selector={selector}"] if selector else []
    arguments = (f"--namespace={namespace}", "--ignore-not-found", *chosen, "--output=name")
    return build_call("get", *arguments, *words)


def build_delete(references: Iterable[Reference], *, wait: bool = True) -> list[Kubectl]:
    """Deletes objects, one call for each namespace; those that are gone are no error.

    With ``wait`` a call ends once their pods are gone too: what is made anew must not write to
    a folder beside what it replaces.
    """
    by_namespace: dict[str, list[str]] = {}
    for reference in references:
        by_namespace.setdefault(reference.namespace, []).append(str(reference))
    return [
        build_call(
            "delete",
            f"--namespace={namespace}",
            "--ignore-not-found",
            f"--wait={str(wait).lower()}",
            f"--cascade={'foreground' if wait else 'background'}",
            *names,
        )
        for namespace, names in by_namespace.items()
    ]


def build_logs(
    target: str,
    *,
    container: str | None = None,
    lines: int | None = None,
    follow: bool = False,
    previous: bool = False,
    namespace: str = NAMESPACE,
) -> Kubectl:
    """Prints what a container has printed.

    Args:
        target: a pod's name, or ``job/NAME``.
        container: the container, where there are several.
        lines: only that many, the last ones.
        follow: go on until the container ends. Such a request has no end of its own.
        previous: of the container that ran before it was started again.
        namespace: the pod's namespace.
    """
    chosen = [f"--container={container}"] if container else []
    chosen += [f"--tail={lines}"] if lines is not None else []
    chosen += ["--previous"] if previous else []
    arguments = ("logs", f"--namespace={namespace}", *chosen)
    if follow:
        return Kubectl(("kubectl", *arguments, "--follow", target))
    return build_call(*arguments, target)


def build_get_nodes() -> Kubectl:
    """Prints the nodes in one JSON document."""
    return build_call("get", "nodes", "--output=json")


def build_label_node(node: str, group: str) -> Kubectl:
    """Marks a node as one of a server group."""
    return build_call("label", "node", node, f"{SERVER_GROUP}={group}", "--overwrite")


def build_drain(node: str, seconds: int = DRAIN_SECONDS) -> Kubectl:
    """Moves all pods off a node; ``seconds`` is how long it may take."""
    arguments = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force")
    return Kubectl(("kubectl", *arguments, f"--timeout={seconds}s"))


def build_uncordon(node: str) -> Kubectl:
    """Lets a node have pods again."""
    return build_call("uncordon", node)


def build_delete_node(node: str) -> Kubectl:
    """Takes a node out of the cluster."""
    return build_call("delete", "node", node, "--ignore-not-found")


def build_execute(target: str, words: Sequence[str], *, namespace: str = NAMESPACE) -> Kubectl:
    """Runs a command in a container; ``target`` is a pod's name or ``deployment/NAME``."""
    return Kubectl(("kubectl", "exec", f"--namespace={namespace}", target, "--", *words))


def build_collect_garbage() -> Kubectl:
    """Frees the disk of what images that were deleted from the registry have left.

    Nothing may be pushed meanwhile (Distribution, "Garbage collection"): under the lock. Without
    ``--delete-untagged``, which takes the images of an index for untagged (release 2.8).
    """
    collect = ("registry", "garbage-collect", registry.CONFIG_FILE)
    target = f"deployment/{registry.NAME}"
    return build_execute(target, collect, namespace=registry.SYSTEM_NAMESPACE)
