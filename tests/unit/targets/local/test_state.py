from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from nvoi.errors import NvoiError
from nvoi.log import masking
from nvoi.targets.local.state import (
    State,
    list_names,
    read_tail,
    remove_tree,
    replace_link,
    storage_errors,
    write_private,
)


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    value = "tailored-s3cret-of-forty-characters-here"
    monkeypatch.setattr(masking, "masker", masking.Masker([value]))
    return value


@pytest.mark.parametrize("follows", ["y" * 65_516, "\n" + "y" * 65_500 + "\nend\n"])
def test_a_secret_that_a_tail_begins_in_is_not_shown(
    tmp_path: Path, secret: str, follows: str
) -> None:
    path = tmp_path / "log"
    for before in range(0, 131_072, 65_536):
        path.write_text("x" * 70_000 + secret + "z" * before + follows)
        text = "\n".join(read_tail(path))
        assert "characters-here" not in text
        assert "yyy" in text


def test_a_tail_begins_with_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(("x" * 49_999 + "\n") * 4)
    assert set(map(len, read_tail(path))) == {49_999}


def test_a_tail_begins_after_what_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"old\n" + b"".join(b"%d\n" % number for number in range(25)))
    assert read_tail(path, since=4)[0] == "5"
    assert read_tail(path, since=path.stat().st_size - 3) == ("24",)


def test_a_tail_of_a_rotated_log_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"new\n")
    assert read_tail(path, since=1000) == ("new",)


def test_a_tail_of_nothing_is_empty(tmp_path: Path) -> None:
    assert read_tail(tmp_path / "missing") == ()


def refuse(error: OSError) -> NvoiError:
    """What is told of a disk that refuses with ``error``."""
    with pytest.raises(NvoiError) as caught, storage_errors(State(Path("/s/shop"))):
        raise error
    return caught.value


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_called_so(number: int) -> None:
    error = refuse(OSError(number, os.strerror(number)))
    assert error.message.startswith("no room left for the state folder /s/shop")


def test_a_refused_write_names_the_folder_and_the_file() -> None:
    error = refuse(PermissionError(13, "denied", "/s/shop/x"))
    assert error.message == "the state folder /s/shop cannot be used: denied (/s/shop/x)"
    assert "NVOI_HOME" in error.hint


def test_a_private_file_is_replaced_whole_and_for_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new \udcff")
    assert path.read_bytes() == b"new \xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list_names(tmp_path) == ["file"]


def test_a_link_is_replaced(tmp_path: Path) -> None:
    replace_link(tmp_path / "link", Path("one"))
    replace_link(tmp_path / "link", Path("two"))
    assert (tmp_path / "link").readlink() == Path("two")


def test_a_tree_is_removed_without_what_its_links_point_at(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/link").symlink_to(tmp_path / "kept")
    (tmp_path / "tree/deep").chmod(0o500)
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "tree")
    assert list_names(tmp_path) == ["kept"]


def test_the_release_that_serves_is_none_when_its_folder_is_gone(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert state.find_current() is None
    state.set_current("20260101000000")
    assert state.find_current() is None
    (state.releases / "20260101000000").mkdir(parents=True)
    assert state.find_current() == "20260101000000"
    state.set_current(None)
    assert state.find_current() is None
