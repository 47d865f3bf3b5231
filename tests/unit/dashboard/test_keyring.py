from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from nvoi.dashboard.database import open_database
from nvoi.dashboard.keyring import Keyring, name_key_file, open_keyring
from nvoi.errors import CredentialsError
from nvoi.secret import Secret
from tests.unit.dashboard.stores import KEY, Store, open_store


def test_the_key_file_is_made_beside_the_database_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "team.sqlite3"
    with open_store(path):
        key_file = tmp_path / "team.key"
        assert name_key_file(path) == key_file
        assert key_file.stat().st_mode & 0o777 == 0o600
        assert len(bytes.fromhex(key_file.read_text())) == 32


def test_the_key_file_is_never_the_deploy_key_of_an_app(tmp_path: Path) -> None:
    deploy_key = tmp_path / "deploy.key"
    deploy_key.write_text("e" * 64)
    deploy_key.chmod(0o600)
    with open_store(tmp_path / "deploy.sqlite3"):
        assert len((tmp_path / "deploy.sqlite3.key").read_text().strip()) == 64
    assert deploy_key.read_text() == "e" * 64


def test_a_key_is_nowhere_in_the_database_as_text(tmp_path: Path) -> None:
    path = tmp_path / "team.sqlite3"
    with open_store(path):
        files = [file for file in tmp_path.iterdir() if file.suffix != ".key"]
        assert path in files
        for file in files:
            content = file.read_bytes()
            assert KEY.reveal().encode() not in content
            assert bytes.fromhex(KEY.reveal()) not in content


def test_what_was_sealed_opens_with_another_opening_of_the_keyring(store: Store) -> None:
    sealed = store.keyring.seal(7, KEY)
    assert open_keyring(store.database).unseal(7, sealed).reveal() == KEY.reveal()


def test_a_sealed_key_does_not_open_for_another_project(store: Store) -> None:
    sealed = store.keyring.seal(7, KEY)
    with pytest.raises(CredentialsError, match="does not fit"):
        store.keyring.unseal(8, sealed)


@pytest.mark.parametrize("index", [0, 12, -1])
def test_a_sealed_key_that_was_changed_does_not_open(store: Store, index: int) -> None:
    sealed = bytearray(store.keyring.seal(7, KEY))
    sealed[index] ^= 1
    with pytest.raises(CredentialsError, match="does not fit"):
        store.keyring.unseal(7, bytes(sealed))


@pytest.mark.parametrize("sealed", [b"", b"short", b"x" * 12])
def test_what_is_too_short_to_be_sealed_does_not_open(store: Store, sealed: bytes) -> None:
    with pytest.raises(CredentialsError, match="does not fit"):
        store.keyring.unseal(7, sealed)


def test_a_key_file_that_others_may_read_is_refused(store: Store, tmp_path: Path) -> None:
    name_key_file(store.database.path).chmod(0o640)
    with pytest.raises(CredentialsError, match="can be read by others") as caught:
        open_keyring(store.database)
    assert caught.value.hint.startswith("chmod 600 ")


@pytest.mark.parametrize(
    "content", [b"", b"no key", b"0" * 63, b"0" * 65, b"\xff" * 64, "٣".encode() * 32]
)
def test_a_file_that_holds_no_key_is_refused(store: Store, content: bytes) -> None:
    name_key_file(store.database.path).write_bytes(content)
    with pytest.raises(CredentialsError, match="holds no key"):
        open_keyring(store.database)


def test_the_key_file_of_another_database_is_refused(store: Store) -> None:
    name_key_file(store.database.path).write_text(secrets.token_hex(32))
    with pytest.raises(CredentialsError, match="does not fit"):
        open_keyring(store.database)


def test_a_key_file_that_is_there_before_the_database_is_used(tmp_path: Path) -> None:
    path = tmp_path / "team.sqlite3"
    other = Secret(secrets.token_hex(32))
    key_file = name_key_file(path)
    key_file.write_text(other.reveal())
    key_file.chmod(0o600)
    database = open_database(path)
    sealed = open_keyring(database).seal(1, KEY)
    database.close()
    assert Keyring(key_file, other).unseal(1, sealed).reveal() == KEY.reveal()


def test_a_folder_in_the_key_files_place_is_refused(tmp_path: Path) -> None:
    database = open_database(tmp_path / "team.sqlite3")
    (tmp_path / "team.key").mkdir()
    with pytest.raises(CredentialsError, match="cannot read"):
        open_keyring(database)
    database.close()


def test_a_database_that_is_called_like_a_key_file_has_another_beside_it(tmp_path: Path) -> None:
    with open_store(tmp_path / "team.key") as store:
        assert name_key_file(store.database.path) == tmp_path / "team.key.key"
        assert (tmp_path / "team.key.key").exists()
