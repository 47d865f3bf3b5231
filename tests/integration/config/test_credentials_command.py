"""``nvoi config`` and ``nvoi credentials`` on real files, with real editors and a real Ruby."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from nvoi.cli import config, credentials
from nvoi.cli.commands import build_parser
from nvoi.config.credentials import get_key
from nvoi.config.loader import load, load_file
from nvoi.config.sealing import decrypt, encrypt
from nvoi.errors import ConfigError, CredentialsError, InputError, UsageError
from tests.waiting import PATIENCE, run_program, wait_for_text

ROOT = Path(__file__).parents[3]
#: The key, and what a command that was killed may leave of it and of the config.
LINES = ("deploy.key*", ".deploy.key*", ".deploy.enc.*")


def run(*arguments: str | Path, environ: Mapping[str, str] | None = None) -> int:
    words = [str(argument) for argument in arguments]
    options = build_parser(words).parse_args(words)
    command = {"config": config.run, "credentials": credentials.run}[options.module]
    return command(options, environ or {})


@pytest.fixture
def app(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with a new config in it."""
    folder = tmp_path / "app"
    folder.mkdir()
    assert run("config", "init", "--name", "shop", "-d", folder) == 0
    capsys.readouterr()
    return folder


def text_of(folder: Path) -> str:
    key = get_key(folder, environ={})
    return decrypt((folder / "deploy.enc").read_bytes(), key.value).decode()


# config init


def test_init_makes_a_config_that_loads_and_a_key_only_its_owner_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("config", "init", "--name", "shop", "-d", tmp_path) == 0
    key = get_key(tmp_path, environ={})
    assert key.warning is None
    config = load_file(tmp_path / "deploy.enc", key=key, environ={})
    assert config.application.name == "shop"
    assert config.application.app["web"].port == 8000
    assert config.application.ssh_keys is not None
    assert (tmp_path / "deploy.enc").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / ".gitignore").read_text().splitlines() == [*LINES]
    assert (tmp_path / ".dockerignore").read_text().splitlines() == [f"**/{line}" for line in LINES]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".dockerignore",
        ".gitignore",
        "deploy.enc",
        "deploy.key",
    ]
    output = capsys.readouterr().out
    assert "nvoi credentials edit" in output
    assert key.value.reveal() not in output


@pytest.mark.parametrize("provider", ["local", "ssh", "hetzner", "aws", "scaleway"])
def test_init_makes_a_valid_config_for_every_provider(tmp_path: Path, provider: str) -> None:
    run("config", "init", "--name", "my_shop", "-d", tmp_path, "--provider", provider)
    # CX22 is no longer rented.
    assert ("server_type: cx23\n" in text_of(tmp_path)) == (provider == "hetzner")
    load_file(tmp_path / "deploy.enc", key=get_key(tmp_path, environ={}), environ={})


def test_the_key_pair_of_a_new_config_is_one_that_ssh_keygen_knows(app: Path) -> None:
    keys = load(text_of(app), filename="f", environ=None).application.ssh_keys
    assert keys is not None
    path = app / "id"
    path.touch(mode=0o600)
    path.write_text(keys.private_key.reveal())
    derived = run_program("ssh-keygen", "-y", "-f", path)
    assert derived.split()[:2] == keys.public_key.split()[:2]


@pytest.mark.parametrize(
    "name", ["deploy.enc", "deploy.key", "config/deploy.enc", "config/deploy.key"]
)
def test_init_overwrites_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="exists, and is not overwritten"):
        run("config", "init", "--name", "shop", "-d", tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"A\nB\nC\n"),
        (b"*.pyc", b"*.pyc\nA\nB\nC\n"),
        (b"*.pyc\n", b"*.pyc\nA\nB\nC\n"),
        (b"B \r\n*.pyc\n", b"B \r\n*.pyc\nA\nC\n"),
        (b"x\nC\nB\nA", b"x\nC\nB\nA"),
        (b"\xff\n", b"\xff\nA\nB\nC\n"),
    ],
)
@pytest.mark.parametrize(("name", "prefix"), [(".gitignore", b""), (".dockerignore", b"**/")])
def test_init_adds_the_lines_that_an_ignore_file_lacks(
    tmp_path: Path, name: str, prefix: bytes, before: bytes, after: bytes
) -> None:
    def fill(text: bytes) -> bytes:
        for sign, line in zip((b"A", b"B", b"C"), LINES, strict=True):
            text = text.replace(sign, prefix + line.encode())
        return text

    (tmp_path / name).write_bytes(fill(before))
    run("config", "init", "--name", "shop", "-d", tmp_path)
    assert (tmp_path / name).read_bytes() == fill(after)


