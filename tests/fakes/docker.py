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

It is also a module that installs itself as a program: see :func:`install`. It imports little, as
tests start it often: pathlib takes longer than all that a call does.
"""

# ruff: noqa: PTH103, PTH105, PTH123

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
KILL = 9
RECORDED = ("DOCKER_BUILDKIT", "BUILDX_NO_DEFAULT_ATTESTATIONS")


class FakeDocker:
    """The folder that the stand-in has."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = folder

    def install(self, programs: Path) -> None:
        """Put the program into a folder that stands in a PATH."""
        os.makedirs(self.folder, exist_ok=True)
        programs.mkdir(parents=True, exist_ok=True)
        program = programs / "docker"
        program.write_text(
            f'#!/bin/sh\nexec {sys.executable} -S {os.path.realpath(__file__)} {self.folder} "$@"\n'
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
    def calls(self) -> list[dict[str, Any]]:
        """Every call: ``argv`` and ``environment``."""
        text = read(f"{self.folder}/calls.jsonl").decode()
        return [json.loads(line) for line in text.splitlines()]

    def find_calls(self, *words: str) -> list[list[str]]:
        """The arguments of all calls that begin with these words."""
        found = [call["argv"] for call in self.calls]
        return [argv for argv in found if argv[: len(words)] == list(words)]

    def record(self, argv: list[str]) -> None:
        """Write a call down."""
        environment = {name: os.environ[name] for name in RECORDED if name in os.environ}
        with open(f"{self.folder}/calls.jsonl", "a") as file:
            file.write(json.dumps({"argv": argv, "environment": environment}) + "\n")

    def _read(self, name: str, default: Any) -> Any:
        text = read(f"{self.folder}/{name}")
        return json.loads(text) if text else default

    def _write(self, name: str, content: object) -> None:
        path = f"{self.folder}/{name}"
        with open(f"{path}.new", "w") as file:
            json.dump(content, file)
        os.replace(f"{path}.new", path)


def read(path: str) -> bytes:
    """What is in a file; nothing where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def find_login(url: str) -> dict[str, str]:
    """How a registry is logged in to: a helper is asked, where one is named, and else the file."""
    home = os.environ.get("DOCKER_CONFIG") or f"{os.environ.get('HOME', '')}/.docker"
    config = json.loads(read(f"{home}/config.json") or "{}")
    address = url.split("/")[2]
    if config.get("credHelpers", {}).get(address, config.get("credsStore", "")):
        return {}
    login = config.get("auths", {}).get(address, {}).get("auth")
    return {"Authorization": f"Basic {login}"} if login else {}


def send(method: str, url: str, data: bytes = b"", **headers: str) -> tuple[str, bytes]:
    """Send a request to a registry; returns where its answer leads, and what is in it."""
    # Imported by those calls alone that need it.
    import http.client

    address = url.split("/")[2]
    connection = http.client.HTTPConnection(address)
    named = {name.replace("_", "-"): value for name, value in headers.items()} | find_login(url)
    connection.request(method, url.partition(address)[2], data, named)
    answer = connection.getresponse()
    if answer.status >= 400:
        raise OSError(f"HTTP {answer.status}")
    return answer.headers.get("Location", ""), answer.read()


def upload(base: str, data: bytes) -> None:
    """Send a blob."""
    location, _ = send("POST", f"{base}/blobs/uploads/")
    mark = "&" if "?" in location else "?"
    send("PUT", f"{location}{mark}digest={digest(data)}", data)


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
    content = json.dumps(manifest).encode()
    send("PUT", f"{base}/manifests/{stamp}", content, Content_Type=MANIFEST)
    print(f"{stamp}: digest: {digest(content)}")


def pull(docker: FakeDocker, reference: str) -> None:
    """Bring the config of a registry's image here."""
    place, _, stamp = reference.rpartition(":")
    address, _, repository = place.partition("/")
    base = f"http://{address}/v2/{repository}"
    _, manifest = send("GET", f"{base}/manifests/{stamp}", Accept=MANIFEST)
    _, config = send("GET", f"{base}/blobs/{json.loads(manifest)['config']['digest']}")
    docker.save_images({**docker.images, reference: config.decode()})


def build(docker: FakeDocker, argv: list[str]) -> int:
    """Build the image that the checkout and the platform make."""
    scenario = docker.scenario
    for line in scenario["lines"]:
        print(line, flush=True)
    if scenario["failures"]:
        docker.set(failures=scenario["failures"] - 1)
        if scenario["kills"]:
            os.kill(scenario["kills"], KILL)
        return 1
    options = dict(itertools.pairwise(argv))
    files = sorted(f"{folder}/{name}" for folder, _, names in os.walk(argv[-1]) for name in names)
    content = hashlib.sha256(b"".join(map(read, files))).hexdigest()
    system, _, architecture = options["--platform"].partition("/")
    config = {"os": system, "architecture": architecture, "content": content}
    docker.save_images({**docker.images, options["--tag"]: json.dumps(config)})
    return 0


def list_stamps(docker: FakeDocker, repository: str) -> None:
    """Print the tags of a repository."""
    places = [reference.rpartition(":") for reference in docker.images]
    print("\n".join(stamp for place, _, stamp in places if place == repository))


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
        case ["image", "rm", reference]:
            images = docker.images
            del images[reference]
            docker.save_images(images)
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
        return run(FakeDocker(sys.argv[1]), sys.argv[2:])
    except KeyError as error:
        print(f"Error response from daemon: No such image: {error}", file=sys.stderr)
    except OSError as error:
        print(f"Error response from daemon: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
