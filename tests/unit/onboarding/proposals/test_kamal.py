from __future__ import annotations

from pathlib import Path

import pytest

from nvoi.config.schema import Healthcheck, Resources, SSHProvider
from tests.unit.onboarding.proposals.reading import check_told, read, reveal, write

DEPLOY = """\
service: my_app
image: your-user/my-app
servers:
  web:
    - 192.168.0.1
    - 192.168.0.2
  job:
    hosts:
      - 192.168.0.1
    cmd: bin/jobs -p 3000
    options: {memory: 512m, cpus: 0.5, add-host: a:b}
proxy:
  ssl: true
  host: app.example.com
  app_port: 3000
registry:
  username: your-user
  password: [KAMAL_REGISTRY_PASSWORD]
env:
  secret:
    - RAILS_MASTER_KEY
    - TOKEN:OTHER_TOKEN
  clear:
    SOLID_QUEUE_IN_PUMA: true
    DB_HOST: my_app-db
    REDIS_URL: redis://my_app-redis:6379
aliases: {console: app exec}
builder: {arch: amd64}
ssh:
  user: app
  port: <%= ENV.fetch("SSH_PORT", "2222") %>
accessories:
  db:
    image: postgres:15
    host: 192.168.0.2
    port: "127.0.0.1:5432:5432"
    env: {clear: {POSTGRES_USER: my_app}, secret: [POSTGRES_PASSWORD]}
    files: [config/init.sql:/docker-entrypoint-initdb.d/setup.sql]
    directories: [data:/var/lib/postgresql/data]
  redis:
    image: valkey/valkey:8
    host: 192.168.0.3
    cmd: --save 60 1
    directories: [data-redis:/data]
"""
SECRETS = """\
RAILS_MASTER_KEY=$(cat config/master.key)
OTHER_TOKEN=$OTHER
POSTGRES_PASSWORD=$(op read x)
"""


def test_roles_and_accessories_run_where_they_did(tmp_path: Path) -> None:
    files = {"config/deploy.yml": DEPLOY, ".kamal/secrets": SECRETS}
    write(tmp_path, {**files, "config/master.key": "0123456789abcdef\n"})
    adopted, application = read(
        tmp_path,
        "config/deploy.yml",
        is_local=True,
        OTHER="t0ken-5ecret",
        POSTGRES_PASSWORD="w0rd-5ecret",
    )
    assert adopted.lacking == ()
    assert application.name == "my_app"
    assert isinstance(application.compute_provider, SSHProvider)
    groups = application.servers
    assert {name: group.hosts for name, group in groups.items()} == {
        "main": ("192.168.0.1",),
        "web": ("192.168.0.2",),
        "redis": ("192.168.0.3",),
    }
    assert {(group.user, group.port) for group in groups.values()} == {("app", 2222)}
    assert [name for name, group in groups.items() if group.master] == ["main"]
    web, job = application.app.values()
    assert (web.servers, web.port, web.command) == (("main", "web"), 3000, None)
    assert web.healthcheck == Healthcheck(path="/up")
    assert (job.servers, job.port, job.command) == (("main",), None, "bin/jobs -p 3000")
    assert job.resources == Resources(memory_limit="512Mi", cpu_limit="500m")
    assert application.database
    assert application.database.servers == ("web",)
    assert set(groups["web"].volumes) == {"data"}
    redis = application.services["redis"]
    assert (redis.servers, redis.port) == (("redis",), 6379)
    assert redis.command == "valkey-server --save 60 1"
    assert set(groups["redis"].volumes) == {"data-redis"}
    assert dict(application.env) == {
        "SOLID_QUEUE_IN_PUMA": "true",
        "DB_HOST": "db-my-app",
        "REDIS_URL": "redis://my-app-redis:6379",
    }
    assert reveal(application) == {"RAILS_MASTER_KEY": "0123456789abcdef", "TOKEN": "t0ken-5ecret"}
    check_told(
        adopted,
        "deploy.yml:2: image: ",
        "deploy.yml:11: servers.job.options.add-host: options of Docker are not nvoi's",
        "deploy.yml:13: proxy.ssl: a service's `domain` needs `domain_provider`",
        "deploy.yml:14: proxy.host: a service's `domain` needs `domain_provider`",
        "deploy.yml:16: registry: ",
        "deploy.yml:28: builder: ",
        "deploy.yml:38: accessories.db.files: ",
        "deploy.yml:39: accessories.db: data: is volume data, which begins empty",
    )


