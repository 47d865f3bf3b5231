from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nvoi.config.document import Document
from nvoi.config.loader import load
from nvoi.config.nodes import to_data
from nvoi.config.schema import AppService, Config, Volume
from nvoi.errors import ConfigError, UsageError
from nvoi.onboarding.answers import Answers, build_groups, read_answers
from nvoi.onboarding.document import build_document, change_document, compose
from nvoi.onboarding.wizard import describe_trouble
from nvoi.secret import Secret
from tests.unit.onboarding.examples import DATABASES, KEYS, PROVIDERS, build_answers


def read(text: str) -> Config:
    return load(text, filename="f", environ=None)


def values(text: str) -> dict[str, object]:
    data = to_data(Document(text, "f").root)
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize(
    ("provider", "database", "servers"),
    [
        *((provider, "MySQL", 3) for provider in PROVIDERS),
        # Only whether it is this machine says anything of the kind of a database.
        *(("local", database, 1) for database in DATABASES if database != "MySQL"),
        *(("ssh", database, 1) for database in DATABASES),
    ],
)
def test_every_answer_makes_a_config_that_says_it(
    tmp_path: Path, provider: str, database: str, servers: int
) -> None:
    answers = build_answers(provider, database, servers)
    config = read(compose(None, None, answers, tmp_path))
    application = config.application
    assert application.compute_provider == PROVIDERS[provider]
    assert application.cloudflare == answers.cloudflare
    assert dict(application.env) == answers.env
    assert dict(application.secrets) == answers.secrets
    assert [replace(app, servers=()) for app in application.app.values()] == list(answers.apps)
    assert config.callback_url == answers.callback_url
    local = provider == "local"
    assert sum(group.count for group in application.servers.values()) == (0 if local else servers)
    kind = DATABASES[database]
    assert (application.database and application.database.adapter) == (kind and kind.adapter)
    # What was read from it is what it was made of.
    assert build_document(read_answers(config)) == build_document(answers)


def test_the_volume_of_a_database_is_on_the_server_it_runs_on() -> None:
    config = read(build_document(build_answers("hetzner", "PostgreSQL", servers=2)))
    assert config.application.servers["main"].volumes == {"database": Volume("database", 20)}
    assert config.application.database
    assert config.application.database.servers == ("main",)
    assert config.application.app["web"].servers == ("main", "workers")


def test_generated_passwords_are_long_and_each_its_own() -> None:
    first, second = (build_answers("ssh", "MySQL").database for _ in range(2))
    assert first
    assert second
    passwords = {
        secret.reveal()
        for database in (first, second)
        for name, secret in database.secrets.items()
        if name.endswith("PASSWORD")
    }
    assert len(passwords) == 4
    assert min(map(len, passwords)) == 48


def test_what_could_not_be_read_again_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than 1 MiB"):
        compose(None, None, replace(build_answers(), env={"A": "x" * (1 << 20)}), tmp_path)


def test_what_servers_cannot_have_is_not_saved(tmp_path: Path) -> None:
    answers = replace(build_answers("ssh"), name="shop-")
    with pytest.raises(ConfigError) as caught:
        compose(None, None, answers, tmp_path)
    (told,) = describe_trouble(caught.value).splitlines()
    assert told.startswith("! application.name: cannot be in an image's name")
    assert told.endswith("(change it under Application)")


def test_what_servers_can_have_later_is_saved(tmp_path: Path) -> None:
    answers = build_answers("ssh")
    assert answers.apps[0].domain
    assert not (tmp_path / "Dockerfile").exists()
    assert "example.com" in compose(None, None, answers, tmp_path)


FILE = """\
# of the shop
x-common: &common
  LANG: C.UTF-8
callback_url: https://old.example.com/c   # the old one
application:
  name: shop
  keep_count: 5
  compute_provider:
    ssh: {}
  ssh_keys:
    private_key: |
      {key}
    public_key: {public}
  servers:
    box:
      hosts: [one.example.com]
      count: 1
      user: deploy
      private_ip: 10.0.0.1
      volumes:
        data: {size: 50}
        uploads: {}
  # what runs
  app:
    web:
      servers: [box]
      command: serve
      port: 80
      healthcheck: {path: /up}   # quick
      mounts:
        uploads: /uploads
      x-owner: ann
    # at night
    worker:
      servers: [box]
      command: work
  database:
    servers: [box]
    adapter: postgres
    image: postgres:15
    mount: {data: /var/lib/postgresql/data}
    secrets:
      POSTGRES_USER: shop
      POSTGRES_PASSWORD: old-password
      POSTGRES_DB: shop
      PGOPTIONS: -c x=y
  env:
    <<: *common
    A: one   # first
  services:
    redis: {image: redis, servers: [box]}
"""


