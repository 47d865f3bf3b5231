from __future__ import annotations

import contextlib
import random
import re
from pathlib import Path

import pytest

from nvoi.config.loader import load, load_file
from nvoi.config.schema import (
    AWSProvider,
    Healthcheck,
    HetznerProvider,
    K3s,
    LocalProvider,
    Resources,
    ScalewayProvider,
    Security,
    ServerGroup,
    SSHProvider,
    Volume,
)
from nvoi.config.sealing import DeployKey, encrypt, generate_key
from nvoi.config.sensitive import collect_secrets
from nvoi.errors import ConfigError, CredentialsError
from nvoi.secret import Secret
from tests.unit.config.texts import EVERY_KEY, fault, faults, hetzner, keys, local, parse, ssh


def test_every_key_is_read() -> None:
    config = parse(EVERY_KEY.read_text())
    app = config.application
    assert config.callback_url == "https://ops:c4llback-pw@dashboard.example.com/callbacks"
    assert (app.name, app.environment, app.keep_count) == ("every_key", "staging", 5)
    assert app.env == {
        "REGION": "us",
        "LOG_LEVEL": "info",
        "PORT_OF_CACHE": "6379",
        "FEATURE": "true",
        "RATIO": "1.10",
        "CACHE_URL": "redis://:c4che-pw@cache:6379/0",
    }
    assert {name: value.reveal() for name, value in app.secrets.items()} == {
        "SECRET_KEY_BASE": "s3cret-key-base",
        "PIN": "0042",
    }
    assert app.ssh_keys is not None
    assert app.ssh_keys.private_key.reveal() == keys()["PRIVATE_KEY"]
    assert app.ssh_keys.public_key == keys()["PUBLIC_KEY"]
    assert isinstance(app.compute_provider, HetznerProvider)
    assert app.compute_provider.api_token.reveal() == "hetzner-t0ken"
    assert app.compute_provider.architecture == "arm64"
    assert {name: one.username for name, one in app.registries.items()} == {
        "docker.io": "acme",
        "registry.example.com:5000": "robot",
    }
    assert app.registries["docker.io"].password.reveal() == "hub-pa55word"
    assert app.cloudflare is not None
    assert (app.cloudflare.api_token.reveal(), app.cloudflare.account_id) == (
        "cloudflare-t0ken",
        "123456",
    )


def test_every_key_of_servers_and_services_is_read() -> None:
    app = parse(EVERY_KEY.read_text()).application
    volumes = {"database": Volume("database", 20), "uploads": Volume("uploads", 10)}
    assert app.servers == {
        "main": ServerGroup("main", master=True, type="cx33", location="fsn1", volumes=volumes),
        "workers": ServerGroup("workers", count=2),
    }
    web = app.app["web"]
    assert (web.servers, web.port, web.domain, web.subdomain) == (
        ("main",),
        3000,
        "Example.com",
        "@",
    )
    assert web.healthcheck == Healthcheck("http", "/up", 3001, None, 0.5, 60.0, 7)
    assert (web.env, web.mounts, web.replicas) == (
        {"FEATURE": "off"},
        {"uploads": "/app/uploads"},
        2,
    )
    assert app.app["worker"].servers == ("main", "workers")
    assert app.database is not None
    assert (app.database.adapter, app.database.engine, app.database.image) == (
        "postgres",
        "postgres",
        "postgres:16",
    )
    assert app.database.mount == {"database": "/var/lib/postgresql/data"}
    assert app.database.secrets["POSTGRES_PASSWORD"].reveal() == "p@ss/word"
    redis = app.services["redis"]
    assert (redis.servers, redis.image, redis.port, redis.env) == (
        ("workers",),
        "redis:7",
        6379,
        {"MODE": "cache"},
    )
    assert app.services["search"].mount == {"uploads": "/data"}


