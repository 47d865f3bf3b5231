from __future__ import annotations

import configparser
import errno
import os
import stat
from pathlib import Path

import pytest

from nvoi.config.schema import AppService, Healthcheck
from nvoi.errors import NvoiError
from nvoi.log import masking
from nvoi.targets.local.conf import Program, build_conf
from nvoi.targets.local.files import is_key_name
from nvoi.targets.local.health import build_check
from nvoi.targets.local.output import Lines
from nvoi.targets.local.state import (
    State,
    build_storage_error,
    list_names,
    remove_tree,
    replace_link,
    write_private,
)
from nvoi.targets.local.tail import read_tail
from nvoi.targets.local.together import Cancel, CancelledError, run_together


@pytest.mark.parametrize(
    ("name", "is_key"),
    [
        ("deploy.key", True),
        ("config/Deploy.KEY", True),
        ("deploy.key.new", True),
        ("config/.deploy.key.new.x7f2k3qa.tmp", True),
        ("deploy.keys.yml", False),
        ("deploy.key.example", False),
    ],
)
def test_a_key_is_known_by_its_names(name: str, is_key: bool) -> None:
    assert is_key_name(name) == is_key


def test_supervisord_restarts_services_and_leaves_trials() -> None:
    text = build_conf(
        [Program("web"), Program("web", trial=True)], identifier="i", socket="s", user=""
    )
    conf = configparser.RawConfigParser()
    conf.read_string(text)
    assert conf["program:service.web"]["autorestart"] == "true"
    assert conf["program:trial.web"]["autorestart"] == "false"
    assert conf["program:trial.web"]["startsecs"] == "0"
    assert "user" not in conf["supervisord"]


def test_a_check_follows_the_service_to_the_port_of_its_trial() -> None:
    check = build_check(AppService("web", port=80, healthcheck=Healthcheck(port=80)), 5000)
    assert check is not None
    assert check.port == 5000


def test_a_check_of_another_port_stays_there() -> None:
    check = build_check(AppService("web", port=80, healthcheck=Healthcheck(port=81)), 5000)
    assert check is not None
    assert check.port == 81


def test_a_service_without_a_healthcheck_is_checked_by_tcp_if_it_has_a_port() -> None:
    assert build_check(AppService("web", port=80), 80) == Healthcheck(type="tcp", port=80)
    assert build_check(AppService("worker"), None) is None


def feed(*chunks: bytes) -> list[str]:
    told: list[str] = []
    lines = Lines(told.append)
    for chunk in chunks:
        lines.feed(chunk)
    lines.finish()
    return told


def test_lines_come_whole_however_they_are_cut() -> None:
    assert feed(b"o", b"ne\ntw", b"o\n\nth", b"ree") == ["one", "two", "", "three"]


def test_a_line_of_exactly_the_largest_size_is_one_piece() -> None:
    assert [len(line) for line in feed(b"x" * 65536 + b"\n" + b"y" * 65537 + b"\n")] == [
        65536,
        65536,
        1,
    ]


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    value = "tailored-s3cret-of-forty-characters-here"
    monkeypatch.setattr(masking, "masker", masking.Masker([value]))
    return value


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("chunk", [1000, 65536, 1 << 20])
def test_a_secret_in_a_huge_line_is_told_in_no_piece(secret: str, end: bytes, chunk: int) -> None:
    for shift in (65536, 131072, 196608):
        data = b"x" * (shift - 20) + secret.encode() + b"y" * 100_000 + end
        told = feed(*(data[begin : begin + chunk] for begin in range(0, len(data), chunk)))
        text = "".join(told)
        assert text == "x" * (shift - 20) + masking.REDACTED + "y" * 100_000
        assert max(map(len, told)) <= 65536


def test_a_character_is_not_cut_in_two() -> None:
    data = ("ä" * 200_000).encode()
    assert "".join(feed(b"x", data, b"\xc3")) == "x" + "ä" * 200_000 + "\ufffd"


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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_called_so(number: int) -> None:
    error = build_storage_error(State(Path("/s/shop")), OSError(number, os.strerror(number)))
    assert error.message.startswith("no room left for the state folder /s/shop")


def test_a_refused_write_names_the_folder_and_the_file() -> None:
    error = build_storage_error(State(Path("/s/shop")), PermissionError(13, "denied", "/s/shop/x"))
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


def test_the_first_failure_ends_the_other_tasks() -> None:
    ended: list[int] = []

    def wait(cancel: Cancel) -> None:
        try:
            cancel.sleep(1000)
        except CancelledError:
            ended.append(1)
            raise

    def fail(cancel: Cancel) -> None:
        raise NvoiError("the first")

    with pytest.raises(NvoiError, match="the first"):
        run_together([wait, fail, wait])
    assert ended == [1, 1]


def test_all_tasks_are_waited_for() -> None:
    done: list[Cancel] = []
    run_together([done.append, done.append])
    assert len(done) == 2
    run_together([])
