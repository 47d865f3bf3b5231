"""The program: one call."""

from __future__ import annotations

import json
import sys
import time

from tests.fakes.kubernetes import files, logs, nodes
from tests.fakes.kubernetes.applying import apply
from tests.fakes.kubernetes.arguments import Arguments
from tests.fakes.kubernetes.controllers import step
from tests.fakes.kubernetes.kinds import Kind, KubectlError
from tests.fakes.kubernetes.reading import delete, get, read_names
from tests.fakes.kubernetes.store import Store, opened

DOWN = (
    "The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or "
    "port?"
)
#: The kinds that have moved on by the next time that one looks.
MOVED = {"Deployment", "StatefulSet", "ReplicaSet", "Job", "Pod"}
VERBS = {
    "delete": delete,
    "exec": logs.execute,
    "label": nodes.mark,
    "annotate": nodes.mark,
    "cordon": nodes.cordon,
    "uncordon": nodes.cordon,
    "drain": nodes.drain,
    "logs": logs.print_logs,
    "get": get,
}


def main(folder: str, argv: list[str]) -> int:
    """Carry out one call; the exit code."""
    if argv[:1] == ["--register-node"]:
        with opened(folder) as store:
            nodes.register(store, argv[1], json.loads(argv[2]))
        return 0
    arguments = Arguments(argv)
    stdin = sys.stdin.read() if arguments.verb == "apply" else ""
    record(folder, argv, stdin)
    try:
        with opened(folder) as store:
            check(store, arguments.verb)
            if not (arguments.verb == "logs" and arguments.has("follow")):
                return run(store, arguments, stdin)
        return logs.follow(folder, arguments)
    except KubectlError as error:
        sys.stdout.flush()
        print(error.text, file=sys.stderr)
        return error.code


def run(store: Store, arguments: Arguments, stdin: str) -> int:
    """Carry out a verb."""
    if arguments.verb == "apply":
        return apply(store, arguments, stdin)
    if arguments.verb == "version":
        print(json.dumps({"serverVersion": {"gitVersion": "v1.33.5+k3s1"}}))
        return 0
    if arguments.verb not in VERBS:
        raise KubectlError(f'error: unknown command "{arguments.verb}" for "kubectl"')
    if arguments.verb == "get" and MOVED & {kind.name for kind, _ in list_kinds(arguments)}:
        step(store)
    return VERBS[arguments.verb](store, arguments)


def list_kinds(arguments: Arguments) -> list[tuple[Kind, str | None]]:
    """What a ``get`` asks for."""
    return [] if "raw" in arguments.options else read_names(arguments.words)


def check(store: Store, verb: str) -> None:
    """Whether this call is one that fails."""
    down = store.scenario.get("api-down")
    if down is True or (down and store.count("down") <= int(down)):
        raise KubectlError(DOWN)
    rule = store.scenario.get("fail", {}).get(verb)
    if rule:
        number = store.count(f"fail {verb}") - int(rule.get("after", 0))
        if 0 < number <= int(rule.get("times", 1)):
            raise KubectlError(rule.get("stderr", "error: failed"), int(rule.get("exit", 1)))


def record(folder: str, argv: list[str], stdin: str) -> None:
    """Keep what was called."""
    entry = {"argv": argv, "stdin_bytes": len(stdin.encode()), "at": time.time()}
    with files.lock(folder):
        files.append(files.join(folder, "calls.jsonl"), json.dumps(entry))