def test_a_secret_without_a_value_lacks(tmp_path: Path) -> None:
    # A name that no variable can have is asked for as it stands.
    text = DEPLOY.replace("- RAILS_MASTER_KEY\n", "- RAILS_MASTER_KEY\n    - 'ODD:a\"b'\n")
    write(tmp_path, {"config/deploy.yml": text, ".kamal/secrets": SECRETS})
    adopted, _ = read(tmp_path, "config/deploy.yml", is_local=True, OTHER="x")
    assert sorted(line.rpartition(": ")[2] for line in adopted.lacking) == [
        "$POSTGRES_PASSWORD has no value",
        "$RAILS_MASTER_KEY has no value",
        '$a"b has no value',
    ]


@pytest.mark.parametrize(
    ("text", "port", "path"),
    [
        ("servers: [a.example]\n", 80, "/up"),
        ("servers: [a.example]\nhealthcheck: {path: /ok, port: 4000}\n", 4000, "/ok"),
        ("servers: [a.example]\nhealthcheck: {path: /ok}\n", 3000, "/ok"),
        ("servers: {web: {hosts: [{a.example: [tag]}]}}\nproxy: {app_port: 5000}\n", 5000, "/up"),
        ("servers: {main: {hosts: [a.example]}}\nprimary_role: main\n", 80, "/up"),
        ("servers: {Web: [a.example], web: [b.example]}\n", 80, "/up"),
        (
            "servers: {web: [a.example]}\nproxy: {healthcheck: {path: /h, interval: 3}}\n",
            80,
            "/h",
        ),
    ],
)
def test_older_and_newer_files_say_where_traffic_goes(
    tmp_path: Path, text: str, port: int, path: str
) -> None:
    write(tmp_path, {"config/deploy.yml": f"service: x\n{text}"})
    adopted, application = read(tmp_path, "config/deploy.yml", is_local=True)
    assert adopted.lacking == ()
    (web,) = application.app.values()
    assert web.healthcheck
    assert (web.port, web.healthcheck.path) == (port, path)
    assert application.servers["main"].hosts == ("a.example",)


def test_a_service_with_a_volume_runs_on_one_server(tmp_path: Path) -> None:
    text = "service: x\nservers: [a.example, b.example]\nvolumes: [storage:/rails/storage]\n"
    write(tmp_path, {"config/deploy.yml": text})
    adopted, application = read(tmp_path, "config/deploy.yml", is_local=True)
    assert application.app["web"].servers == ("main",)
    assert application.servers["main"].hosts == ("a.example",)
    assert dict(application.app["web"].mounts) == {"storage": "/rails/storage"}
    check_told(adopted, "runs on a.example alone")


def test_ruby_is_not_run_and_that_is_told(tmp_path: Path) -> None:
    text = (
        "<% require 'x' %>\nservice: x\nservers: [<%= ENV['HOST'] %>]\n"
        "env: {clear: {A: '<%= `id` %>', B: '<%= ENV[\"B\"] || \"b\" %>',"
        ' C: \'<%= ENV.fetch("C") { "c" } %>\'}}\n# <%= commented %>\n'
    )
    write(tmp_path, {"config/deploy.yml": text})
    adopted, application = read(tmp_path, "config/deploy.yml", is_local=True, HOST="a.example")
    assert application.servers["main"].hosts == ("a.example",)
    assert dict(application.env) == {"A": "", "B": "b", "C": "c"}
    told = "\n".join(adopted.told)
    assert "deploy.yml:1: Ruby is not run here" in told
    assert "deploy.yml:4: Ruby is not run here" in told
    assert "deploy.yml:5" not in told


