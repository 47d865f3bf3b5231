from __future__ import annotations

from pathlib import Path

import pytest

from nvoi.config.schema import Healthcheck, Resources
from nvoi.errors import ConfigError, UsageError
from nvoi.onboarding.adoption import find_files
from tests.unit.onboarding.proposals.reading import check_told, read, reveal, write

LONG = "9" * 5000
FLY = """\
app = "Hello-World"
primary_region = "ams"

[build]
  dockerfile = "docker/Dockerfile"
  [build.args]
    A = "1"

[env]
  PORT = "8080"
  LOG_LEVEL = "debug"
  WORKERS = 3
  SECRET_KEY = "abcdefgh12345678"

[processes]
  web = "bundle exec rails server -p 8080"
  worker = "bundle exec sidekiq"
  Worker = "x"

[deploy]
  release_command = "bin/rails db:migrate"
  strategy = "rolling"

[[mounts]]
  source = "data"
  destination = "/data"
  processes = ["worker"]
  initial_size = "20gb"

[http_service]
  internal_port = 8080
  force_https = true
  processes = ["web"]
  [http_service.concurrency]
    hard_limit = 25
  [[http_service.checks]]
    grace_period = "10s"
    interval = "30s"
    path = "/up"

[[vm]]
  size = "shared-cpu-1x"
  memory = "1gb"
  processes = ["web"]
"""


def test_a_fly_app_has_a_service_for_each_process(tmp_path: Path) -> None:
    write(tmp_path, {"fly.toml": FLY})
    adopted, application = read(tmp_path, "fly.toml")
    assert adopted.lacking == ()
    assert application.name == "hello-world"
    web, worker = application.app.values()
    assert (web.command, web.port) == ("bundle exec rails server -p $PORT", 8080)
    assert web.healthcheck == Healthcheck(path="/up", interval=30.0)
    assert web.pre_run_command == "bin/rails db:migrate"
    assert web.resources == Resources(memory_limit="1Gi")
    assert dict(worker.mounts) == {"data": "/data"}
    assert (worker.port, worker.pre_run_command) == (None, None)
    assert dict(application.env) == {"LOG_LEVEL": "debug", "WORKERS": "3"}
    assert reveal(application) == {"SECRET_KEY": "abcdefgh12345678"}
    check_told(
        adopted,
        "fly.toml: `fly secrets` are not in this file",
        "fly.toml:2: primary_region: ",
        "fly.toml:4: build: is deployed with: nvoi deploy --dockerfile-path docker/Dockerfile",
        "fly.toml:6: build.args: ",
        "fly.toml:10: web: PORT: nvoi sets it",
        "fly.toml:18: processes.Worker: no service can have this name, or another has it",
        "fly.toml:22: deploy.strategy: ",
        "fly.toml:28: mounts.initial_size: ",
        "fly.toml:32: http_service.force_https: ",
        "fly.toml:34: http_service.concurrency: ",
        "fly.toml:37: http_service.checks.grace_period: ",
        "fly.toml:42: vm.size: ",
    )


@pytest.mark.parametrize(
    ("text", "port", "check"),
    [
        ("[http_service]\n", 8080, None),
        (
            """[[services]]\ninternal_port = 3000\n[[services.http_checks]]\npath = "/x"
            interval = 10000\n[[services.ports]]\nport = 443\n""",
            3000,
            Healthcheck(path="/x", interval=10000.0),
        ),
        (
            "[[services]]\ninternal_port = 25\n[[services.tcp_checks]]\n",
            25,
            Healthcheck("tcp"),
        ),
        (
            """[http_service]\ninternal_port = 80
            [checks.a]\ntype = "http"\nport = 9000\npath = "/m"\n""",
            80,
            Healthcheck(path="/m", port=9000),
        ),
        ("", None, None),
    ],
)
def test_ports_and_checks_of_all_forms_are_taken(
    tmp_path: Path, text: str, port: int | None, check: Healthcheck | None
) -> None:
    write(tmp_path, {"fly.toml": f'app = "x"\n{text}'})
    _, application = read(tmp_path, "fly.toml")
    (app,) = application.app.values()
    assert (app.port, app.healthcheck) == (port, check)


