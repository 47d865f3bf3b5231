from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

import pytest

from nvoi.dashboard import projects
from nvoi.dashboard.database import read_clock
from nvoi.dashboard.projects import Keyring, Project, name_key_file, open_keyring
from nvoi.dashboard.schema import open_database
from nvoi.errors import CredentialsError, UsageError
from nvoi.secret import Secret
from tests.unit.dashboard.stores import KEY, Store, make_start, open_store

HOUR = 3_600_000


def make_key() -> Secret:
    return Secret(secrets.token_hex(32))


def add(store: Store, name: str, key: Secret = KEY) -> Project:
    with store.database.write() as sql:
        return projects.add_project(sql, store.keyring, name, key)


def get_keys(store: Store, project: Project, *, later: int = 0) -> list[Secret]:
    with store.database.read() as sql:
        return list(projects.get_keys(sql, store.keyring, project, now=read_clock() + later))


def rotate(store: Store, name: str, key: Secret, *, grace_seconds: float = 3600) -> None:
    with store.database.write() as sql:
        projects.rotate_key(sql, store.keyring, name, key, grace_seconds=grace_seconds)


def start_with(store: Store, key: Secret) -> Project:
    with store.database.write() as sql:
        return projects.ensure_default_project(sql, store.keyring, key)


def test_tokens_are_of_128_bits_in_characters_for_a_url(store: Store) -> None:
    tokens = {add(store, f"shop{number}").token or "" for number in range(20)}
    assert len(tokens) == 20
    assert all(len(token) == 22 for token in tokens)
    assert set("".join(tokens)) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    )


@pytest.mark.parametrize("name", ["", "A", "-a", "a b", "a/b", "a\n", "é", "٣", "x" * 64])
def test_another_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a project's name"):
        add(store, name)


def test_another_key_of_the_default_project_ends_the_one_before_at_once(store: Store) -> None:
    assert start_with(store, KEY) == store.project
    assert get_keys(store, store.project) == [KEY]
    key = make_key()
    start_with(store, key)
    assert get_keys(store, store.project) == [key]


def test_a_start_with_the_earlier_key_does_not_undo_a_rotation(store: Store) -> None:
    key = make_key()
    rotate(store, "default", key)
    start_with(store, KEY)
    assert get_keys(store, store.project, later=HOUR - 60_000) == [key, KEY]
    assert get_keys(store, store.project, later=HOUR) == [key]


def test_a_second_rotation_does_not_make_the_first_key_last_longer(store: Store) -> None:
    project = add(store, "shop")
    rotate(store, "shop", make_key(), grace_seconds=60)
    rotate(store, "shop", make_key(), grace_seconds=3600)
    assert len(get_keys(store, project)) == 3
    assert len(get_keys(store, project, later=61_000)) == 2


def test_projects_whose_keys_were_deleted_are_given_others(store: Store) -> None:
    shop, key = add(store, "shop"), make_key()
    with store.database.write() as sql:
        sql.execute("DELETE FROM keys")
    rotate(store, "shop", key)
    assert get_keys(store, shop) == get_keys(store, start_with(store, key)) == [key]


def test_a_removed_project_is_gone_with_its_keys_and_deploys(store: Store) -> None:
    project = add(store, "shop")
    receipt = store.send(make_start(), project=project)
    with store.database.write() as sql:
        projects.remove_project(sql, "shop")
        assert projects.find_project_by_token(sql, project.token or "") is None
        assert sql.execute("SELECT count(*) FROM keys").fetchone() == (1,)
    again = add(store, "shop")
    assert again.id != project.id
    assert again.token != project.token
    assert store.send(make_start(), project=again).attempt_id != receipt.attempt_id


# -- keys -----------------------------------------------------------------------------------


def test_the_key_file_is_made_beside_the_database_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "team.sqlite3"
    with open_store(path) as store:
        key_file = tmp_path / "team.key"
        assert key_file.stat().st_mode & 0o777 == 0o600
        assert len(bytes.fromhex(key_file.read_text())) == 32
        assert str(get_keys(store, store.project)) == "[[REDACTED]]"
        for file in tmp_path.glob("*.sqlite3*"):
            content = file.read_bytes()
            assert KEY.reveal().encode() not in content
            assert bytes.fromhex(KEY.reveal()) not in content


def test_a_key_file_that_cannot_be_made_is_told_with_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_names: object, **_options: object) -> None:
        # As on a FAT file system: link(2).
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    database = open_database(tmp_path / "team.sqlite3")
    with pytest.raises(CredentialsError, match=r"write .*team.key: .* has no hard links"):
        open_keyring(database)
    database.close()


@pytest.mark.parametrize(
    ("name", "key_file"),
    [
        ("team.sqlite3", "team.key"),
        # In an app's checkout that one is the app's.
        ("deploy.sqlite3", "deploy.sqlite3.key"),
        ("team.key", "team.key.key"),
    ],
)
def test_the_key_file_has_a_name_of_its_own(name: str, key_file: str) -> None:
    assert name_key_file(Path(name)) == Path(key_file)


def test_what_was_sealed_opens_with_another_opening_of_the_keyring(store: Store) -> None:
    assert open_keyring(store.database).unseal(7, store.keyring.seal(7, KEY)) == KEY


def test_what_was_changed_or_is_of_another_project_or_was_never_sealed_does_not_open(
    store: Store,
) -> None:
    sealed = store.keyring.seal(7, KEY)
    changed = [bytearray(sealed) for _ in range(3)]
    for index, each in zip((0, 12, -1), changed, strict=True):
        each[index] ^= 1
    for project, content in ((8, sealed), *((7, bytes(each)) for each in changed), (7, b"short")):
        with pytest.raises(CredentialsError, match="does not fit"):
            store.keyring.unseal(project, content)


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"0" * 64, 0o640, "can be read by others.*chmod 600"),
        (b"", 0o600, "holds no key"),
        (b"0" * 63, 0o600, "holds no key"),
        ("٣".encode() * 32, 0o600, "holds no key"),
        (b"0" * 64, 0o600, "does not fit"),
    ],
)
def test_a_key_file_that_is_not_the_databases_is_refused(
    store: Store, content: bytes, mode: int, reason: str
) -> None:
    key_file = name_key_file(store.database.path)
    key_file.write_bytes(content)
    key_file.chmod(mode)
    with pytest.raises(CredentialsError, match=reason):
        open_keyring(store.database)


def test_a_key_file_that_is_there_before_the_database_is_used(tmp_path: Path) -> None:
    key, key_file = make_key(), tmp_path / "team.key"
    key_file.write_text(key.reveal())
    key_file.chmod(0o600)
    sealed = open_keyring(open_database(tmp_path / "team.sqlite3")).seal(1, KEY)
    assert Keyring(key_file, key).unseal(1, sealed) == KEY