def test_commands_keep_their_dollars() -> None:
    app = parse(EVERY_KEY.read_text()).application
    assert app.app["web"].command == "bin/serve --port $PORT $$"
    assert app.app["web"].pre_run_command == 'bin/migrate "$DATABASE_URL"'
    assert app.app["worker"].healthcheck == Healthcheck("exec", command="test -f $READY")
    assert app.services["redis"].command == 'redis-server --save "$SAVE"'


def test_a_short_config_has_the_documented_defaults() -> None:
    config = parse(local("app: {web: {healthcheck: {}, port: 80}}"))
    app = config.application
    assert config.callback_url is None
    assert (app.environment, app.keep_count, app.env, app.secrets) == ("production", 2, {}, {})
    assert app.app["web"].healthcheck == Healthcheck("http", "/health", None, None, 10.0, 5.0, 3)
    assert isinstance(app.compute_provider, LocalProvider)
    web = app.app["web"]
    assert (web.pre_run_timeout, web.min_ready, web.replicas, web.image) == (600, 10, None, None)
    assert web.resources == Resources(None, None, None, None, None)
    assert web.security == Security((), privilege_escalation=False)
    assert app.k3s == K3s(None, "https://get.k3s.io", None, None, {}, True, 7, "10Mi", 3)


def test_a_keep_count_of_0_stands_for_the_default() -> None:
    assert parse(local("        keep_count: 0\n")).application.keep_count == 2


def test_keys_without_a_value_are_as_if_they_were_absent() -> None:
    text = local("""\
        environment:
        keep_count: ~
        env:
        secrets: null
        servers:
        database:
        services:
        domain_provider: {cloudflare: }
        app:
          web: {command: "", port: , domain: " ", subdomain: "", healthcheck: , mounts: }
    """)
    app = parse(f"callback_url:\n{text}").application
    assert (app.environment, app.keep_count, app.database) == ("production", 2, None)
    assert app.app["web"].healthcheck is None
    assert app.app["web"].command is None


@pytest.mark.parametrize(
    ("section", "provider"),
    [("{local: }", LocalProvider()), ("{local: {}}", LocalProvider()), ("{ssh: }", SSHProvider())],
)
def test_a_provider_without_keys_may_stand_there_without_a_value(
    section: str, provider: object
) -> None:
    text = ssh("servers: {a: {host: 10.0.0.1}}").replace("{ssh: {}}", section)
    assert parse(text).application.compute_provider == provider


@pytest.mark.parametrize(
    ("section", "account", "secrets"),
    [
        (
            "aws: {access_key_id: AK1, secret_access_key: SK1, region: r, instance_type: t, %s}",
            AWSProvider(Secret("AK1"), Secret("SK1"), "r", "t", "arm64"),
            {"AK1", "SK1"},
        ),
        (
            "scaleway: {secret_key: SK1, project_id: P, server_type: s, %s}",
            ScalewayProvider(Secret("SK1"), "P", "s", "arm64", "fr-par-1"),
            {"SK1"},
        ),
    ],
)
def test_an_account_is_read_and_its_keys_are_secret(
    section: str, account: object, secrets: set[str]
) -> None:
    config = parse(re.sub(r"hetzner: {.*}", section % "architecture: arm64", hetzner()))
    assert config.application.compute_provider == account
    assert secrets <= {*collect_secrets(config)}


def test_existing_words_for_true_are_read() -> None:
    for word in ("true", "yes", "on", "True", "YES"):
        text = hetzner(servers=f"servers: {{a: {{master: {word}}}, b: {{master: off}}}}")
        servers = parse(text).application.servers
        assert (servers["a"].master, servers["b"].master) == (True, False)


# Faults