def test_each_process_has_the_first_of_its_checks_and_others_are_told(tmp_path: Path) -> None:
    text = """
    app = "x"
    [processes]
    web = "a"
    job = "b"
    late = "c"
    [http_service]
    internal_port = 80
    [[http_service.checks]]
    path = "/a"
    [[http_service.checks]]
    path = "/b"
    [[services]]
    internal_port = 80
    [[services]]
    internal_port = 90
    processes = ["job"]
    [[services]]
    internal_port = 80
    processes = ["web", "late"]
    [[services.http_checks]]
    path = "/l"
    [env]
    LIST = ["a"]
    [checks.first]
    path = "/c"
    processes = ["job"]
    [checks.second]
    path = "/d"
    processes = ["web"]
    """
    write(tmp_path, {"fly.toml": text})
    adopted, application = read(tmp_path, "fly.toml")
    checks = [(app.port, app.healthcheck) for app in application.app.values()]
    paths = ((80, "/a"), (90, "/c"), (80, "/l"))
    assert checks == [(port, Healthcheck(path=path)) for port, path in paths]
    told = [line for line in adopted.told if line.endswith(": a service has one check here")]
    check_told(adopted, "fly.toml:23: env.LIST: is no text")
    assert [line.split(": ")[1] for line in told] == [
        "http_service.checks",
        "services.http_checks",
        "checks.second",
    ]


APP_JSON = """\
{
\t"name": "Small Sharp Tool",
\t"description": "x",
\t"scripts": {"postdeploy": "rake bootstrap"},
\t"env": {
\t\t"BUNDLE_WITHOUT": {"value": "development:test"},
\t\t"SECRET_TOKEN": {"description": "A secret", "generator": "secret"},
\t\t"WEB_CONCURRENCY": "5",
\t\t"API_KEY": {"required": true},
\t\t"OPTIONAL": {"required": false}
\t},
\t"formation": {"web": {"quantity": 2, "size": "standard-1x"}},
\t"addons": ["openredis", {"plan": "heroku-postgresql:mini", "as": "DB"}, "papertrail"]
}
"""
PROCFILE = """\
web: gunicorn app:app
release: python manage.py migrate
Worker.1: x
worker: celery -A x
broken
WORKER: other
"""


def test_an_app_json_and_its_procfile_are_one_app(tmp_path: Path) -> None:
    write(tmp_path, {"app.json": APP_JSON, "Procfile": PROCFILE})
    for file in ("app.json", "Procfile"):
        adopted, application = read(tmp_path, file, API_KEY="key-5ecret")
        assert adopted.lacking == ()
        assert application.name == "small-sharp-tool"
        web, worker = application.app.values()
        assert (web.command, web.port, web.replicas) == ("gunicorn app:app", 8000, 2)
        assert web.pre_run_command == "python manage.py migrate"
        assert worker.command == "celery -A x"
        assert application.database
        assert application.database.engine == "postgres"
        assert application.services["redis"].image == "redis:7"
        assert dict(application.env) == {
            "REDIS_URL": "redis://small-sharp-tool-redis:6379",
            "BUNDLE_WITHOUT": "development:test",
            "WEB_CONCURRENCY": "5",
        }
        assert len(reveal(application)["SECRET_TOKEN"]) == 64
        assert reveal(application)["API_KEY"] == "key-5ecret"
        check_told(
            adopted,
            "Procfile:3: is no process: NAME: COMMAND",
            "Procfile:5: is no process: NAME: COMMAND",
            "Procfile:6: WORKER: no service can have this name, or another has it already",
            "app.json:3: description: ",
            "app.json:4: scripts: ",
            "app.json:10: env.OPTIONAL: has no value and needs none: it is left out",
            "app.json:12: formation.web.size: ",
            "app.json:13: addon papertrail: nvoi rents nothing",
        )
    adopted, _ = read(tmp_path, "app.json")
    assert adopted.lacking == ("app.json:9: env.API_KEY: $API_KEY has no value",)
    write(tmp_path, {"app.json": '{"env": {"TOKEN": null}}'})
    adopted, _ = read(tmp_path, "app.json")
    assert adopted.lacking == ("app.json: env: $TOKEN has no value",)


