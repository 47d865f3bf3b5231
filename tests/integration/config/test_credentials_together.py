"""Commands that change one config side by side, and commands that are killed at any moment."""

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nvoi.config.credentials import get_key
from nvoi.config.loader import load_file
from nvoi.config.sealing import hold_folders, opens
from nvoi.errors import UsageError
from tests.integration.commands import NVOI, run_nvoi
from tests.waiting import PATIENCE, run_program, wait_until

#: Runs the command again and again, and kills it at each of the moments before which it would have
#: changed the disk; tells how each run ended, and waits for a line before the next one.
KILLER = """
import itertools, os, signal, sys
from nvoi.cli import credentials, main

def build(call):
    def wrapped(*arguments, **options):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return wrapped

for left in itertools.count(1):
    pid = os.fork()
    if not pid:
        for name in ("fdopen", "fsync", "link", "rename", "replace", "unlink"):
            setattr(os, name, build(getattr(os, name)))
        os.dup2(2, 1)
        os._exit(main(sys.argv[1:]))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    if not sys.stdin.readline():
        break
"""
#: How often two commands are started at once. The code before the lock lost every fourth time.
TRIES = 6

KEPT = [".dockerignore", ".git", ".gitignore", "deploy.enc", "deploy.key"]
#: Commands that open the config.
OPENING = (
    ("credentials", "show"),
    ("credentials", "get", "application.name"),
    ("credentials", "set", "application.environment", "later"),
    ("credentials", "edit"),
    ("credentials", "rotate-key"),
    ("deploy", "--dry-run"),
)


class Checkout:
    """A folder with a new config, and commands that are run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "NVOI_HOME": str(folder.parent / "home"),
            "EDITOR": "true",
        }
        folder.mkdir()
        run_program("git", "init", "-q", folder)
        assert self.run("config", "init", "--name", "shop").returncode == 0

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command of nvoi's to its end."""
        return run_nvoi(*words, folder=self.folder, environ=self.environ | environ)

    def run_together(self, commands: Sequence[Sequence[str]]) -> None:
        """Run commands at the same time; all of them are done."""
        with ThreadPoolExecutor(len(commands)) as pool:
            ended = list(pool.map(lambda words: self.run(*words), commands))
        assert [done.returncode for done in ended] == [0] * len(ended), ended

    def read_environment(self) -> dict[str, str]:
        """The app's ``env``, as the key in its file opens it."""
        key = get_key(self.folder, environ={})
        config = load_file(self.folder / "deploy.enc", key=key, environ={})
        return dict(config.application.env)

    def list_names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def list_untracked(self) -> list[str]:
        """What git would add."""
        text = run_program("git", "-C", self.folder, "status", "--porcelain", "-uall")
        return [line.split()[1] for line in text.splitlines()]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "app")


def build_set(number: int) -> tuple[str, ...]:
    return ("credentials", "set", f"application.env.V{number}", str(number))


def kill_at_each_step(checkout: Checkout, *words: str) -> Iterator[int]:
    """The exit codes of one command, killed a step later each time, up to the one that ended."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLER, *words],
        cwd=checkout.folder,
        env=checkout.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as killer:
        assert killer.stdin is not None
        assert killer.stdout is not None
        for line in killer.stdout:
            yield int(line)
            if int(line) != -signal.SIGKILL:
                killer.stdin.close()
                return
            killer.stdin.write("\n")
            killer.stdin.flush()


def test_a_rotation_killed_at_any_step_is_brought_to_its_end_by_the_next_command(
    checkout: Checkout,
) -> None:
    config = checkout.folder / "deploy.enc"
    keys = set()
    moments = kill_at_each_step(checkout, "credentials", "rotate-key")
    for moment, (code, words) in enumerate(zip(moments, itertools.cycle(OPENING), strict=False)):
        left = [name for name in checkout.list_names() if name not in KEPT]
        names = [checkout.folder / name for name in checkout.list_names() if "key" in name]
        assert any(opens(path, config.read_bytes()) for path in names), f"{moment}: {names}"
        assert checkout.list_untracked() == [".dockerignore", ".gitignore", "deploy.enc"]
        done = checkout.run(*words)
        assert done.returncode == 0, f"{moment}: {words}: {done.stdout}{done.stderr}"
        assert checkout.list_names() == KEPT
        assert (done.stdout + done.stderr).count("cut off") == bool(left)
        assert opens(checkout.folder / "deploy.key", config.read_bytes())
        keys.add((checkout.folder / "deploy.key").read_text())
        assert code in (0, -signal.SIGKILL)
    assert code == 0
    assert moment >= len(OPENING)
    assert len(keys) > 2


def test_a_rotation_beside_a_change_loses_neither(checkout: Checkout) -> None:
    for number in range(TRIES):
        checkout.run_together([("credentials", "rotate-key"), build_set(number)])
        assert checkout.read_environment()[f"V{number}"] == str(number)
    assert len(checkout.read_environment()) == TRIES


def test_of_changes_at_the_same_time_all_are_kept(checkout: Checkout) -> None:
    checkout.run_together([build_set(number) for number in range(6)])
    assert checkout.read_environment() == {f"V{number}": str(number) for number in range(6)}


def write_editor(checkout: Checkout, *commands: str) -> dict[str, str]:
    """An editor that has commands run while it is open, and adds a comment."""
    editor = checkout.folder.parent / "editor"
    lines = [f"'{NVOI}' credentials {command} >/dev/null || exit" for command in commands]
    editor.write_text("\n".join(["#!/bin/sh", *lines, 'echo "# mine" >>"$1"', ""]))
    editor.chmod(0o700)
    return {"EDITOR": str(editor)}


def test_what_was_edited_while_the_key_was_rotated_is_saved_with_the_new_one(
    checkout: Checkout,
) -> None:
    done = checkout.run("credentials", "edit", **write_editor(checkout, "rotate-key"))
    assert (done.returncode, done.stderr) == (0, "")
    assert checkout.run("credentials", "show").stdout.endswith("# mine\n")
    assert checkout.list_names() == KEPT


def test_what_cannot_be_saved_is_kept_with_the_key_of_now(checkout: Checkout) -> None:
    commands = ("set application.env.A b", "rotate-key")
    done = checkout.run("credentials", "edit", **write_editor(checkout, *commands))
    assert done.returncode == 2
    assert "was changed by others meanwhile" in done.stderr
    assert checkout.read_environment() == {"A": "b"}
    shown = checkout.run("credentials", "show", "--config", "deploy.edited-1.enc")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.endswith("# mine\n")


def test_another_command_is_waited_for_and_named(checkout: Checkout, tmp_path: Path) -> None:
    folder = os.open(checkout.folder, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(
            [NVOI, *build_set(1)], cwd=checkout.folder, env=checkout.environ, stderr=errors
        )
    notice = f"waiting for process {os.getpid()}"
    wait_until(lambda: notice in (tmp_path / "errors").read_text(), notice)
    assert process.poll() is None
    os.close(folder)
    assert process.wait(PATIENCE) == 0
    assert checkout.read_environment() == {"V1": "1"}


def test_a_command_that_never_ends_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nvoi.config.sealing.LOCK_SECONDS", 0.1)
    config = tmp_path / "deploy.enc"
    with (
        hold_folders(config),
        pytest.raises(UsageError, match=f"process {os.getpid()} has been at work") as caught,
        hold_folders(config),
    ):
        pass
    assert caught.value.hint == "wait until it has ended, or end it"
    with hold_folders(config, tmp_path / "deploy.key"):
        pass