def test_all_faults_come_at_once_in_the_order_of_their_lines() -> None:
    text = hetzner("""\
        keep_count: many
        app:
          web:
            servers: [main, mian]
            prot: 3000
            port: 70000
        database: {servers: [main], adapter: oracle}
        secretz: {}
    """)
    with pytest.raises(ConfigError) as caught:
        load(f"callback_url: nowhere\n{text}", filename="app/deploy.yml", environ=keys())
    assert str(caught.value).split("\n") == [
        (
            "app/deploy.yml:1:15: callback_url: must be an http or https URL with a host, and no "
            "query, fragment, space or bare %"
        ),
        "app/deploy.yml:9:15: application.keep_count: must be a whole number from 1",
        (
            "app/deploy.yml:12:23: application.app.web.servers.1: there is no such server group; "
            "did you mean main?"
        ),
        "app/deploy.yml:13:7: application.app.web.prot: unknown key; did you mean port?",
        "app/deploy.yml:14:13: application.app.web.port: must be a port, 1 to 65535",
        (
            "app/deploy.yml:15:40: application.database.adapter: must be postgres, postgresql, "
            "mysql or sqlite3"
        ),
        "app/deploy.yml:16:3: application.secretz: unknown key; did you mean secrets?",
    ]


@pytest.mark.parametrize("text", ["a: 1", "application:", "callback_url: http://x"])
def test_a_document_without_an_application_says_so(text: str) -> None:
    assert "application: is required" in faults(text)


def test_what_is_required_is_named() -> None:
    assert faults("application: {app: {}}") == [
        "application.name: is required",
        "application.compute_provider: exactly one of local, ssh, hetzner, aws, scaleway is needed",
    ]
    text = hetzner().replace(
        "{api_token: tok-en, server_type: cx23, server_location: x, architecture: x86}", "{x-a: 1}"
    )
    assert faults(text) == [
        f"application.compute_provider.hetzner.{key}: is required"
        for key in ("api_token", "server_type", "server_location", "architecture")
    ]


def test_two_providers_are_a_fault() -> None:
    text = local().replace("{local: {}}", "{local: {}, ssh: {}}")
    assert fault(text).startswith("application.compute_provider: exactly one of")


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("env: [A]", "env: must be a section"),
        ("env: text", "env: must be a section"),
        ("env: {A: [1]}", "env.A: must be a single value"),
        ("env: {A: {b: c}}", "env.A: must be a single value"),
        ("env: {A: }", 'env.A: has no value; write "" for an empty one'),
        ("env: {A: ~}", "env.A: has no value"),
        ("env: {1A: x}", "env.?: a name must be letters"),
        ("env: {A-B: x}", "env.?: a name must be letters"),
        ("env: {'': x}", "env.?: a name must be letters"),
        ('env: {A: "a\\0b"}', "env.A: must be text that UTF-8 can carry, without NUL"),
        ('env: {A: "\\ud800"}', "env.A: must be text that UTF-8 can carry, without NUL"),
        ("secrets: {A: [1]}", "secrets.A: must be a single value"),
        ("keep_count: -1", "keep_count: must be a whole number from 1"),
        ("keep_count: 1.5", "keep_count: must be a whole number from 1"),
        ("keep_count: [2]", "keep_count: must be a single value"),
        ("servers: [main]", "servers: must be a section"),
        ("servers: {a: x}", "servers.a: must be a section"),
        ("servers: {a: {master: maybe}}", "servers.a.master: must be true or false"),
        ("servers: {a: {count: many}}", "servers.a.count: must be a whole number"),
        ("servers: {-a: {}}", "servers.?: a name must be letters"),
        ("servers: {a: {volumes: {v: {size: 0}}}}", "servers.a.volumes.v.size: must be a whole"),
        ("servers: {a: {volumes: {'v/w': {}}}}", "servers.a.volumes.?: a name must be letters"),
        ("servers: {a: {volumes: {v: 20}}}", "servers.a.volumes.v: must be a section"),
        ("app: {Web: {}}", "app.Web: a name must be lower-case letters"),
        ("app: {web-: {}}", "app.web-: a name must be lower-case letters"),
        ("app: {web: {servers: main}}", "app.web.servers: must be a list"),
        ("app: {web: {servers: [[main]]}}", "app.web.servers.0: must be a single value"),
        ("app: {web: {port: http}}", "app.web.port: must be a port, 1 to 65535"),
        ("app: {web: {port: 0}}", "app.web.port: must be a port"),
        ("app: {web: {port: 65536}}", "app.web.port: must be a port"),
        ("app: {web: {domain: example}}", "app.web.domain: must be a domain, such as"),
        ("app: {web: {domain: 'http://example.com'}}", "app.web.domain: must be a domain"),
        ("app: {web: {domain: a..com}}", "app.web.domain: must be a domain"),
        ("app: {web: {subdomain: 'a b'}}", "app.web.subdomain: must be the part before"),
        ("app: {web: {replicas: 0}}", "app.web.replicas: must be a whole number"),
        ("app: {web: {healthcheck: http}}", "app.web.healthcheck: must be a section"),
        ("app: {web: {port: 1, healthcheck: {type: grpc}}}", "healthcheck.type: must be http, tcp"),
        ("app: {web: {port: 1, healthcheck: {path: up}}}", "healthcheck.path: must be a path that"),
        (
            "app: {web: {port: 1, healthcheck: {interval: 0}}}",
            "healthcheck.interval: must be a time",
        ),
        (
            "app: {web: {port: 1, healthcheck: {timeout: 5h}}}",
            "healthcheck.timeout: must be a time",
        ),
        (
            "app: {web: {port: 1, healthcheck: {retries: 0}}}",
            "healthcheck.retries: must be a whole",
        ),
        ("app: {web: {mounts: [data]}}", "app.web.mounts: must be a section"),
        ("app: {web: {mounts: {data: }}}", "app.web.mounts.data: is required"),
        ("database: postgres", "database: must be a section"),
        ("services: {redis: {}}", "services.redis.image: is required"),
        ("ssh_keys: {private_key: x}", "ssh_keys.public_key: is required"),
        ("domain_provider: {cloudflare: {api_token: t}}", "cloudflare.account_id: is required"),
    ],
)
def test_a_wrong_value_is_reported_at_its_path(extra: str, expected: str) -> None:
    found = fault(local(extra))
    assert expected in found
    assert found.startswith("application.")


