"""The program: one call."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from tests.fakes.kubernetes import logs, nodes
from tests.fakes.kubernetes.applying import apply
from tests.fakes.kubernetes.arguments import Arguments
from tests.fakes.kubernetes.controllers import step
from tests.fakes.kubernetes.kinds import KubectlError
from tests.fakes.kubernetes.reading import delete, get
from tests.fakes.kubernetes.store import Store, lock, opened

DOWN = (
    "The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or "
    "port?"
)
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


def main(folder: Path, argv: list[str]) -> int:
    """Carry out one call; the exit code."""
    if argv[:1] == ["--register-node"]:
        with opened(folder) as store:
            return nodes.register(store, Arguments(["register", *argv[1:]]))
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
    if arguments.verb == "get":
        step(store)
    return VERBS[arguments.verb](store, arguments)


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


def record(folder: Path, argv: list[str], stdin: str) -> None:
    """Keep what was called."""
    entry = {"argv": argv, "stdin_bytes": len(stdin.encode()), "at": time.time()}
    with lock(folder), (folder / "calls.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")
