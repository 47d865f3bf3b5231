from __future__ import annotations

import os
import socket
import stat
import subprocess
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.targets.local.context import open_context
from nvoi.targets.local.snapshot import SNAPSHOT, build_name
from tests.integration.targets.local.application import App


@pytest.fixture
def app(folder: Path) -> App:
    """An app of which nothing is ever started."""
    return App(folder)


@pytest.fixture
def checkout(app: App) -> App:
    """An app in a git checkout of its own."""
    git(app.directory, "init", "--quiet", ".")
    return app


@pytest.fixture(params=["with git", "without"])
def either(app: App, request: pytest.FixtureRequest) -> App:
    if request.param == "with git":
        git(app.directory, "init", "--quiet", ".")
    return app


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *identity, *words], cwd=folder, env=environ, check=True)


def commit(folder: Path) -> None:
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "all")


def take(app: App, **settings: Any) -> set[str]:
    """Take a snapshot; the names of the files, links and empty folders in it."""
    release = take_folder(app, **settings)
    return {
        str(path.relative_to(release))
        for path in release.rglob("*")
        if path.is_symlink() or not path.is_dir() or not any(path.iterdir())
    }


def take_folder(app: App, **settings: Any) -> Path:
    app.services["worker"] = {"command": "true"}
    with open_context(app.build_request(**settings)) as context:
        SNAPSHOT.run(context)
        return context.state.releases / context.release


def test_a_release_has_what_git_tracks_or_does_not_ignore_also_of_a_hook(checkout: App) -> None:
    checkout.write("tracked/deep", "x")
    checkout.write("gone").touch()
    checkout.write(".env")
    commit(checkout.directory)
    (checkout.directory / "gone").unlink()
    checkout.write(".gitignore", "*.log\nnode_modules\n")
    checkout.write("new")
    checkout.write("trace.log")
    checkout.write("node_modules/lib")
    checkout.environ |= {"GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/nowhere/index"}
    assert take(checkout) == {"server.py", "tracked/deep", ".env", ".gitignore", "new"}


def test_a_folder_of_a_checkout_can_be_deployed_alone(checkout: App) -> None:
    checkout.write("apps/shop/main", "x")
    checkout.write("apps/other/main", "x")
    checkout.write(".gitignore", "ignored\n")
    checkout.write("apps/shop/ignored", "x")
    checkout.directory = checkout.directory / "apps/shop"
    assert take(checkout) == {"main"}


def test_a_folder_that_the_checkout_around_it_ignores_is_deployed_whole(checkout: App) -> None:
    checkout.write(".gitignore", "build\n")
    checkout.write("build/main", "x")
    checkout.directory = checkout.directory / "build"
    assert take(checkout) == {"main"}


def test_submodules_and_checkouts_in_the_checkout_are_in_the_release(checkout: App) -> None:
    library = App(checkout.home.parent / "lib")
    library.write(".gitignore", "ignored\n")
    library.write("code", "x")
    git(library.directory, "init", "--quiet", ".")
    commit(library.directory)
    git(checkout.directory, "submodule", "--quiet", "add", str(library.directory), "vendor/lib")
    commit(checkout.directory)
    checkout.write("vendor/lib/ignored")
    checkout.write("nested/file")
    git(checkout.directory / "nested", "init", "--quiet", ".")
    names = take(checkout)
    assert {"vendor/lib/code", "vendor/lib/.gitignore", "nested/file"} <= names
    assert "vendor/lib/ignored" not in names
    assert not any("/.git/" in f"/{name}/" for name in names)


def test_without_git_ignored_files_are_deployed_with_a_warning(
    checkout: App, caplog: pytest.LogCaptureFixture
) -> None:
    checkout.write(".gitignore", "*.log\n")
    checkout.write("trace.log")
    checkout.environ["PATH"] = str(checkout.home)
    assert take(checkout) == {"server.py", ".gitignore", "trace.log"}
    assert "git is not installed" in caplog.text


def test_a_checkout_that_git_cannot_read_is_deployed_with_a_warning(
    checkout: App, caplog: pytest.LogCaptureFixture
) -> None:
    (checkout.directory / ".git/HEAD").write_text("broken")
    assert take(checkout) == {"server.py"}
    assert "git cannot list" in caplog.text


def test_a_folder_that_is_no_checkout_is_deployed_without_vcs_folders(app: App) -> None:
    for name in (".hg/store", ".svn/entries", "CVS/Root", ".jj/repo", "sub/.bzr/x", "sub/code"):
        app.write(name)
    (app.directory / "empty").mkdir()
    assert take(app) == {"server.py", "sub/code", "empty"}


def test_an_encrypted_config_is_in_no_release(either: App) -> None:
    own = either.write("config/prod.enc", "e")
    (either.directory / "again").hardlink_to(own)
    for name in ("deploy.enc", "api/Deploy.enc", ".deploy.enc.x7_q", "deploy.edited-1.enc"):
        either.write(name, "e")
    either.write("config/credentials.yml.enc", "of Rails")
    plain = either.write("deploy.yml", "plain")
    kept = {"server.py", "config/credentials.yml.enc", "deploy.yml"}
    assert take(either, config_file=own) == kept
    assert take(either, config_file=plain) == kept | {"config/prod.enc", "again"}