def test_a_variable_with_the_server_of_an_accessory_is_told(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "config/deploy.yml": """
            service: shop
            servers: [192.168.0.1]
            env:
              clear:
                DB_HOST: 192.168.0.2
                REDIS_URL: redis://192.168.0.2:6379/0
                RELEASE: 192.168.0.2-7
                LIST: [a, b]
                APP_HOST: 192.168.0.1
            accessories:
              db: {image: "postgres:15", host: 192.168.0.2, env: {clear: {POSTGRES_PASSWORD: x}}}
              redis: {image: "redis:7", host: 192.168.0.2}
              Redis: {image: "redis:8"}
            """
        },
    )
    adopted, _ = read(tmp_path, "config/deploy.yml", is_local=True)
    reason = "the app reaches what runs on 192.168.0.2 as db-shop and shop-redis, not by address"
    told = [line.removeprefix("  - config/deploy.yml:") for line in adopted.told if reason in line]
    check_told(adopted, "config/deploy.yml:8: env.clear.LIST: is no text")
    check_told(adopted, "accessories.Redis: no service can have this name, or another has it")
    assert told == [f"5: DB_HOST: {reason}", f"6: REDIS_URL: {reason}"]


def test_folders_of_several_services_are_a_volume_each(tmp_path: Path) -> None:
    # As Kamal has it, each accessory's `data` is below a folder of its own.
    text = """
    service: shop
    servers: [192.168.0.1]
    volumes: [data:/app/data]
    builder: {dockerfile: docker/Dockerfile.web}
    ssh: {proxy: jump.example}
    accessories:
      db:
        image: mysql:8
        host: 192.168.0.1
        env: {clear: {MYSQL_ROOT_PASSWORD: w0rd-5ecret}}
        directories: [data:/var/lib/mysql]
      cache: {image: "redis:7", host: 192.168.0.1, directories: [data:/data]}
      search: {image: "getmeili/meilisearch", host: 192.168.0.1, volumes: ["/mnt/data:/data"]}
    """
    write(tmp_path, {"config/deploy.yml": text})
    adopted, application = read(tmp_path, "config/deploy.yml", is_local=True)
    assert application.database
    assert dict(application.app["web"].mounts) == {"data": "/app/data"}
    assert dict(application.database.mount) == {"db-data": "/var/lib/mysql"}
    others = {name: dict(one.mount) for name, one in application.services.items()}
    assert others == {"cache": {"cache-data": "/data"}, "search": {"mnt-data": "/data"}}
    check_told(
        adopted,
        "builder: is deployed with: nvoi deploy --dockerfile-path docker/Dockerfile.web",
        "ssh.proxy: a jump host is the ProxyJump of ~/.ssh/config",
        "accessories.cache: data: is volume cache-data, which begins empty",
    )


def test_what_a_file_calls_secret_is_one_whatever_its_name(tmp_path: Path) -> None:
    text = "service: x\nservers: [a.example]\nenv: {secret: [ACCOUNT], clear: {PLAN: b}}\n"
    write(tmp_path, {"config/deploy.yml": text})
    _, application = read(tmp_path, "config/deploy.yml", is_local=True, ACCOUNT="acct-1")
    assert reveal(application) == {"ACCOUNT": "acct-1"}
    assert dict(application.env) == {"PLAN": "b"}
    compose = """
    services: {web: {build: ., secrets: [api]}}
    secrets: {api: {environment: ACCOUNT}}
    """
    write(tmp_path, {"compose.yaml": compose})
    _, application = read(tmp_path, "compose.yaml", ACCOUNT="acct-1")
    assert reveal(application) == {"API": "acct-1"}


def test_a_second_path_of_a_volume_and_secrets_that_nothing_masks_are_told(tmp_path: Path) -> None:
    text = """
    service: shop
    servers: [10.0.0.1]
    volumes: ["data:/a", "data:/b"]
    accessories:
      search: {image: elasticsearch, host: 10.0.0.1, env: {secret: [WORD], clear: {a-b: c}}}
    """
    write(tmp_path, {"config/deploy.yml": text, ".kamal/secrets": "WORD=plain\n"})
    adopted, application = read(tmp_path, "config/deploy.yml")
    assert dict(application.app["web"].mounts) == {"data": "/a"}
    assert dict(application.services["search"].env) == {"WORD": "plain"}
    check_told(
        adopted,
        "volume data at /b: a volume has one path here",
        "accessories.search: WORD: encrypted in the config as all of it is, but not masked in logs",
        "accessories.search: a-b is no name that a variable can have",
    )
