from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from nvoi.errors import NvoiError
from nvoi.log import masking
from nvoi.targets.local.state import State, read_tail, storage_errors


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


@pytest.mark.parametrize(
    ("text", "since", "tail"),
    [
        (("x" * 49_999 + "\n") * 4, 0, ["x" * 49_999] * 2),
        ("old\nnew\n", 4, ["new"]),
        ("".join(f"{number}\n" for number in range(25)), 0, [*map(str, range(5, 25))]),
        ("rotated\n", 1000, ["rotated"]),
        (None, 0, []),
    ],
)
def test_a_tail_has_the_last_whole_lines_of_what_is_new(
    tmp_path: Path, text: str | None, since: int, tail: list[str]
) -> None:
    path = tmp_path / "log"
    if text is not None:
        path.write_text(text)
    assert read_tail(path, since) == tuple(tail)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_called_so(number: int) -> None:
    full = "no room left for the state folder /s/shop"
    with pytest.raises(NvoiError, match=full), storage_errors(State(Path("/s/shop"))):
        raise OSError(number, os.strerror(number))
