"""What of a checkout an image can have: real builds, and what they leave."""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest

from nvoi.errors import CommandError
from nvoi.images.context import stage
from nvoi.images.engines import BuiltImage
from nvoi.parallel import CancelledError, Task
from nvoi.source import read_source
from tests.integration.images.conftest import MakeImage, StartBuild
from tests.integration.images.podman import write_checkout
from tests.waiting import PATIENCE

ReadImage = Callable[[BuiltImage], dict[str, tarfile.TarInfo]]
TIME = 1_000_000_000


@pytest.fixture
def read(environ: dict[str, str]) -> ReadImage:
    """Gives the files in an image by their names, with those that podman adds to a container."""

    def ask(*words: str) -> bytes:
        command = ["podman", *words]
        return subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True).stdout

    def read(image: BuiltImage) -> dict[str, tarfile.TarInfo]:
        container = ask("create", f"localhost/{image.tag}", "/none").decode().strip()
        with tarfile.open(fileobj=BytesIO(ask("export", container))) as archive:
            return {member.name.rstrip("/"): member for member in archive}

    return read


@pytest.fixture
def app(checkout: Path) -> Path:
    """A checkout all of which is copied into its image."""
    return write_checkout(checkout, "COPY . /app")


@pytest.fixture
def temporary(environ: dict[str, str]) -> Path:
    """Where builds have what they need for a while."""
    return Path(environ["TMPDIR"])


@pytest.fixture
def other_disk() -> Iterator[Path]:
    """A folder on another disk than the checkouts."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        pytest.skip("there is no other disk")
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    # Empty: builds leave nothing.
    folder.rmdir()


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def list_app(found: dict[str, tarfile.TarInfo]) -> set[str]:
    """What is below /app."""
    return {name.removeprefix("app/") for name in found if name.startswith("app/")}


KEYS = (
    "deploy.key",
    "deploy.key.new",
    ".deploy.key.x7_q",
    "config/deploy.key",
    "config/deploy.enc",
)


def test_an_image_has_what_git_does_not_ignore_and_no_key(
    app: Path, make: MakeImage, read: ReadImage
) -> None:
    subprocess.run(["git", "init", "--quiet", app], check=True)
    write(app / ".gitignore", "*.log\n.env\n")
    for name in ("trace.log", ".env", "sub/deep/file", *KEYS):
        write(app / name)
    assert list_app(read(make())) == {
        *(".gitignore", "Dockerfile", "hello.txt"),
        *("sub", "sub/deep", "sub/deep/file"),
    }


def test_the_engine_heeds_dockerignore_also_where_git_ignores_that(
    app: Path, make: MakeImage, read: ReadImage
) -> None:
    subprocess.run(["git", "init", "--quiet", app], check=True)
    write(app / ".gitignore", ".dockerignore\n")
    write(app / ".dockerignore", "**\n!docs\n!hello.txt\ndocs/*.md\n!docs/kept.md\n")
    for name in ("main", "docs/text", "docs/gone.md", "docs/kept.md"):
        write(app / name)
    names = {"hello.txt", "docs", "docs/text", "docs/kept.md"}
    assert list_app(read(make())) == names


def test_modes_times_and_links_are_those_of_the_checkout_whether_linked_or_copied(
    app: Path, begin: StartBuild, read: ReadImage, other_disk: Path
) -> None:
    script = write(app / "bin/run")
    script.chmod(0o750)
    (app / "link").symlink_to("bin/run")
    (app / "broken").symlink_to("/no/such/file")
    (app / "empty").mkdir(mode=0o711)
    (app / "bin").chmod(0o755)
    for path in (script, app / "bin"):
        os.utime(path, (TIME, TIME))
    before = os.umask(0o077)
    try:
        linked = begin("20260101000001").wait()
        copied = begin("20260101000002", TMPDIR=str(other_disk)).wait()
    finally:
        os.umask(before)
    assert copied.id == linked.id
    found = read(copied)
    for name, mode in (("bin/run", 0o750), ("bin", 0o755)):
        member = found[f"app/{name}"]
        assert (stat.S_IMODE(member.mode), member.mtime) == (mode, TIME)
    assert stat.S_IMODE(found["app/empty"].mode) == 0o711
    assert found["app/link"].linkname == "bin/run"
    assert found["app/broken"].linkname == "/no/such/file"


def test_a_build_leaves_nothing_whether_it_ends_or_fails(
    app: Path, make: MakeImage, temporary: Path
) -> None:
    (app / "closed").mkdir()
    file = write(app / "closed/file")
    file.chmod(0o640)
    (app / "closed").chmod(0o555)
    make("20260101000001")
    assert list(temporary.iterdir()) == []
    write_checkout(app, "RUNN make")
    with pytest.raises(CommandError):
        make("20260101000002")
    assert list(temporary.iterdir()) == []
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o555
    assert file.stat().st_nlink == 1


def test_nobody_else_can_look_into_the_context(app: Path, environ: dict[str, str]) -> None:
    app.chmod(0o777)
    with stage(read_source(app, environ), environ) as folder:
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.stat().st_mode) == 0o777
        assert (folder / "hello.txt").samefile(app / "hello.txt")


def test_a_cancelled_build_stops_taking_files(
    app: Path, environ: dict[str, str], temporary: Path
) -> None:
    source = read_source(app, environ)

    def work() -> None:
        task.cancel()
        with stage(source, environ):
            pass

    task = Task(work)
    task.start()
    with pytest.raises(CancelledError):
        task.future.result(PATIENCE)
    assert list(temporary.iterdir()) == []


def test_a_place_that_cannot_be_used_is_told(app: Path, begin: StartBuild) -> None:
    with pytest.raises(CommandError, match="cannot be put into /nonexistent: No such file") as told:
        begin(TMPDIR="/nonexistent").wait()
    assert "$TMPDIR" in told.value.hint


def test_files_that_come_and_go_break_no_build(app: Path, environ: dict[str, str]) -> None:
    gone = write(app / "swap/gone")
    source = read_source(app, environ)
    gone.unlink()
    gone.parent.rmdir()
    with stage(source, environ) as folder:
        assert (folder / "hello.txt").is_file()
        assert not (folder / "swap/gone").exists()