@pytest.mark.parametrize(
    "name", ["Shop", "my shop", "shop.web", "shöp", "shop/../x", "'shop\n\n  x'"]
)
def test_a_name_that_no_remote_name_can_hold_is_refused(name: str) -> None:
    expected = "application.name: must be lower-case letters, digits, `-` and `_`"
    assert fault(local().replace("name: shop", f"name: {name}")) == expected


@pytest.mark.parametrize(
    "url",
    [
        *["nowhere", "dashboard.example.com/x", "ftp://example.com", "http://", "https:///path"],
        *["http://example.com:port/", "http://example.com:99999/", "http://example.com:0/"],
        *["http://example.com/a?b=c", "http://example.com/a?", "http://example.com/a#b"],
        *["http://exämple.com/", "http://[::1/", "http://a..b/", "file:///etc/passwd"],
        "http://example.com/a b",
        '"http://example.com/\\n"',
        '"http://example.com/\\t"',
        "[http://example.com]",
    ],
)
def test_a_callback_url_that_is_no_url_is_refused(url: str) -> None:
    assert fault(f"callback_url: {url}\n{local()}").startswith("callback_url: must be ")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:4000",
        "https://user:pw@example.com/a/",
        "https://token@example.com",
        "http://my_dashboard:/",
        "http://[::1]:80/x",
        "HTTP://x",
    ],
)
def test_an_http_url_with_a_host_is_a_callback_url(url: str) -> None:
    assert parse(f"callback_url: {url}\n{local()}").callback_url == url


# Keys of the user's own, and unknown ones