@pytest.fixture(scope="module")
def text() -> str:
    key = KEYS.private_key.reveal().strip().replace("\n", "\n      ")
    return FILE.replace("{key}", key).replace("{public}", KEYS.public_key)


@pytest.fixture
def before(text: str) -> Answers:
    return read_answers(read(text))


def test_a_file_that_is_not_changed_keeps_every_byte(text: str, before: Answers) -> None:
    assert change_document(text, before, before) == text


def test_what_is_changed_is_all_that_changes(text: str, before: Answers) -> None:
    web, worker = before.apps
    after = replace(
        before,
        callback_url=None,
        apps=(replace(web, port=81, command="serve --all"), worker),
        env={**before.env, "A": "two", "B": "x y"},
        secrets={"KEY": Secret("s3cret")},
    )
    changed = change_document(text, before, after)
    expected = (
        text.replace("callback_url: https://old.example.com/c   # the old one\n", "")
        .replace("command: serve\n", "command: serve --all\n")
        .replace("port: 80\n", "port: 81\n")
        .replace("A: one   # first\n", 'A: two   # first\n    B: "x y"\n')
    )
    assert values(changed) == {
        **values(expected),
        "application": {
            **values(expected)["application"],  # type: ignore[dict-item]
            "secrets": {"KEY": "s3cret"},
        },
    }
    for comment in ("# of the shop", "# quick", "# at night", "# first", "# what runs"):
        assert comment in changed


def test_a_service_that_goes_takes_its_own_keys_and_no_comment_of_others(
    text: str, before: Answers
) -> None:
    changed = change_document(text, before, replace(before, apps=before.apps[1:]))
    assert list(read(changed).application.app) == ["worker"]
    assert "# at night" in changed


def test_a_new_service_runs_where_there_are_servers(text: str, before: Answers) -> None:
    after = replace(before, apps=(*before.apps, AppService("cron", command="tick")))
    assert read(change_document(text, before, after)).application.app["cron"].servers == ("box",)


def test_other_hosts_leave_no_count_of_the_old_ones(text: str, before: Answers) -> None:
    groups = (replace(before.groups[0], hosts=("two.example.com",)),)
    changed = change_document(text, before, replace(before, groups=groups))
    group = read(changed).application.servers["box"]
    assert group.hosts == ("two.example.com",)
    assert group.private_ip == "10.0.0.1"
    assert set(group.volumes) == {"data", "uploads"}


def test_the_host_keys_of_own_servers_go_where_others_are_rented(text: str) -> None:
    known = f"      user: deploy\n      host_keys: [{KEYS.public_key}]\n"
    text = text.replace("      user: deploy\n", known)
    before = read_answers(read(text))
    changed = change_document(text, before, replace(before, provider=PROVIDERS["hetzner"]))
    assert read(changed).application.servers["box"].host_keys == ()


@pytest.mark.parametrize("provider", ["local", "ssh", "hetzner"])
def test_another_provider_keeps_what_is_not_its_own_business(
    text: str, before: Answers, provider: str
) -> None:
    groups = before.groups
    if provider not in {"local", "ssh"}:
        groups = build_groups(count=2, before=before.groups)
    after = replace(before, provider=PROVIDERS[provider], groups=groups)
    application = read(change_document(text, before, after)).application
    assert application.compute_provider == PROVIDERS[provider]
    assert set(application.services["redis"].servers) <= set(application.servers)
    assert application.keep_count == 5
    assert dict(application.app["web"].mounts) == {"uploads": "/uploads"}
    assert application.database
    home = application.servers[application.database.servers[0]]
    assert set(home.volumes) == {"data", "uploads"}


def test_servers_that_are_rented_now_are_as_many_as_those_that_were_named() -> None:
    named = build_answers("ssh", servers=3)
    text = build_document(named)
    hired = replace(named, provider=PROVIDERS["hetzner"])
    servers = read(change_document(text, named, hired)).application.servers
    assert [group.count for group in servers.values()] == [1, 2]
    back = change_document(change_document(text, named, hired), hired, named)
    assert values(back) == values(text)


def test_a_database_that_goes_leaves_its_volume(text: str, before: Answers) -> None:
    changed = change_document(text, before, replace(before, database=None, volume=None))
    assert read(changed).application.database is None
    assert read(changed).application.servers["box"].volumes["data"].size == 50


def test_a_value_that_others_share_is_refused_and_named(text: str, before: Answers) -> None:
    env = {"A": "one"}
    with pytest.raises(UsageError, match=r"application\.env\.LANG"):
        change_document(text, before, replace(before, env=env))
