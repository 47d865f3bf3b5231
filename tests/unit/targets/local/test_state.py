from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from nvoi.config.schema import Application, Config, LocalProvider
from nvoi.errors import NvoiError
from nvoi.log import masking
from nvoi.operation import Request
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.rollout import SWITCH
from nvoi.targets.local.state import StateFolder, read_tail, storage_errors
from tests.waiting import run_program


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
    with pytest.raises(NvoiError, match=full), storage_errors(StateFolder(Path("/s/shop"))):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.E2BIG, errno.EMFILE])
def test_what_the_disk_is_no_cause_of_is_told_as_it_is(number: int) -> None:
    with (
        pytest.raises(OSError, match=os.strerror(number)),
        storage_errors(StateFolder(Path("/s/shop"))),
    ):
        raise OSError(number, os.strerror(number), "/bin/sh")


def test_what_an_undo_is_refused_names_the_folder_and_the_file(tmp_path: Path) -> None:
    request = Request(Config(Application("shop", LocalProvider())), tmp_path, tmp_path, "1")
    state = StateFolder(tmp_path)
    (tmp_path / "releases/20260101000000").mkdir(parents=True)
    state.set_current("20260101000000")
    context = LocalContext(request, state, has_switched=True)
    (tmp_path / ".current.new").mkdir()
    assert SWITCH.undo
    told = rf"the state folder {tmp_path} cannot be used: .* \({tmp_path}/\.current\.new\)"
    with pytest.raises(NvoiError, match=told):
        SWITCH.undo(context)


def test_a_private_file_is_utf8_in_every_locale_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "web.sh"
    path.write_text("old")
    path.chmod(0o644)
    script = (
        "import sys; from pathlib import Path; from nvoi.targets.local.state import write_text; "
        r"write_text(Path(sys.argv[1]), '\u20ac \udcff')"
    )
    environ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run_program(sys.executable, "-c", script, path, environ={**os.environ, **environ})
    assert path.read_bytes() == b"\xe2\x82\xac \xff"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [*tmp_path.iterdir()] == [path]