@pytest.mark.parametrize("name", ["deploy.key", "keys/prod"])
def test_a_key_is_in_a_release_under_none_of_its_names(either: App, name: str) -> None:
    key = either.write(name, "k")
    ignored = either.write("config/deploy.key", "k")
    # What a rotation that was killed leaves is one too.
    either.write(f"{name}.new", "k")
    either.write(f"{key.parent.relative_to(either.directory)}/.{key.name}.x7_q", "k")
    either.write("config/deploy.key.old", "k")
    either.write(".gitignore", "config/deploy.key\n")
    either.write("app/Deploy.Key", "k")
    either.write("keys/product", "x")
    (either.directory / "again").hardlink_to(key)
    (either.directory / "shown").symlink_to(name)
    (either.directory / "other").hardlink_to(ignored)
    assert take(either, key_file=key) == {"server.py", ".gitignore", "keys/product"}


def test_what_holds_the_private_key_of_ssh_keys_is_not_in_a_release(
    either: App, caplog: pytest.LogCaptureFixture
) -> None:
    pair, other = generate_ssh_keys("shop"), generate_ssh_keys("other")
    private = pair.private_key.reveal()
    either.config["ssh_keys"] = {"private_key": private, "public_key": pair.public_key}
    either.write("keys/id", private)
    either.write("deploy.yml", "private_key: |\n" + textwrap.indent(private, "    "))
    either.write("keys/id.pub", pair.public_key)
    either.write("keys/other", other.private_key.reveal())
    assert take(either) == {"server.py", "keys/id.pub", "keys/other"}
    assert "keys/id is left out: it holds a key" in caplog.messages


@pytest.mark.parametrize("home", [".", "state", "state/deep"])
def test_nvois_own_state_in_the_checkout_is_not_in_a_release(either: App, home: str) -> None:
    either.home = either.directory / home
    take(either)
    # The folder that the state is in is the user's own.
    assert take(either) - {"state"} == {"server.py"}


def test_settings_of_a_developer_are_in_no_release_where_no_git_tells(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (".env", "sub/.env.local", ".env.test.local", ".env.example", ".environment"):
        app.write(name)
    assert take(app) == {"server.py", ".env.example", ".environment"}
    (told,) = [message for message in caplog.messages if "left out" in message]
    assert "left out .env, .env.test.local, sub/.env.local;" in told


def test_a_key_outside_the_checkout_and_one_that_has_gone_take_nothing_away(app: App) -> None:
    app.write("prod.key", "of something else")
    assert take(app, key_file=app.home.parent / "prod.key") == {"server.py", "prod.key"}


def test_no_apps_state_is_in_a_release_of_a_checkout_that_a_link_names(app: App) -> None:
    app.home = app.directory / "state"
    app.write("state/other/releases/1/secret", "x")
    link = app.home.parent.parent / "link"
    link.symlink_to(app.directory)
    app.directory = link
    assert take(app) - {"state"} == {"server.py"}


def test_a_tracked_folder_that_is_a_link_now_is_a_link_in_the_release(checkout: App) -> None:
    checkout.write("data/f", "x")
    checkout.write("data/deep/g", "x")
    commit(checkout.directory)
    (checkout.directory / "data").rename(checkout.home.parent / "moved")
    (checkout.directory / "data").symlink_to(checkout.home.parent / "moved")
    release = take_folder(checkout)
    assert (release / "data").readlink() == checkout.home.parent / "moved"


def test_links_stay_links_and_modes_and_times_stay(app: App) -> None:
    script = app.write("bin/run", "x")
    script.chmod(0o750)
    os.utime(script, (1_000_000_000, 1_000_000_000))
    (app.directory / "link").symlink_to("bin/run")
    (app.directory / "broken").symlink_to("/no/such/file")
    (app.directory / "folder").symlink_to("bin")
    release = take_folder(app)
    assert (release / "link").readlink() == Path("bin/run")
    assert (release / "broken").readlink() == Path("/no/such/file")
    assert (release / "folder").readlink() == Path("bin")
    status = (release / "bin/run").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o750, 1_000_000_000)


def test_pipes_and_sockets_are_passed_over(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(app.directory / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(app.directory / "socket"))
    assert take(app) == {"server.py"}


def test_names_of_any_bytes_are_copied(checkout: App) -> None:
    names = {b"new\nline", b"caf\xe9", "schön".encode(), b" quote'\""}
    for name in names:
        (checkout.directory / os.fsdecode(name)).touch()
    assert {os.fsencode(name) for name in take(checkout)} == names | {b"server.py"}


def test_a_large_release_says_what_is_copied_and_how_much(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for name, size in (("node_modules/a/big", 40), ("node_modules/b", 20), ("photo", 9)):
        with app.write(name).open("wb") as file:
            file.truncate(size * 1_000_000)
    take(app)
    told = "copying 69 MB in 4 files: node_modules 60 MB, photo 9 MB, server.py"
    assert caplog.messages[0].startswith(told)
    assert caplog.messages[1].endswith(f": 4 files, 69 MB, from {app.directory}")


def test_release_names_grow_also_in_one_second_and_with_the_clock_set_back(app: App) -> None:
    now = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
    app.state.releases.mkdir(parents=True)
    names = []
    for moment in (now, now, now.replace(year=2020)):
        names.append(build_name(app.state, moment))
        (app.state.releases / names[-1]).mkdir()
    assert names == ["20260131235959", "20260201000000", "20260201000001"]
