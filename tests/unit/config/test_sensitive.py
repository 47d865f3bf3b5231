from __future__ import annotations

import time
from base64 import b64encode

import pytest

from nvoi.config.loader import load
from nvoi.config.sensitive import collect_secrets
from tests.unit.config.texts import EVERY_KEY, keys, local, parse


def test_every_secret_of_a_config_is_collected_once() -> None:
    found = list(collect_secrets(parse(EVERY_KEY.read_text())))
    assert sorted(found) == sorted(
        [
            "hetzner-t0ken",
            "cloudflare-t0ken",
            keys()["PRIVATE_KEY"],
            "s3cret-key-base",
            "0042",
            "app",
            "p@ss/word",
            "app_production",
            "c4llback-pw",
            "c4che-pw",
            "hub-pa55word",
            b64encode(b"acme:hub-pa55word").decode(),
            "r0bot-pa55word",
            b64encode(b"robot:r0bot-pa55word").decode(),
        ]
    )


def test_passwords_inside_urls_are_collected_as_written_and_decoded() -> None:
    text = local("""\
        env: {SEARCH: "https://u:s%40arch@h, https://u:other%21@h"}
        secrets: {BROKER: "amqp://u:br%40ker@h"}
        app: {web: {command: "curl https://u:c%40mmand@h", pre_run_command: "x://u:pr%40run@h",
                    env: {X: "x://u:s%40rvice@h"}}}
        services: {r: {image: r, env: {X: "x://:aux%40@h"}}}
        database: {adapter: postgres, url: "postgres://u:d%40tabase@h/d"}
    """)
    config = load(f"callback_url: http://u:c%40ll@h/\n{text}", filename="f", environ=None)
    found = set(collect_secrets(config))
    for word in ("s%40arch", "other%21", "br%40ker", "c%40mmand", "pr%40run", "s%40rvice"):
        assert {word, word.replace("%40", "@").replace("%21", "!")} <= found
    assert {"aux%40", "aux@", "c%40ll", "c@ll", "d%40tabase", "d@tabase"} <= found
    assert "postgres://u:d%40tabase@h/d" in found


def test_a_token_in_place_of_a_user_is_a_secret_of_the_callback_url() -> None:
    config = load(f"callback_url: http://t0ken@h/\n{local()}", filename="f", environ=None)
    assert list(collect_secrets(config)) == ["t0ken"]


def test_a_database_url_without_a_password_is_no_secret() -> None:
    config = parse(local("database: {adapter: postgres, url: 'postgres://u@h/d'}"))
    assert list(collect_secrets(config)) == []


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://h/d?user=u&password=s3cret-w", "s3cret-w"),
        ("postgresql:///d?sslpassword=s3cret%20w&host=h", "s3cret w"),
        ("mysql://h/d?user=u;PWD=s3cret-w#x", "s3cret-w"),
    ],
)
def test_a_password_among_the_parameters_makes_the_whole_database_url_a_secret(
    url: str, password: str
) -> None:
    text = local(f"database: {{adapter: sqlite3, mount: {{d: /d}}, url: '{url}'}}\n")
    assert {url, password} <= set(collect_secrets(parse(text)))


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("redis://:p#SECRET@host/0", "p#SECRET"),
        ("amqp://u:pa/ss?wo@host/v", "pa/ss?wo"),
        ("redis://:p@ss#word@host/0", "p@ss#word"),
        ("redis://:p#SECRET@host/0?mail=a@example.com", "p#SECRET"),
        ("redis://:p://word@host/0", "p://word"),
        ("redis://:one#1@h,redis://:two#2@h", "two#2"),
        ('curl "https://h/hook?a=1&access_token=t0ken-t0ken"', "t0ken-t0ken"),
        ("curl https://h/?client_secret=t0ken-t0ken#top", "t0ken-t0ken"),
        ("https://h/?api_key=t0ken;t0ken", "t0ken;t0ken"),
    ],
)
def test_a_password_is_found_where_a_url_does_not_escape_it(text: str, password: str) -> None:
    config = load(local(f"app: {{web: {{command: '{text}'}}}}"), filename="f", environ=None)
    assert password in set(collect_secrets(config))


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:3000/@me",
        "https://h/users/@me",
        "https://h/?tokens=12345&bypass=12345",
        "https://h/?token=",
        "git@h:a/b@c",
    ],
)
def test_a_url_without_a_password_holds_no_secret(url: str) -> None:
    assert list(collect_secrets(parse(local(f"env: {{A: '{url}'}}")))) == []


def test_a_piece_of_a_password_is_not_taken_for_a_password() -> None:
    config = parse(local("env: {A: 'redis://u:admin@123@h/0'}"))
    assert list(collect_secrets(config)) == ["admin@123"]


def test_a_long_text_full_of_signs_is_searched_at_once() -> None:
    signs = "://:" * 20_000 + "://a:" + "@" * 50_000 + "?&token" * 20_000
    config = parse(local(f"env: {{A: '{signs}'}}"))
    start = time.process_time()
    list(collect_secrets(config))
    assert time.process_time() - start < 5