def test_keys_that_begin_with_x_are_ignored_wherever_keys_are_fixed() -> None:
    text = local("x-a: 1\napp: {web: {x-b: $UNSET, healthcheck: {x-c: [1], type: tcp}, port: 1}}")
    assert faults(f"x-top: {{deep: 1}}\n{text}") == []


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("app: {web: {comand: x}}", "app.web.comand: unknown key; did you mean command?"),
        ("app: {web: {Port: 1}}", "app.web.Port: unknown key; did you mean port?"),
        ("app: {web: {zzz: 1}}", "app.web.zzz: unknown key; known here: servers, command, port,"),
        ("database: {volume: x, url: y}", "database.volume: unknown key; "),
        (
            "servers: {a: {volumes: {v: {sise: 1}}}}",
            "volumes.v.sise: unknown key; did you mean size",
        ),
    ],
)
def test_an_unknown_key_suggests_the_nearest_known_one(extra: str, expected: str) -> None:
    assert expected in fault(local(extra))


def test_an_unknown_provider_is_an_unknown_key() -> None:
    found = faults(local().replace("local: {}", "hetznr: {}"))
    assert "application.compute_provider.hetznr: unknown key; did you mean hetzner?" in found


def test_a_key_given_twice_comes_with_the_other_faults() -> None:
    found = faults(local("env: {A: 1, A: 2}\nkeep_count: x"))
    assert found == [
        "application.env.A: is given twice, first on line 4",
        "application.keep_count: must be a whole number from 1",
    ]


# Variables


def test_variables_of_a_plain_config_are_replaced() -> None:
    text = local("env: {A: $ONE, B: 'x${TWO}y', C: $$ONE, D: 'a$', E: $1, F: '$ONE$TWO'}")
    env = parse(text, ONE="1", TWO="$THREE").application.env
    assert env == {"A": "1", "B": "x$THREEy", "C": "$ONE", "D": "a$", "E": "$1", "F": "1$THREE"}


def test_a_variable_can_stand_where_a_number_or_a_url_is_needed() -> None:
    text = "callback_url: $URL\n" + local("app: {web: {port: $PORT, servers: [$GROUP]}}\n")
    config = parse(text + "  servers: {main: {}}\n", URL="http://x/", PORT="80", GROUP="main")
    assert config.callback_url == "http://x/"
    assert config.application.app["web"].port == 80
    assert config.application.app["web"].servers == ("main",)


def test_an_unset_variable_is_named_with_its_place() -> None:
    text = local("env: {A: $NO_A, B: '${NO_B} $NO_C $NO_B'}")
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value).split("\n") == [
        "deploy.yml:4:12: application.env.A: $NO_A is not set in the environment",
        "deploy.yml:4:22: application.env.B: $NO_B and $NO_C are not set in the environment",
    ]


@pytest.mark.parametrize(
    ("extra", "path"),
    [
        ("secrets: {A: 'abc$hunter2rest'}", "application.secrets.A"),
        ("secrets: {A: 'abc${hunter2}'}", "application.secrets.A"),
        (
            "database: {adapter: postgres, url: 'postgres://u:a$hunter2@h/d'}",
            "application.database.url",
        ),
        (
            "domain_provider: {cloudflare: {api_token: a$hunter2, account_id: a}}",
            "application.domain_provider.cloudflare.api_token",
        ),
    ],
)
def test_a_dollar_inside_a_secret_does_not_show_a_part_of_it(extra: str, path: str) -> None:
    assert fault(local(extra)) == (
        f"{path}: a variable in it is not set in the environment; "
        "write `$$` for a dollar that belongs to the value"
    )


@pytest.mark.parametrize("value", ["$NO_A", "${NO_A}"])
def test_a_variable_that_is_all_of_a_secret_is_named(value: str) -> None:
    message = "$NO_A is not set in the environment"
    assert fault(local(f"secrets: {{A: '{value}'}}")) == f"application.secrets.A: {message}"


@pytest.mark.parametrize("value", ["${", "${A-b}", "${1}", "x${}"])
def test_braces_without_a_name_are_refused(value: str) -> None:
    assert "`${` begins no ${NAME}" in fault(local(f"env: {{A: '{value}'}}"))


