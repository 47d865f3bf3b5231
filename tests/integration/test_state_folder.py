"""nvoi's own folder: who may change it, and what is refused."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integration.commands import build_environment, call_nvoi

APPLICATION = {"name": "tiny", "compute_provider": {"local": {}}, "app": {}}
#: Commands that make something in nvoi's own folder.
DELETE = ("delete", "--yes", "-c", "deploy.yml")
DASHBOARD = ("dashboard", "project", "add", "blog")

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root gives folders away")


def run(
    folder: Path, home: Path, words: Sequence[str] = DELETE
) -> subprocess.CompletedProcess[str]:
    """Run a command with ``home`` as nvoi's own folder."""
    (folder / "deploy.yml").write_text(json.dumps({"application": APPLICATION}))
    environ = build_environment(folder) | {"NVOI_HOME": str(home)}
    before = os.umask(0)
    try:
        return call_nvoi(*words, folder=folder, environ=environ)
    finally:
        os.umask(before)


def read_mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def make(path: Path, mode: int, owner: int | None = None) -> Path:
    """A folder of this mode, and owner, whatever the umask."""
    path.mkdir()
    path.chmod(mode)
    if owner is not None:
        os.chown(path, owner, -1)
    return path


@pytest.mark.parametrize("words", [DELETE, DASHBOARD])
def test_what_is_missing_is_made_for_its_owner_alone(tmp_path: Path, words: Sequence[str]) -> None:
    done = run(tmp_path, tmp_path / "state" / "nvoi", words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_mode(tmp_path / "state") == 0o700
    assert read_mode(tmp_path / "state" / "nvoi") == 0o700


def test_a_folder_that_others_could_read_is_closed(tmp_path: Path) -> None:
    home = make(tmp_path / "home", 0o755)
    (home / "undelivered.d").mkdir()
    assert run(tmp_path, home).returncode == 0
    assert read_mode(home) == 0o700


def test_a_folder_with_other_things_in_it_stays_as_it_is(tmp_path: Path) -> None:
    home = make(tmp_path / "home", 0o755)
    (home / "photos").mkdir()
    assert run(tmp_path, home).returncode == 0
    assert read_mode(home) == 0o755


@pytest.mark.parametrize("words", [DELETE, DASHBOARD, ("deploy", "-c", "deploy.yml")])
@pytest.mark.parametrize("name", ["open", "open/below/nvoi"])
def test_a_folder_that_others_may_write_to_is_refused(
    tmp_path: Path, words: Sequence[str], name: str
) -> None:
    place = make(tmp_path / "open", 0o777)
    done = run(tmp_path, tmp_path / name, words)
    assert done.returncode == 2
    assert f"others may write to {place}" in done.stdout + done.stderr
    assert f"chmod go-w {place}, or set NVOI_HOME" in done.stdout + done.stderr
    assert list(place.iterdir()) == []


def test_a_link_is_followed_and_what_it_leads_through_counts(tmp_path: Path) -> None:
    place = make(tmp_path / "open", 0o777)
    (place / "mine").mkdir(0o700)
    (tmp_path / "link").symlink_to("open/../open/mine")
    done = run(tmp_path, tmp_path / "link" / "nvoi")
    assert done.returncode == 2
    assert f"others may write to {place}" in done.stdout
    place.chmod(0o755)
    assert run(tmp_path, tmp_path / "link" / "nvoi").returncode == 0
    (tmp_path / "round").symlink_to("round")
    assert "too many links" in run(tmp_path, tmp_path / "round").stdout


def test_a_sticky_folder_keeps_what_is_in_it(tmp_path: Path) -> None:
    place = make(tmp_path / "sticky", 0o1777)
    assert run(tmp_path, place / "nvoi").returncode == 0
    done = run(tmp_path, place)
    assert done.returncode == 2
    assert f"others may write to {place}" in done.stdout
    assert read_mode(place) == 0o1777


@needs_root
@pytest.mark.parametrize("name", ["nvoi", "nvoi/tiny"])
def test_what_another_user_has_made_is_refused(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.parent.mkdir(exist_ok=True)
    make(place, 0o755, owner=65534)
    done = run(tmp_path, tmp_path / "nvoi")
    assert done.returncode == 2
    assert f"{place} belongs to the user nobody" in done.stdout
    assert "set NVOI_HOME to a folder of your own" in done.stdout


@needs_root
def test_another_user_s_link_is_refused(tmp_path: Path) -> None:
    place = make(tmp_path / "sticky", 0o1777)
    (place / "link").symlink_to(make(tmp_path / "mine", 0o700))
    os.chown(place / "link", 65534, -1, follow_symlinks=False)
    done = run(tmp_path, place / "link" / "nvoi")
    assert done.returncode == 2
    assert f"{place / 'link'} belongs to the user nobody" in done.stdout
