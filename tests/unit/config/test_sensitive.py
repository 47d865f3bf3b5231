from __future__ import annotations

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


def test_both_keys_of_aws_are_secrets() -> None:
    aws = "{aws: {access_key_id: AK1, secret_access_key: SK1, region: r, instance_type: t, "
    text = local("servers: {a: {}}\nssh_keys: {private_key: $PRIVATE_KEY, public_key: $PUBLIC_KEY}")
    config = parse(text.replace("{local: {}}", f"{aws}architecture: arm64}}}}"))
    assert {"AK1", "SK1"} < set(collect_secrets(config))
