"""A stand-in for the program `docker`, whose engine cannot run in tests.

It keeps its images in a folder, writes down how it was called, builds images of one file that
depend on nothing but the checkout, and pushes them into a registry as Docker does. What else
it shall do stands in `scenario.json` of the folder:

    engine    whether its engine answers
    buildx    whether buildx is installed
    lines     what a build prints
    user      whom images name to run as
    files     what is in their files, by their paths
    failures  how many builds end with exit code 1 from now on
    kills     the process that such a build ends before

It is also a module that installs itself as a program: see :func:`install`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
RECORDED = ("DOCKER_BUILDKIT", "BUILDX_NO_DEFAULT_ATTESTATIONS")

Calls = list[dict[str, Any]]


class FakeDocker:
    """The folder that the stand-in has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, programs: Path) -> None:
        """Put the program into a folder that stands in a PATH."""
        self.folder.mkdir(parents=True, exist_ok=True)
        programs.mkdir(parents=True, exist_ok=True)
        program = programs / "docker"
        program.write_text(
            f'#!/bin/sh\nexec {sys.executable} -S {Path(__file__).resolve()} {self.folder} "$@"\n'
        )
        program.chmod(0o755)

    def set(self, **scenario: object) -> None:
        """Change what it does from now on."""
        self._write("scenario.json", {**self.scenario, **scenario})

    @property
    def scenario(self) -> dict[str, Any]:
        """What it does."""
        usual = {
            "engine": True,
            "buildx": True,
            "lines": ["built"],
            "failures": 0,
            "kills": 0,
            "user": "",
            "files": {},
        }
        return {**usual, **self._read("scenario.json", {})}

    @property
    def images(self) -> dict[str, str]:
        """The configs of its images, by their references."""
        found: dict[str, str] = self._read("images.json", {})
        return found

    def save_images(self, images: dict[str, str]) -> None:
        """Replace its images."""
        self._write("images.json", images)

    @property
    def calls(self) -> Calls:
        """Every call: ``argv`` and ``environment``."""
        path = self.folder / "calls.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def find_calls(self, *words: str) -> list[list[str]]:
        """The arguments of all calls that begin with these words."""
        found = [call["argv"] for call in self.calls]
        return [argv for argv in found if argv[: len(words)] == list(words)]

    def record(self, argv: list[str]) -> None:
        """Write a call down."""
        environment = {name: os.environ[name] for name in RECORDED if name in os.environ}
        with (self.folder / "calls.jsonl").open("a") as file:
            file.write(json.dumps({"argv": argv, "environment": environment}) + "\n")

    def _read(self, name: str, default: Any) -> Any:
        path = self.folder / name
        return json.loads(path.read_text()) if path.exists() else default

    def _write(self, name: str, content: object) -> None:
        path = self.folder / f"{name}.new"
        path.write_text(json.dumps(content))
        path.replace(self.folder / name)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def find_login(url: str) -> dict[str, str]:
    """How a registry is logged in to: a helper is asked, where one is named, and else the file."""
    home = os.environ.get("DOCKER_CONFIG") or f"{os.environ.get('HOME', '')}/.docker"
    path = Path(home) / "config.json"
    config = json.loads(path.read_text()) if path.exists() else {}
    address = url.split("/")[2]
    if config.get("credHelpers", {}).get(address, config.get("credsStore", "")):
        return {}
    login = config.get("auths", {}).get(address, {}).get("auth")
    return {"Authorization": f"Basic {login}"} if login else {}


def send(method: str, url: str, data: bytes, kind: str) -> str:
    """Send a request to a registry; returns where its answer leads."""
    import urllib.request

    headers = {"Content-Type": kind, **find_login(url)}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request) as answer:
        return str(answer.headers.get("Location", ""))


def upload(base: str, data: bytes) -> None:
    """Send a blob."""
    location = send("POST", f"{base}/blobs/uploads/", b"", "application/octet-stream")
    mark = "&" if "?" in location else "?"
    target = f"{location}{mark}digest={digest(data)}"
    send("PUT", target, data, "application/octet-stream")


