from __future__ import annotations

from pathlib import Path

import pytest

from nvoi.errors import CredentialsError
from nvoi.files import list_temporaries, read_file, write_private


def test_a_file_is_written_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deploy.enc"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "deploy.enc", tmp_path / "deploy.enc"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_private(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deploy.enc"
    path.mkdir()
    (path / "inside").touch()
    with pytest.raises(CredentialsError, match=r"cannot write .*deploy\.enc"):
        write_private(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_write_has_left_is_told_from_the_files_of_others(tmp_path: Path) -> None:
    left = tmp_path / ".deploy[1].enc.x7.tmp"
    for path in (left, *(tmp_path / name for name in (".deploy[1].enc.swp", ".deploy1.enc.x.tmp"))):
        path.touch()
    assert list_temporaries(tmp_path / "deploy[1].enc") == [left]
    assert list_temporaries(tmp_path / "gone" / "deploy.enc") == []


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_what_may_not_be_replaced_stays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "deploy.key"
    if kind == "file":
        path.write_bytes(b"old")
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(CredentialsError, match="File exists"):
        write_private(path, b"new", replace=False)
    assert list(tmp_path.iterdir()) == [path]
    assert path.is_symlink() or path.read_bytes() == b"old"


def test_a_file_above_one_mebibyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deploy.enc"
    path.write_bytes(b"x" * (1 << 20))
    assert len(read_file(path)) == 1 << 20
    path.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(CredentialsError, match="larger than 1 MiB"):
        read_file(path)


def test_an_endless_file_is_refused() -> None:
    with pytest.raises(CredentialsError, match="larger than 1 MiB"):
        read_file(Path("/dev/zero"))


def test_a_name_with_a_nul_character_is_refused() -> None:
    with pytest.raises(CredentialsError, match="NUL"):
        read_file(Path("a\0b"))
