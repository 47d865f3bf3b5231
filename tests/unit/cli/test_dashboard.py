"""The password's file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from nvoi.cli.dashboard import read_password
from nvoi.errors import UsageError

PASSWORD = " pässwörter 密码 "


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_password_is_the_line_of_its_file_which_may_be_a_pipe(tmp_path: Path, end: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(f"{PASSWORD}{end}",))
    writer.start()
    password = read_password(pipe)
    writer.join()
    assert password.reveal() == PASSWORD
    assert str(password) == "[REDACTED]"


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"correct horse battery", 0o640, "open to others.*0640.*chmod 600"),
        (b"correct horse battery", 0o602, "open to others.*0602.*chmod 600"),
        (b"\n", 0o600, "12 to 1024 characters"),
        (b"eleven-char", 0o600, "12 to 1024 characters"),
        (b" " * 20, 0o600, "12 to 1024 characters"),
        (b"x" * 1025, 0o600, "12 to 1024 characters"),
        (b"first line of it\nsecond", 0o600, "more than one line"),
        (b"\xff" * 20, 0o600, "not UTF-8"),
        (b"x" * (1 << 21), 0o600, "larger than 1 MiB"),
    ],
)
def test_a_file_without_a_good_password_is_refused(
    tmp_path: Path, content: bytes, mode: int, reason: str
) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(UsageError, match=reason) as caught:
        read_password(path)
    assert str(path) in str(caught.value)
    assert "eleven-char" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--password-file: cannot read .*No such file"):
        read_password(tmp_path / "password")