def push(docker: FakeDocker, reference: str) -> None:
    """Push an image of one layer, which is its config's text too."""
    place, _, stamp = reference.rpartition(":")
    address, _, repository = place.partition("/")
    config = docker.images[reference].encode()
    base = f"http://{address}/v2/{repository}"
    layer = b"layer of " + config
    upload(base, config)
    upload(base, layer)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
        "layers": [
            {
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                "digest": digest(layer),
                "size": len(layer),
            }
        ],
    }
    send("PUT", f"{base}/manifests/{stamp}", json.dumps(manifest).encode(), MANIFEST)
    print(f"{stamp}: digest: {digest(json.dumps(manifest).encode())}")


def pull(docker: FakeDocker, reference: str) -> None:
    """Bring the config of a registry's image here."""
    import urllib.request

    place, _, stamp = reference.rpartition(":")
    address, _, repository = place.partition("/")
    base = f"http://{address}/v2/{repository}"
    headers = {"Accept": MANIFEST, **find_login(base)}
    request = urllib.request.Request(f"{base}/manifests/{stamp}", headers=headers)
    with urllib.request.urlopen(request) as answer:
        config = json.load(answer)["config"]["digest"]
    request = urllib.request.Request(f"{base}/blobs/{config}", headers=headers)
    with urllib.request.urlopen(request) as answer:
        docker.save_images({**docker.images, reference: answer.read().decode()})


def build(docker: FakeDocker, argv: list[str]) -> int:
    """Build the image that the checkout and the platform make."""
    scenario = docker.scenario
    for line in scenario["lines"]:
        print(line, flush=True)
    if scenario["failures"]:
        docker.set(failures=scenario["failures"] - 1)
        if scenario["kills"]:
            os.kill(scenario["kills"], signal.SIGKILL)
        return 1
    options = dict(itertools.pairwise(argv))
    files = sorted(path for path in Path(argv[-1]).rglob("*") if path.is_file())
    content = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    system, _, architecture = options["--platform"].partition("/")
    config = {"os": system, "architecture": architecture, "content": content}
    docker.save_images({**docker.images, options["--tag"]: json.dumps(config)})
    return 0


def list_stamps(docker: FakeDocker, repository: str) -> None:
    """Print the tags of a repository."""
    for reference in docker.images:
        place, _, stamp = reference.rpartition(":")
        if place == repository:
            print(stamp)


def remove(docker: FakeDocker, references: list[str]) -> None:
    """Take names away."""
    images = docker.images
    for reference in references:
        del images[reference]
    docker.save_images(images)


def look_inside(docker: FakeDocker, verb: str, what: str) -> None:
    """Make a container of an image, print a file of one, or take one away."""
    if verb == "create":
        print(f"container-of-{digest(docker.images[what].encode())}")
    elif verb == "cp":
        print(docker.scenario["files"][what.rpartition(":")[2]])


def run(docker: FakeDocker, argv: list[str]) -> int:
    """Do what the arguments ask for."""
    docker.record(argv)
    status = 0
    match argv:
        case ["version", *_]:
            status = 0 if docker.scenario["engine"] else 1
        case ["buildx", "version"]:
            status = 0 if docker.scenario["buildx"] else 1
        case ["buildx", "build", *rest] | ["build", *rest]:
            status = build(docker, rest)
        case ["image", "inspect", "--format", "{{.Id}} {{.Config.User}}", reference]:
            print(digest(docker.images[reference].encode()), docker.scenario["user"])
        case ["image", "ls", "--format", "{{.Tag}}", repository]:
            list_stamps(docker, repository)
        case ["image", "rm", *references]:
            remove(docker, references)
        case ["tag", source, target]:
            docker.save_images({**docker.images, target: docker.images[source]})
        case ["create", "--platform", _, what, "-"] | ["cp" | "rm", what, *_]:
            look_inside(docker, argv[0], what)
        case ["push" | "pull" as verb, reference]:
            {"push": push, "pull": pull}[verb](docker, reference)
        case _:
            print(f"unknown command: docker {' '.join(argv)}", file=sys.stderr)
            status = 125
    return status


def main() -> int:
    """The program."""
    try:
        return run(FakeDocker(Path(sys.argv[1])), sys.argv[2:])
    except KeyError as error:
        print(f"Error response from daemon: No such image: {error}", file=sys.stderr)
    except OSError as error:
        print(f"Error response from daemon: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
