"""The password's file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from nvoi.dashboard.context import read_password
from nvoi.errors import UsageError

PASSWORD = "correct horse battery"


def write(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "password"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_password_is_the_line_of_its_file(tmp_path: Path, end: str) -> None:
    password = read_password(write(tmp_path, f"{PASSWORD}{end}".encode()))
    assert password.reveal() == PASSWORD
    assert str(password) == "[REDACTED]"


def test_spaces_and_letters_of_any_script_are_part_of_it(tmp_path: Path) -> None:
    text = " pässwörter 密码 "
    assert read_password(write(tmp_path, text.encode())).reveal() == text


def test_a_password_may_come_from_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(PASSWORD,))
    writer.start()
    assert read_password(pipe).reveal() == PASSWORD
    writer.join()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UsageError, match=f"open to others.*{mode:04o}.*chmod 600"):
        read_password(write(tmp_path, PASSWORD.encode(), mode))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "12 to 1024 characters"),
        (b"\n", "12 to 1024 characters"),
        (b"eleven-char", "12 to 1024 characters"),
        (b" " * 20, "12 to 1024 characters"),
        (b"x" * 1025, "12 to 1024 characters"),
        (b"first line of it\nsecond", "more than one line"),
        (b"with a \x00 in the middle", "more than one line"),
        (b"\xff" * 20, "not UTF-8"),
        (b"x" * (1 << 21), "larger than 1 MiB"),
    ],
)
def test_a_file_without_a_good_password_is_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        read_password(write(tmp_path, content))
    assert str(tmp_path / "password") in str(caught.value)
    assert "eleven-char" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--password-file: cannot read .*No such file"):
        read_password(tmp_path / "password")
