"""Builds and pushes with Docker's commands, and the choice of an engine."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest

from nvoi.errors import CommandError, UsageError
from nvoi.images.build import Build
from nvoi.images.cleanup import remove_here
from nvoi.images.engines import Buildx, Docker, Engine, Podman, find_engine
from nvoi.images.push import push
from nvoi.images.registries import Registry as Client
from nvoi.images.registries import find_same, log_in
from nvoi.kubernetes.registry import build_credentials, build_htpasswd
from nvoi.parallel import CancelledError
from nvoi.secret import Secret
from tests.fakes.docker import FakeDocker
from tests.integration.images.conftest import StartBuild, start_build
from tests.integration.images.registry import Registry

BUILDX = Buildx()


@pytest.fixture
def docker(tmp_path: Path) -> FakeDocker:
    """A Docker that is well until a test says otherwise, and all that is in PATH."""
    made = FakeDocker(tmp_path / "docker")
    made.install(tmp_path / "programs")
    return made


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"PATH": str(tmp_path / "programs"), "HOME": str(tmp_path)}


@pytest.fixture
def begin(docker: FakeDocker, environ: dict[str, str], checkout: Path) -> StartBuild:
    def begin(
        stamp: str = "20260101000001", cache: Client | None = None, engine: Engine = BUILDX
    ) -> Build:
        return start_build(environ, checkout, stamp, "linux/arm64", engine=engine, cache=cache)

    return begin


def forget_all(docker: FakeDocker) -> None:
    """As if the next run were on another machine."""
    docker.save_images({})


def test_buildx_builds_for_the_servers_platform_and_without_attestations(
    docker: FakeDocker, begin: StartBuild, checkout: Path
) -> None:
    image = begin("20260101000000").wait()
    assert len(image.id) == 64
    (argv,) = docker.find_calls("buildx", "build")
    assert argv[argv.index("--platform") + 1] == "linux/arm64"
    assert argv[argv.index("--file") + 1] == str(checkout / "Dockerfile")
    assert argv[argv.index("--progress") + 1] == "plain"
    assert "--load" in argv
    # A folder of its own, which ends with the build.
    assert argv[-1] != str(checkout)
    assert not Path(argv[-1]).exists()
    assert "--cache-from" not in argv
    (call,) = [call for call in docker.calls if call["argv"] == argv]
    assert call["environment"] == {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}


@pytest.mark.parametrize(("user", "wanted"), [("app:staff", "1001:50"), ("nobody", "nobody")])
def test_the_user_of_an_image_is_known_by_numbers(
    docker: FakeDocker, begin: StartBuild, user: str, wanted: str
) -> None:
    passwd = "passwd\0\0root:x:0:0::/:/bin/sh\napp:x:1001:1002::/:/bin/sh\n"
    files = {"/etc/passwd": passwd, "/etc/group": "group\0\0root:x:0:\nstaff:x:50:app\n"}
    docker.set(user=user, files=files)
    assert begin().wait().user == wanted
    assert len(docker.find_calls("create")) == len(docker.find_calls("rm")) == 1


def test_another_machine_takes_its_layers_from_the_last_image_and_finds_the_same_one(
    docker: FakeDocker, begin: StartBuild, environ: dict[str, str], registry: Registry
) -> None:
    client = Client(registry.address)
    for stamp in ("20260101000001", "20260101000002"):
        push(Buildx(), begin(stamp).wait(), client, environ)
    forget_all(docker)
    image = begin("20260101000003", client).wait()
    argv = docker.find_calls("buildx", "build")[-1]
    reference = f"{registry.address}/nvoi-shop:20260101000002"
    assert argv[argv.index("--cache-from") + 1] == f"type=registry,ref={reference}"
    stamp = "20260101000002"
    digest = client.find_digest("nvoi-shop", stamp)
    assert find_same(client, "nvoi-shop", image.id) == (stamp, digest)
    assert docker.find_calls("pull") == []


def test_a_registry_that_asks_is_told_beside_the_user_s_own_logins(
    docker: FakeDocker, begin: StartBuild, environ: dict[str, str], registry: Registry
) -> None:
    credentials = build_credentials(Secret("of-the-cluster"))
    registry.ask(build_htpasswd(credentials).reveal())
    own = Path(environ["HOME"]) / ".docker"
    (own / "contexts").mkdir(parents=True)
    config = {"auths": {"ghcr.io": {"auth": "b3du"}}, "credsStore": "desktop"}
    (own / "config.json").write_text(json.dumps(config))
    client = Client(registry.address, credentials=credentials)
    with log_in(Buildx(), client, environ) as inside:
        folder = Path(inside["DOCKER_CONFIG"])
        told = json.loads((folder / "config.json").read_text())
        assert stat.S_IMODE((folder / "config.json").stat().st_mode) == 0o600
        assert (folder / "contexts").samefile(own / "contexts")
    assert not folder.exists()
    assert told["auths"]["ghcr.io"] == {"auth": "b3du"}
    assert told["credsStore"] == "desktop"
    assert inside["BUILDX_CONFIG"] == str(own / "buildx")
    engine = Docker()
    push(engine, begin("20260101000001", engine=engine).wait(), client, environ)
    forget_all(docker)
    begin("20260101000002", client, engine=engine).wait()
    assert len(docker.find_calls("pull")) == 1
    assert "--cache-from" in docker.find_calls("build")[-1]
    assert json.loads((own / "config.json").read_text()) == config
    assert credentials.password.reveal() not in json.dumps(docker.calls)
    with pytest.raises(CommandError, match="401"):
        push(engine, begin("20260101000003", engine=engine).wait(), Stranger(client), environ)


class Stranger(Client):
    """One that is known to be there, and has no password."""

    def __init__(self, known: Client) -> None:
        super().__init__(known.address)
        self._known = known

    def is_up(self) -> bool:
        return self._known.is_up()


def test_without_buildx_the_last_image_is_pulled_for_its_layers(
    docker: FakeDocker, begin: StartBuild, environ: dict[str, str], registry: Registry
) -> None:
    engine, client = Docker(), Client(registry.address)
    push(engine, begin("20260101000001", engine=engine).wait(), client, environ)
    forget_all(docker)
    begin("20260101000002", client, engine=engine).wait()
    reference = f"{registry.address}/nvoi-shop:20260101000001"
    assert docker.find_calls("pull") == [["pull", reference]]
    argv = docker.find_calls("build")[-1]
    assert argv[argv.index("--cache-from") + 1] == reference
    assert set(docker.images) == {"nvoi-shop:20260101000002"}
    assert {"DOCKER_BUILDKIT": "0"} in [call["environment"] for call in docker.calls]
    # It now has the layers itself.
    begin("20260101000003", client, engine=engine).wait()
    assert len(docker.find_calls("pull")) == 1
    assert "--cache-from" not in docker.find_calls("build")[-1]


def test_a_registry_that_does_not_answer_holds_no_build_up(
    docker: FakeDocker, begin: StartBuild, registry: Registry
) -> None:
    registry.stop()
    begin("20260101000001", Client(registry.address, patience=False)).wait()
    assert "--cache-from" not in docker.find_calls("buildx", "build")[-1]


def test_a_layer_cache_that_is_lost_meanwhile_breaks_no_build(
    docker: FakeDocker,
    begin: StartBuild,
    environ: dict[str, str],
    registry: Registry,
    logged: pytest.LogCaptureFixture,
) -> None:
    push(Buildx(), begin("20260101000001").wait(), Client(registry.address), environ)
    docker.set(failures=1, kills=registry.pid, lines=["ERROR: failed to solve: unexpected EOF"])
    begin("20260101000002", Client(registry.address, patience=False)).wait()
    first, second = docker.find_calls("buildx", "build")[-2:]
    assert "--cache-from" in first
    assert "--cache-from" not in second
    assert [one for one in logged.messages if "unexpected EOF; the layer cache was lost" in one]


def test_docker_keeps_no_name_of_the_registry(
    docker: FakeDocker, begin: StartBuild, environ: dict[str, str], registry: Registry
) -> None:
    image = begin("20260101000001").wait()
    client = Client(registry.address)
    engine = Buildx()
    digest = push(engine, image, client, environ)
    manifest = client.find_manifest("nvoi-shop", image.stamp)
    assert manifest is not None
    assert manifest.digest == digest
    assert manifest.is_of(image.id)
    assert set(docker.images) == {image.tag}
    assert remove_here(engine, "nvoi-shop", (), environ) == (image.stamp,)
    assert docker.images == {}


def test_a_push_that_docker_refuses_says_why(
    docker: FakeDocker, begin: StartBuild, environ: dict[str, str], registry: Registry
) -> None:
    image = begin().wait()
    forget_all(docker)
    with pytest.raises(CommandError, match="cannot be pushed with docker buildx: No such image"):
        push(BUILDX, image, Client(registry.address), environ)


def test_a_cancelled_build_of_docker_is_cancelled(begin: StartBuild, tmp_path: Path) -> None:
    program = tmp_path / "programs/docker"
    program.write_text("#!/bin/sh\nexec /bin/sleep 615\n")
    build = begin(engine=Buildx(str(program)))
    build.cancel()
    assert build.is_done
    with pytest.raises(CancelledError):
        build.wait()


def test_docker_with_buildx_comes_first(docker: FakeDocker, environ: dict[str, str]) -> None:
    assert isinstance(find_engine(environ), Buildx)
    docker.set(buildx=False)
    found = find_engine(environ)
    assert isinstance(found, Docker)
    assert not isinstance(found, Buildx)


def test_podman_is_taken_where_dockers_engine_does_not_answer(
    docker: FakeDocker, environ: dict[str, str], tmp_path: Path
) -> None:
    docker.set(engine=False)
    with pytest.raises(UsageError, match="its engine does not answer"):
        find_engine(environ)
    (tmp_path / "programs/podman").symlink_to(shutil.which("podman") or "/usr/bin/podman")
    assert isinstance(find_engine(environ), Podman)


def test_a_machine_without_an_engine_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither docker nor podman") as caught:
        find_engine({"PATH": str(tmp_path)})
    assert "install Docker" in caught.value.hint
    assert "image" in caught.value.hint