def test_a_procfile_alone_is_taken_from_the_checkout(tmp_path: Path) -> None:
    route = '@app.get("/up")'
    write(tmp_path, {"Procfile": "web: serve\nrelease: migrate\n", "app.py": route})
    _, application = read(tmp_path, None)
    web = application.app["web"]
    assert (web.pre_run_command, web.port) == ("migrate", 8000)
    assert web.healthcheck == Healthcheck(path="/up")


@pytest.mark.parametrize("text", ['{"expo": {"name": "x"}}', '{"name": "x", "displayName": "X"}'])
def test_an_app_json_of_a_mobile_app_is_passed_over(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"app.json": text, "Procfile": "web: serve\n"})
    with pytest.raises(ConfigError, match="of a mobile app"):
        read(tmp_path, "app.json")
    assert find_files(tmp_path) == ["Procfile"]
    _, application = read(tmp_path, "Procfile")
    assert application.app["web"].command == "serve"


def test_a_process_that_runs_nowhere_is_left_out(tmp_path: Path) -> None:
    formation = '[{"web": {"quantity": 0}}, {"worker": {"quantity": 1}}]'
    write(tmp_path, {"app.json": f'{{"formation": {formation}}}', "Procfile": PROCFILE})
    adopted, application = read(tmp_path, "app.json")
    assert set(application.app) == {"worker"}
    assert application.app["worker"].pre_run_command == "python manage.py migrate"
    check_told(adopted, "formation: web runs nowhere")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("fly.toml", "app = ", "fly.toml:1:1: not TOML"),
        ("app.json", '{"a": ', "app.json:1:7: not JSON"),
        ("app.json", "[1]", "a mapping is needed"),
        ("app.json", "[" * 50_000, "nested too deep|not JSON"),
        (
            "app.json",
            f'{{"formation": {{"web": {{"quantity": {LONG}}}}}}}',
            "number that is too long",
        ),
        ("app.json", '{"env": {"A": "\\ud800"}}', "half of a character"),
        ("fly.toml", f"app = 'a'\nprimary = {LONG}", "number that is too long"),
        ("config/deploy.yml", "service: [", "not YAML"),
        ("notes.txt", "x", "is of no kind that nvoi reads .*compose.yaml"),
        ("other.yaml", "a: 1", "is of no kind that nvoi reads"),
        ("empty.yaml", "", "missing, empty, larger than 1 MiB, or no file of text"),
        pytest.param("large.yaml", "#" * (1 << 20 | 1), "larger than 1 MiB", id="large"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    write(tmp_path, {name: text})
    with pytest.raises((ConfigError, UsageError), match=words):
        read(tmp_path, name)


def test_the_files_that_say_most_come_first(tmp_path: Path) -> None:
    names = ("Procfile", "compose.yml", "docker-compose.yml", "fly.toml", "config/deploy.yml")
    write(tmp_path, dict.fromkeys(names, "x"))
    assert find_files(tmp_path) == ["config/deploy.yml", "compose.yml", "fly.toml", "Procfile"]


def test_a_variable_of_app_json_has_its_value_in_dotenv(tmp_path: Path) -> None:
    app = '{"env": {"MODE": {"required": true}, "PLAN": {"required": true}}}'
    write(tmp_path, {"app.json": app, "Procfile": "web: serve\n", ".env": "MODE=a\nPLAN=b\n"})
    adopted, application = read(tmp_path, "app.json", PLAN="c")
    assert adopted.lacking == ()
    assert dict(application.env) == {"MODE": "a", "PLAN": "c"}


def test_a_mount_without_a_path_and_memory_that_is_none_are_told(tmp_path: Path) -> None:
    text = "app = 'a'\n[mounts]\nsource = 'data'\n[[vm]]\nmemory = 'much'\nmemory_mb = 512\n"
    write(tmp_path, {"fly.toml": text})
    adopted, application = read(tmp_path, "fly.toml")
    app = application.app["app"]
    assert (dict(app.mounts), app.resources.memory_limit) == ({}, "512Mi")
    check_told(
        adopted,
        "mounts: names no path in the container",
        "vm: memory: is no amount that a service can have",
    )
