from __future__ import annotations

import secrets

import pytest

from nvoi.dashboard import projects
from nvoi.dashboard.database import read_clock
from nvoi.dashboard.projects import Project, find_option, store_option
from nvoi.errors import UsageError
from nvoi.secret import Secret
from tests.unit.dashboard.stores import KEY, Store, make_start

HOUR = 3_600_000


def make_key() -> Secret:
    return Secret(secrets.token_hex(32))


def add(store: Store, name: str, key: Secret = KEY) -> Project:
    with store.database.write() as connection:
        return projects.add_project(connection, store.keyring, name, key)


def get_keys(store: Store, project: Project, *, later: int = 0) -> list[str]:
    with store.database.read() as connection:
        keys = projects.get_keys(connection, store.keyring, project, now=read_clock() + later)
    return [key.reveal() for key in keys]


def rotate(store: Store, name: str, key: Secret, *, grace_seconds: float = 3600) -> None:
    with store.database.write() as connection:
        projects.rotate_key(connection, store.keyring, name, key, grace_seconds=grace_seconds)


def test_an_added_project_is_found_by_its_name_and_token(store: Store) -> None:
    project = add(store, "shop")
    assert project.token is not None
    with store.database.read() as connection:
        assert projects.find_project(connection, "shop") == project
        assert projects.find_project_by_token(connection, project.token) == project
        assert projects.find_project_by_token(connection, "unknown") is None
        assert [each.name for each in projects.list_projects(connection)] == ["default", "shop"]
    assert get_keys(store, project) == [KEY.reveal()]


def test_tokens_are_of_128_bits_in_characters_for_a_url(store: Store) -> None:
    tokens = {add(store, f"shop{number}").token or "" for number in range(20)}
    assert len(tokens) == 20
    assert all(len(token) == 22 for token in tokens)
    assert set("".join(tokens)) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    )


@pytest.mark.parametrize(
    "name",
    ["", "A", "-a", "_a", "a b", "a/b", "..", "a\n", "\n", "é", "٣", "x" * 64, "a\x00"],
)
def test_another_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a project's name"):
        add(store, name)


def test_the_default_project_keeps_its_key_when_it_is_the_same(store: Store) -> None:
    with store.database.write() as connection:
        again = projects.ensure_default_project(connection, store.keyring, KEY)
    assert again == store.project
    assert get_keys(store, store.project) == [KEY.reveal()]


def test_another_key_of_the_default_project_ends_the_one_before_at_once(store: Store) -> None:
    key = make_key()
    with store.database.write() as connection:
        projects.ensure_default_project(connection, store.keyring, key)
    assert get_keys(store, store.project) == [key.reveal()]


def test_a_start_with_the_earlier_key_does_not_undo_a_rotation(store: Store) -> None:
    key = make_key()
    rotate(store, "default", key)
    with store.database.write() as connection:
        projects.ensure_default_project(connection, store.keyring, KEY)
    assert get_keys(store, store.project) == [key.reveal(), KEY.reveal()]
    assert get_keys(store, store.project, later=HOUR) == [key.reveal()]


def test_a_rotated_key_is_valid_for_its_grace(store: Store) -> None:
    project = add(store, "shop")
    key = make_key()
    rotate(store, "shop", key)
    assert get_keys(store, project) == [key.reveal(), KEY.reveal()]
    assert get_keys(store, project, later=HOUR - 60_000) == [key.reveal(), KEY.reveal()]
    assert get_keys(store, project, later=HOUR) == [key.reveal()]


def test_a_second_rotation_does_not_make_the_first_key_last_longer(store: Store) -> None:
    project = add(store, "shop")
    rotate(store, "shop", make_key(), grace_seconds=60)
    rotate(store, "shop", make_key(), grace_seconds=3600)
    assert len(get_keys(store, project)) == 3
    assert len(get_keys(store, project, later=61_000)) == 2


def test_projects_whose_keys_were_deleted_are_given_others(store: Store) -> None:
    shop, key = add(store, "shop"), make_key()
    with store.database.write() as connection:
        connection.execute("DELETE FROM keys")
    rotate(store, "shop", key)
    with store.database.write() as connection:
        default = projects.ensure_default_project(connection, store.keyring, key)
    assert get_keys(store, shop) == get_keys(store, default) == [key.reveal()]


def test_a_removed_project_is_gone_with_its_keys_and_deploys(store: Store) -> None:
    project = add(store, "shop")
    receipt = store.send(make_start(), project=project)
    with store.database.write() as connection:
        projects.remove_project(connection, "shop")
    with store.database.read() as connection:
        assert projects.find_project(connection, "shop") is None
        assert projects.find_project_by_token(connection, project.token or "") is None
        row = connection.execute("SELECT count(*) FROM keys WHERE project_id = ?", (project.id,))
        assert row.fetchone()[0] == 0
    again = add(store, "shop")
    assert again.id != project.id
    assert again.token != project.token
    assert store.send(make_start(), project=again).attempt_id != receipt.attempt_id


def test_keys_do_not_show_themselves(store: Store) -> None:
    with store.database.read() as connection:
        keys = projects.get_keys(connection, store.keyring, store.project)
    assert str(keys) == "([REDACTED],)"


def test_an_option_is_what_was_stored_last(store: Store) -> None:
    with store.database.write() as connection:
        assert find_option(connection, "public_url") is None
        store_option(connection, "public_url", "https://one")
        store_option(connection, "public_url", "https://two")
        assert find_option(connection, "public_url") == "https://two"