@pytest.mark.parametrize(
    ("extra", "place", "message"),
    [
        ("secrets: {A: $EMPTY}", "4:16: application.secrets.A", "$EMPTY is empty in"),
        ("secrets: {A: a$EMPTY}", "4:16: application.secrets.A", "a variable in it is empty in"),
        ("secrets: {A: $EMPTY$B}", "4:16: application.secrets.A", "a variable in it is empty"),
        (
            "database: {adapter: sqlite3, mount: {d: /d}, secrets: {A: $EMPTY}}",
            "4:61: application.database.secrets.A",
            'write "" for an empty value',
        ),
        ("environment: x\nname: $EMPTY", "5:9: application.name", "$EMPTY is empty in"),
        (
            "name: $EMPTY${ALSO_EMPTY}",
            "4:9: application.name",
            "$EMPTY and $ALSO_EMPTY are empty in the environment",
        ),
        (
            "app: {w: {healthcheck: {port: $EMPTY}, port: $EMPTY}}",
            "4:48: application.app.w.port",
            "$EMPTY is empty in the environment",
        ),
        ("let_in: [$EMPTY]", "4:12: application.let_in.0", "$EMPTY is empty in the environment"),
        ("app: {w: {servers: [$EMPTY]}}", "4:23: application.app.w.servers.0", "$EMPTY is empty"),
        ("servers: {m: {hosts: [a.b, $EMPTY ]}}", "4:30: application.servers.m.hosts.1", "$EMPTY"),
        ("app: {w: {mounts: {v: $EMPTY}}}", "4:25: application.app.w.mounts.v", "$EMPTY is empty"),
        (
            "servers: {m: {host_keys: [$EMPTY $B]}}",
            "4:29: application.servers.m.host_keys.0",
            "must be a public host key, such as ssh-ed25519 AAAA…; $EMPTY is empty in",
        ),
        (
            "app: {w: {port: 1, healthcheck: {interval: 5$EMPTY.}}}",
            "4:46: application.app.w.healthcheck.interval",
            "such as 10s, 500ms or 1m; $EMPTY is empty in the environment",
        ),
    ],
)
def test_what_must_not_be_empty_names_the_variable_that_is(
    extra: str, place: str, message: str
) -> None:
    text = local(extra)
    if "name: $" in extra:
        text = text.replace("  name: shop\n", "  x-name: shop\n")
    with pytest.raises(ConfigError) as caught:
        parse(text, EMPTY="", ALSO_EMPTY="", B="b")
    assert str(caught.value).startswith(f"deploy.yml:{place}: ")
    assert message in str(caught.value)


def test_an_item_that_is_no_group_is_shown_where_it_stands() -> None:
    extra = "servers: {m: {}}\napp: {w: {servers: [$EMPTY, m, m, other]}}"
    with pytest.raises(ConfigError) as caught:
        parse(local(extra), EMPTY="")
    first, second = caught.value.faults
    assert (first.column, first.message) == (23, "$EMPTY is empty in the environment")
    assert (second.column, second.message[:29]) == (37, "there is no such server group")


def test_what_may_be_empty_may_come_from_an_empty_variable() -> None:
    extra = 'env: {A: $E}\nsecrets: {B: "", C: $$}\nenvironment: $E'
    config = parse(f"callback_url: $E\n{local(extra)}", E="")
    app = config.application
    assert config.callback_url is None
    assert (app.env, app.environment) == ({"A": ""}, "production")
    assert {name: value.reveal() for name, value in app.secrets.items()} == {"B": "", "C": "$"}


# Secrets stay out of errors