def test_init_leaves_nothing_behind_where_it_fails(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--name must be lower-case letters"):
        run("config", "init", "--name", "My Shop", "-d", tmp_path)
    for name in (".gitignore", ".dockerignore"):
        (tmp_path / name).mkdir()
        with pytest.raises(UsageError, match=rf"\{name} is no file"):
            run("config", "init", "--name", "shop", "-d", tmp_path)
        (tmp_path / name).rmdir()
    with pytest.raises(UsageError, match="there is no directory"):
        run("config", "init", "--name", "shop", "-d", tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []


def test_init_says_so_where_another_key_is_in_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("config", "init", "--name", "shop", "-d", tmp_path, environ={"DEPLOY_KEY": "x"})
    assert "$DEPLOY_KEY is set" in capsys.readouterr().out


# show, get, set


def test_show_prints_the_config_as_it_was_written(
    app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("credentials", "show", "-d", app) == 0
    assert capsys.readouterr().out == text_of(app)


def test_get_prints_a_value_or_a_section(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("credentials", "get", "-d", app, "application.app.web.port")
    assert capsys.readouterr().out == "8000\n"
    run("credentials", "get", "-d", app, "application.app.web.healthcheck")
    assert capsys.readouterr().out == "path: /\n"
    run("credentials", "set", "-d", app, "application.app.web.env.PIN", "0042")
    run("credentials", "set", "-d", app, "application.app.web.env.TEXT", "two\nlines\n")
    capsys.readouterr()
    run("credentials", "get", "-d", app, "application.app.web")
    assert capsys.readouterr().out == (
        'command: python3 -m http.server --bind 127.0.0.1 "$PORT"\n'
        "port: 8000\nhealthcheck:\n  path: /\n"
        'env:\n  PIN: "0042"\n  TEXT: |\n    two\n    lines\n'
    )
    with pytest.raises(UsageError, match=r"did you mean application\.app\.web\.port\?"):
        run("credentials", "get", "-d", app, "application.app.web.prot")


def test_set_writes_what_the_key_holds(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, value in (
        ("application.app.web.port", "3000"),
        ("application.env.PORT_TEXT", "3000"),
        ("application.env.FLAG", "true"),
        ("application.servers.main.master", "true"),
        ("application.app.web.servers", "main"),
        ("application.domain_provider.cloudflare", "x"),
    ):
        if path.endswith("cloudflare"):
            with pytest.raises(ConfigError, match="must be a section"):
                run("credentials", "set", "-d", app, path, value)
        else:
            assert run("credentials", "set", "-d", app, path, value) == 0
            assert capsys.readouterr().out == f"{path} is set in {app / 'deploy.enc'}\n"
    text = text_of(app)
    assert "port: 3000\n" in text
    assert 'PORT_TEXT: "3000"\n' in text
    assert 'FLAG: "true"\n' in text
    assert "master: true\n" in text
    config = load(text, filename="f", environ=None)
    assert config.application.app["web"].servers == ("main",)


def test_set_reads_a_secret_from_stdin(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for given, expected in ((b"s3cret: #1\n", "s3cret: #1"), (b" two\nlines\n\n", " two\nlines\n")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        run("credentials", "set", "-d", app, "application.secrets.TOKEN", "-")
        config = load(text_of(app), filename="f", environ=None)
        assert config.application.secrets["TOKEN"].reveal() == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    with pytest.raises(UsageError, match="not UTF-8"):
        run("credentials", "set", "-d", app, "application.secrets.TOKEN", "-")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("application.app.web.port", "99999", "must be a port"),
        ("application.app.web.prot", "1", "did you mean port"),
        ("application.app.web", "x", "is a section"),
        ("application.env.A", "\udcff", "control characters"),
    ],
)
def test_set_leaves_the_file_untouched_unless_the_new_one_is_valid(
    app: Path, path: str, value: str, message: str
) -> None:
    before = (app / "deploy.enc").read_bytes()
    with pytest.raises(InputError, match=message):
        run("credentials", "set", "-d", app, path, value)
    assert (app / "deploy.enc").read_bytes() == before


def test_a_config_and_key_elsewhere_can_be_named(
    app: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (app / "deploy.key").rename(tmp_path / "my.key")
    (app / "deploy.enc").rename(tmp_path / "prod.enc")
    (tmp_path / "my.key").chmod(0o644)
    options = ["-c", str(tmp_path / "prod.enc"), "--key-file", str(tmp_path / "my.key")]
    run("credentials", "get", *options, "application.name")
    captured = capsys.readouterr()
    assert captured.out == "shop\n"
    assert captured.err.startswith(f"warning: {tmp_path / 'my.key'} is open to other users")


def test_what_cannot_be_opened_is_told(app: Path, tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"\$DEPLOY_KEY is not its key, or the file is"):
        run("credentials", "show", "-d", app, environ={"DEPLOY_KEY": "0" * 64})
    with pytest.raises(CredentialsError, match="there is no config"):
        run("credentials", "show", "-d", tmp_path)
    (app / "deploy.key").unlink()
    with pytest.raises(CredentialsError, match="there is no deploy key"):
        run("credentials", "show", "-d", app)
    (tmp_path / "deploy.yml").touch()
    with pytest.raises(UsageError, match="is not encrypted"):
        run("credentials", "show", "-c", tmp_path / "deploy.yml")


# edit

Editor = Callable[[str], dict[str, str]]


@pytest.fixture
def editor(tmp_path: Path) -> Editor:
    """Makes an editor of a shell script that finds the file in $1, its own notes in $NOTES."""

    def make(script: str) -> dict[str, str]:
        path = tmp_path / "my editor.sh"
        notes = tmp_path / "notes"
        notes.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\nset -e\nNOTES='{notes}'\n{script}\n")
        path.chmod(0o700)
        return {"EDITOR": f"'{path}'"}

    return make


def edit(app: Path, environ: Mapping[str, str]) -> None:
    run("credentials", "edit", "-d", app, environ=environ)


def test_edit_saves_what_the_editor_leaves_whose_file_is_private_and_goes(
    app: Path, editor: Editor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = text_of(app).replace("port: 8000", "port: 3000")
    look = 'stat -c %a "$1" "$(dirname "$1")" > "$NOTES/modes"; echo "$1" > "$NOTES/path"'
    edit(app, editor(f'{look}; cp "$1" "$1~"; sed -i "s/port: 8000/port: 3000/" "$1"'))
    assert text_of(app) == expected
    assert capsys.readouterr().out == f"{app / 'deploy.enc'} is saved\n"
    assert (tmp_path / "notes" / "modes").read_text() == "600\n700\n"
    path = Path((tmp_path / "notes" / "path").read_text().strip())
    assert path.suffix == ".yml"
    assert not path.parent.exists()


BREAK_THEN_MEND = """
if [ ! -e "$NOTES/first" ]; then
    sed -i "s/port: 8000/port: many/" "$1"
    cp "$1" "$NOTES/first"
else
    cp "$1" "$NOTES/second"
    sed -i "s/port: many/port: 3000/" "$1"
fi
"""


def test_edit_opens_again_on_a_fault_and_shows_it_where_it_stands(
    app: Path, editor: Editor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = text_of(app).replace("port: 8000", "port: 3000")
    edit(app, editor(BREAK_THEN_MEND))
    assert text_of(app) == expected
    shown = (tmp_path / "notes" / "second").read_text().splitlines()
    line = next(number for number, text in enumerate(shown, start=1) if "port: many" in text)
    fault = f"deploy.yml:{line}:13: application.app.web.port: must be a port, 1 to 65535"
    assert any(text == f"#nvoi! {fault}" for text in shown)
    assert shown[0].startswith("#nvoi! The config was not saved")
    assert "application.app.web.port: must be a port" in capsys.readouterr().err


@pytest.mark.parametrize("script", ["true", BREAK_THEN_MEND.replace("port: 3000", "port: 8000")])
def test_edit_writes_nothing_where_the_text_is_as_it_was(
    app: Path, editor: Editor, script: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (app / "deploy.enc").read_bytes()
    edit(app, editor(script))
    assert (app / "deploy.enc").read_bytes() == before
    assert capsys.readouterr().out == f"{app / 'deploy.enc'} is as it was\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('echo broken > "$1"; exit 3', "the editor ended with 3; nothing was changed"),
        ('rm "$1"', r"cannot read .*deploy\.yml"),
        ('head -c 2000000 /dev/zero > "$1"', "larger than 1 MiB"),
        ("printf '\\377' > \"$1\"", "not UTF-8"),
        ('sed -i "s/port: 8000/port: many/" "$1"', "not saved: its faults are still there"),
    ],
)
def test_an_editor_that_fails_leaves_the_file_untouched(
    app: Path, editor: Editor, script: str, message: str
) -> None:
    before = (app / "deploy.enc").read_bytes()
    with pytest.raises(InputError, match=message):
        edit(app, editor(script))
    assert (app / "deploy.enc").read_bytes() == before


def test_visual_comes_before_editor_and_an_empty_one_does_not_count(
    app: Path, editor: Editor, capsys: pytest.CaptureFixture[str]
) -> None:
    works = editor("true")["EDITOR"]
    edit(app, {"VISUAL": works, "EDITOR": "false"})
    edit(app, {"VISUAL": " ", "EDITOR": works})
    edit(app, {"EDITOR": f"env X=1 {works}"})
    assert capsys.readouterr().out.count("is as it was") == 3


@pytest.mark.parametrize(
    ("command", "message"),
    [("/no/such/editor", "cannot run the editor /no/such/editor"), ("vi 'x", "quote is left open")],
)
def test_an_editor_that_cannot_be_run_is_named(app: Path, command: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        edit(app, {"EDITOR": command})


READY = 'echo "# mine" >> "$1"; echo "$1" > "$NOTES/p"; mv "$NOTES/p" "$NOTES/path"\n'
LOOP = "while :; do read line || :; done"


def signal_edit(
    app: Path, environ: Mapping[str, str], folder: Path, number: int, *, is_typed: bool
) -> tuple[int, str]:
    """Send a signal to ``nvoi credentials edit``, and its editor as well where it is typed.

    Returns:
        The exit code and the errors. Nothing temporary is left.
    """
    (folder / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "nvoi", "credentials", "edit", "-d", app],
        cwd=ROOT,
        env={**os.environ, **environ, "VISUAL": "", "TMPDIR": str(folder / "tmp")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        path = Path(wait_for_text(folder / "notes" / "path").strip())
        assert path.exists()
        (os.killpg if is_typed else os.kill)(process.pid, number)
        _, errors = process.communicate(timeout=PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    assert list((folder / "tmp").iterdir()) == []
    return process.returncode, errors.decode()


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGINT, "Ctrl-C"),
        (signal.SIGTERM, "SIGTERM"),
        (signal.SIGHUP, "SIGHUP"),
        (signal.SIGQUIT, "SIGQUIT"),
    ],
)
def test_a_signal_that_ends_the_editor_leaves_neither_the_edited_file_nor_a_change(
    app: Path, editor: Editor, tmp_path: Path, number: signal.Signals, name: str
) -> None:
    before = (app / "deploy.enc").read_bytes()
    code, errors = signal_edit(app, editor(f"{READY}cat"), tmp_path, number, is_typed=True)
    assert errors == f"nvoi: interrupted ({name}); the config was not saved\n"
    assert code == 128 + number
    assert (app / "deploy.enc").read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_nvoi_alone_ends_the_editor_too(
    app: Path, editor: Editor, tmp_path: Path, number: signal.Signals
) -> None:
    ending = f"trap 'echo ended > \"$NOTES/ended\"; exit 1' {number.name.removeprefix('SIG')}\n"
    environ = editor(ending + READY + LOOP)
    assert signal_edit(app, environ, tmp_path, number, is_typed=False)[0] == 128 + number
    assert (tmp_path / "notes" / "ended").read_text() == "ended\n"


def test_an_editor_that_does_not_end_on_a_signal_is_killed(
    app: Path, editor: Editor, tmp_path: Path
) -> None:
    environ = editor(f"trap '' TERM\n{READY}exec cat")
    assert signal_edit(app, environ, tmp_path, signal.SIGTERM, is_typed=False)[0] == 143


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_an_editor_may_use_ctrl_c_for_itself(
    app: Path, editor: Editor, tmp_path: Path, number: signal.Signals
) -> None:
    expected = text_of(app) + "# mine\n"
    trap = f"trap 'caught=1' {number.name.removeprefix('SIG')}\n"
    environ = editor(f'{trap}{READY}while [ -z "$caught" ]; do read line || :; done')
    assert signal_edit(app, environ, tmp_path, number, is_typed=True) == (0, "")
    assert text_of(app) == expected


@pytest.mark.parametrize("change", ["sed -i s/x/y/ {}; echo >> {}", "rm {}"])
def test_edit_overwrites_no_change_that_others_made_and_keeps_the_text(
    app: Path, editor: Editor, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = text_of(app)
    path = app / "deploy.enc"
    saved = path.read_bytes()
    environ = editor(
        f"""{change.replace("{}", f"'{path}'")}\nsed -i 's/port: 8000/port: 3000/' "$1\""""
    )
    for number in (1, 2):
        path.write_bytes(saved)
        with pytest.raises(UsageError, match="was changed by others meanwhile") as caught:
            edit(app, environ)
        kept = app / f"deploy.edited-{number}.enc"
        assert f"nvoi credentials show --config {kept}" in str(caught.value)
        assert not path.exists() or path.read_bytes() != saved
        assert kept.stat().st_mode & 0o777 == 0o600
        run("credentials", "show", "--config", kept)
        assert capsys.readouterr().out == text.replace("port: 8000", "port: 3000")


HOLD = """
flock -F '{}' sh -c 'echo held >"$0/held"; exec sleep 60' "$NOTES" >/dev/null 2>&1 &
until [ -e "$NOTES/held" ]; do sleep 0.05; done
echo "# mine" >>"$1"
"""


def test_a_text_is_kept_where_another_command_does_not_end(
    app: Path, editor: Editor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Afterwards there is time for the other one to end.
    with monkeypatch.context() as hurried:
        hurried.setattr("nvoi.config.sealing.LOCK_SECONDS", 0.1)
        with pytest.raises(UsageError, match=r"process \d+ has been at work") as caught:
            edit(app, editor(HOLD.replace("{}", str(app))))
    os.kill(int(caught.value.message.split()[1]), signal.SIGKILL)
    assert "deploy.edited-1.enc, encrypted with the same key" in caught.value.hint
    run("credentials", "show", "-c", app / "deploy.edited-1.enc")
    assert capsys.readouterr().out.endswith("# mine\n")


# rotate-key


def test_rotate_key_gives_the_config_a_new_key_and_keeps_its_text(
    app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, old = text_of(app), get_key(app, environ={})
    assert run("credentials", "rotate-key", "-d", app) == 0
    new = get_key(app, environ={})
    assert new.value.reveal() != old.value.reveal()
    assert new.warning is None
    assert text_of(app) == text
    with pytest.raises(CredentialsError):
        decrypt((app / "deploy.enc").read_bytes(), old.value)
    output = capsys.readouterr().out
    assert f"project rotate-key NAME --key-file {app / 'deploy.key'}" in output
    assert new.value.reveal() not in output
    assert sorted(path.name for path in app.iterdir()) == [
        ".dockerignore",
        ".gitignore",
        "deploy.enc",
        "deploy.key",
    ]


def test_a_key_of_the_environment_is_not_rotated(app: Path) -> None:
    key = (app / "deploy.key").read_text().strip()
    (app / "deploy.key").unlink()
    before = (app / "deploy.enc").read_bytes()
    with pytest.raises(UsageError, match=r"the key comes from \$DEPLOY_KEY.*--key-file"):
        run("credentials", "rotate-key", "-d", app, environ={"DEPLOY_KEY": key})
    assert (app / "deploy.enc").read_bytes() == before


def test_a_key_that_opens_nothing_is_no_rotation_s(app: Path) -> None:
    """Where no key opens the config, none of them is taken for the wrong one."""
    new, key = app / "deploy.key.new", app / "deploy.key"
    new.write_text("ab" * 32)
    key.write_text("cd" * 32)
    with pytest.raises(CredentialsError, match=r"deploy\.key is not its key"):
        run("credentials", "rotate-key", "-d", app)
    assert (new.read_text(), key.read_text()) == ("ab" * 32, "cd" * 32)


def test_a_key_from_a_pipe_is_read_once(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.write(writing, (app / "deploy.key").read_bytes())
    os.close(writing)
    (app / "deploy.key").unlink()
    assert run("credentials", "show", "-d", app, "--key-file", f"/dev/fd/{reading}") == 0
    assert capsys.readouterr().out.startswith("#")
    os.close(reading)


def test_a_text_that_was_kept_is_not_left_without_its_key(app: Path, editor: Editor) -> None:
    command = f"'{sys.executable}' -m nvoi credentials set -d '{app}' application.environment new"
    environ = editor(f"""cd '{ROOT}'\n{command} > /dev/null\necho "# mine" >> "$1\"""")
    with pytest.raises(UsageError, match="was changed by others"):
        edit(app, environ)
    before = (app / "deploy.enc").read_bytes()
    with pytest.raises(UsageError, match=r"deploy\.edited-1\.enc was kept by an earlier edit"):
        run("credentials", "rotate-key", "-d", app)
    assert (app / "deploy.enc").read_bytes() == before
    (app / "deploy.edited-1.enc").unlink()
    run("credentials", "rotate-key", "-d", app)


# Ruby

RUBY = """
require "openssl"; require "yaml"; require "json"
cipher = OpenSSL::Cipher.new("aes-256-gcm").decrypt
data = File.binread(ARGV[0])
cipher.key, cipher.iv, cipher.auth_tag = [ARGV[1]].pack("H*"), data[0, 12], data[-16, 16]
puts YAML.load(cipher.update(data[12...-16]) + cipher.final)["application"]["env"].to_json
"""


def test_ruby_reads_what_set_wrote_as_nvoi_does(app: Path) -> None:
    words = {"A": "yes", "B": "0123", "C": "a: b #c", "D": "3.10", "E": "two\nlines\n", "F": "~"}
    for name, value in words.items():
        run("credentials", "set", "-d", app, f"application.env.{name}", value)
    key = get_key(app, environ={}).value.reveal()
    assert json.loads(run_program("ruby", "-e", RUBY, app / "deploy.enc", key)) == words


def test_a_plain_file_under_another_name_is_said_to_be_damaged(app: Path, tmp_path: Path) -> None:
    path = tmp_path / "deploy.enc"
    path.write_text(text_of(app))
    with pytest.raises(CredentialsError, match="not its key, or the file is damaged"):
        run("credentials", "show", "-c", path, "--key-file", app / "deploy.key")
    path.write_bytes(encrypt(b"", get_key(app, environ={}).value))
    with pytest.raises(ConfigError, match="the document is empty"):
        run("credentials", "get", "-c", path, "--key-file", app / "deploy.key", "a")
