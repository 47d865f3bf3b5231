"""Builds with the real podman."""

from __future__ import annotations

import logging
import os
import random
import signal
from concurrent.futures import Future
from pathlib import Path

import pytest

from nvoi.errors import CommandError
from nvoi.parallel import CancelledError
from tests.integration.images.conftest import MakeImage, StartBuild
from tests.integration.images.podman import write_checkout
from tests.integration.images.processes import find_processes
from tests.waiting import run_program, wait_until


def ask(environ: dict[str, str], *words: str) -> str:
    return run_program("podman", *words, environ=environ).strip()


def test_an_image_is_built_when_the_platform_is_known_and_the_same_of_the_same_files(
    *,
    begin: StartBuild,
    make: MakeImage,
    checkout: Path,
    environ: dict[str, str],
    logged: pytest.LogCaptureFixture,
) -> None:
    platform: Future[str] = Future()
    build = begin("20260101120000", platform)
    assert not any("building" in message for message in logged.messages)
    platform.set_result("linux/amd64")
    image = build.wait()
    assert any("for linux/amd64 with podman" in message for message in logged.messages)
    assert (image.repository, image.stamp) == ("nvoi-shop", "20260101120000")
    words = ("image", "inspect", "--format", "{{.Id}} {{.Os}}/{{.Architecture}}")
    assert ask(environ, *words, f"localhost/{image.tag}") == f"{image.id} linux/amd64"
    # A fresh clone has the same files at other times.
    for path in checkout.iterdir():
        os.utime(path, (1, 1))
    assert make("20260101120001").id == image.id
    write_checkout(checkout, text="two\n")
    assert make("20260101120002").id != image.id


def test_an_instruction_that_fails_is_named_with_the_last_lines(
    begin: StartBuild, checkout: Path
) -> None:
    script = "for i in $(seq 50); do echo line $i; done; echo broken; exit 3"
    write_checkout(checkout, f'RUN ["/bin/busybox", "sh", "-c", "{script}"]')
    # Podman's chroot does not wait for its own copying of the output: the end of it may be lost.
    with pytest.raises(CommandError) as caught:
        begin(BUILDAH_ISOLATION="oci").wait()
    assert "STEP 4/4: RUN" in caught.value.message
    assert caught.value.message.endswith("exit code 3")
    assert {"line 50", "broken"} <= set(caught.value.output)
    assert "line 1" not in caught.value.output


def test_a_dockerfile_with_a_mistake_is_told(begin: StartBuild, checkout: Path) -> None:
    write_checkout(checkout, "RUNN make")
    with pytest.raises(CommandError, match=r"(?i)unknown instruction: \"?RUNN"):
        begin().wait()


def test_a_platform_that_cannot_be_told_ends_the_build(begin: StartBuild) -> None:
    platform: Future[str] = Future()
    build = begin(platform=platform)
    platform.set_exception(CommandError("web-1 has an unknown processor"))
    with pytest.raises(CommandError, match="unknown processor"):
        build.wait()


def test_a_build_that_waits_for_its_platform_can_be_cancelled(begin: StartBuild) -> None:
    build = begin(platform=Future())
    build.cancel()
    with pytest.raises(CancelledError):
        build.wait()


@pytest.mark.parametrize("isolation", ["chroot", "oci"])
def test_a_build_tells_its_output_while_it_runs_and_cancelled_leaves_nothing_behind(
    *,
    begin: StartBuild,
    checkout: Path,
    environ: dict[str, str],
    tmp_path: Path,
    isolation: str,
    logged: pytest.LogCaptureFixture,
) -> None:
    seconds = str(random.randint(10**8, 10**9))
    script = f"trap : TERM; echo early; sleep {seconds} & wait; wait; exec sleep {seconds}"
    write_checkout(checkout, f'RUN ["/bin/busybox", "sh", "-c", "{script}"]')
    build = begin(BUILDAH_ISOLATION=isolation)
    wait_until(lambda: "build: early" in logged.messages, "the instruction that takes long")
    assert not build.is_done
    found = [one for one in logged.records if one.getMessage() == "build: early"]
    assert found[0].levelno == logging.DEBUG
    assert any(message.startswith("building nvoi-shop:") for message in logged.messages)
    assert find_processes(seconds)
    build.cancel()
    with pytest.raises(CancelledError):
        build.wait()
    assert find_processes(str(tmp_path), seconds) == []
    assert ask(environ, "ps", "--all", "--external", "--quiet") == ""
    assert list((tmp_path / "podman/tmp").iterdir()) == []
    build.cancel()


def test_an_engine_that_was_ended_from_outside_is_no_success(
    begin: StartBuild, checkout: Path, tmp_path: Path
) -> None:
    write_checkout(checkout, 'RUN ["/bin/busybox", "sh", "-c", "echo >/began; exec sleep 614"]')
    build = begin()
    store = tmp_path / "podman/store"
    wait_until(lambda: any(store.rglob("began")), "the instruction that takes long")
    for pid in find_processes(str(tmp_path)):
        os.kill(pid, signal.SIGTERM)
    with pytest.raises(CommandError):
        build.wait()


def test_an_engine_that_is_gone_is_told(begin: StartBuild) -> None:
    with pytest.raises(CommandError, match="podman cannot be started"):
        begin(PATH="/nonexistent").wait()