@pytest.mark.parametrize(
    "extra",
    [
        "ssh_keys: {private_key: hunter2-hunter2, public_key: hunter2-hunter2}",
        "secrets: {A: [hunter2-hunter2]}",
        "secrets: [hunter2-hunter2]",
        "secrets: hunter2-hunter2",
        "secrets: {hunter2-hunter2}",
        "domain_provider: {cloudflare: {hunter2-hunter2}}",
        "secrets: {A: 1, 'hunter2-hunter2!': 2}",
        "secrets: {A: hunter2-hunter2, A: hunter2-hunter2}",
        "secrets:\n  A: hunter2-hunter2: b",
        "secrets:\n  A: 'hunter2-hunter2",
        "secrets:\n  A: *hunter2-hunter2",
        "secrets:\n  A: !hunter2-hunter2 x",
        "secrets:\n  A: !hunter2-hunter2!x y",
        "secrets:\n  A: @hunter2-hunter2",
        "secrets:\n  A: %hunter2-hunter2",
        'secrets:\n  A: "\\hunter2-hunter2"',
        "secrets:\n  A: x\n hunter2-hunter2",
        "secrets:\n  A: {hunter2-hunter2",
        "database: {adapter: postgres, url: 'postgres://u:hunter2-hunter2/x@h/d'}",
        "database: {adapter: postgres, url: 'hunter2-hunter2'}",
        "database: {adapter: mysql, url: 'mysql://u:hunter2-hunter2[@h/d'}",
        "app: {web: {port: hunter2-hunter2, domain: 'hunter2-hunter2 ', replicas: $PW}}",
        "env: {A: '${hunter2-hunter2'}",
        "keep_count: $PW",
    ],
)
def test_no_value_is_repeated_in_an_error(extra: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(local(extra), PW="hunter2-hunter2")
    assert "hunter2" not in repr(caught.value.args) + str(caught.value)


def test_a_callback_url_with_a_password_is_not_repeated() -> None:
    text = f"callback_url: 'https://u:hunter2@example.com/?q'\n{local()}"
    assert "hunter2" not in fault(text)


# Files


@pytest.fixture
def key() -> DeployKey:
    return DeployKey(generate_key(), "test")


def test_a_file_named_yml_is_plain_and_any_other_is_encrypted(
    tmp_path: Path, key: DeployKey
) -> None:
    text = local("env: {A: $B}")
    (tmp_path / "deploy.yml").write_text(text)
    (tmp_path / "deploy.YAML").write_text(text)
    (tmp_path / "deploy.enc").write_bytes(encrypt(text.encode(), key.value))
    for name, expected in (("deploy.yml", "b"), ("deploy.YAML", "b"), ("deploy.enc", "$B")):
        config = load_file(tmp_path / name, key=key, environ={"B": "b"})
        assert config.application.env == {"A": expected}


def test_faults_of_an_encrypted_file_name_it_and_the_place_in_its_text(
    tmp_path: Path, key: DeployKey
) -> None:
    path = tmp_path / "deploy.enc"
    path.write_bytes(encrypt(local("keep_count: x").encode(), key.value))
    with pytest.raises(ConfigError) as caught:
        load_file(path, key=key, environ={})
    assert str(caught.value).startswith(f"{path}:4:15: application.keep_count: must be")


def test_an_encrypted_file_without_a_key_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "deploy.enc"
    path.write_bytes(b"x" * 100)
    with pytest.raises(CredentialsError, match=r"is encrypted and there is no key .*DEPLOY_KEY"):
        load_file(path, key=None, environ={})


@pytest.mark.parametrize("name", ["missing.yml", "folder.yml", "missing.enc"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, key: DeployKey, name: str) -> None:
    (tmp_path / "folder.yml").mkdir()
    with pytest.raises(CredentialsError, match=f"cannot read .*{name}"):
        load_file(tmp_path / name, key=key, environ={})


def test_broken_configs_never_raise_anything_but_config_errors() -> None:
    choose = random.Random(11)
    original = EVERY_KEY.read_text()
    environ = dict(keys())
    for _ in range(30):
        position = choose.randrange(len(original))
        piece = choose.choice(
            ["", "\n", ": ", "[", "}", "&a ", "*a", "- ", "'", "\t", "é", "~", "$X"]
        )
        end = position + choose.randrange(0, 40)
        text = original[:position] + piece + original[end:]
        with contextlib.suppress(ConfigError):
            load(text, filename="f", environ=environ)
