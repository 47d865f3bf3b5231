"""What the tests need of a machine that no package brings, told before they run.

``python -m tests.machine`` prints a line for each thing that the machine lacks, and exits 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.integration.images.podman import build_podman_environ, write_checkout
from tests.waiting import PATIENCE

REMEDY = "in a container, start it with --privileged"


def find_lacks() -> Iterator[str]:
    """A line for each thing that the machine does not let the tests do."""
    for what, check in CHECKS.items():
        with tempfile.TemporaryDirectory(prefix="nvoi-") as folder:
            if reason := check(Path(folder)):
                yield f"this machine cannot {what}: {reason}; {REMEDY}"


def check_namespaces(folder: Path) -> str:
    """The test servers have an /etc of their own by a mount namespace."""
    words = ["unshare", "--mount", *(["--map-root-user"] if os.getuid() else [])]
    return run([*words, "mount", "--bind", str(folder), "/opt"])


def check_containers(folder: Path) -> str:
    """A RUN of a build needs cgroups that podman may write."""
    environ = build_podman_environ(folder / "podman") | {"BUILDAH_ISOLATION": "oci"}
    checkout = write_checkout(folder / "checkout", 'RUN ["/bin/busybox", "true"]')
    return run(["podman", "build", "--quiet", str(checkout)], environ)


CHECKS: dict[str, Callable[[Path], str]] = {
    "make mount namespaces": check_namespaces,
    "run containers with podman": check_containers,
}


def run(words: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
    """The last line that a command which fails prints; empty where it succeeds."""
    done = subprocess.run(
        words, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


if __name__ == "__main__":
    found = list(find_lacks())
    print("".join(f"bin/test: {line}\n" for line in found), end="", file=sys.stderr)
    sys.exit(1 if found else 0)
