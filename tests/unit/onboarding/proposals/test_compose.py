from __future__ import annotations

from pathlib import Path

import pytest

from nvoi.cli import main
from nvoi.config.environment import build_environment
from nvoi.config.schema import Healthcheck, Resources
from nvoi.errors import ConfigError
from nvoi.targets.local import find_faults
from tests.unit.onboarding.proposals.reading import check_told, read, read_compose, reveal, write

SHOP = """\
x-env: &env
  REDIS_URL: redis://redis:6379/0
  DATABASE_URL: postgres://app:${DB_PASSWORD:-s3cret-word}@db:5432/app
name: shop
services:
  web:
    build: .
    command: bundle exec rails s -b 0.0.0.0 -p 3000
    ports: ["80:3000", "9000:9000/udp"]
    environment:
      <<: *env
      API_KEY: ${API_KEY}
      CACHE_HOST: redis
      ROLE: redis
    depends_on: [db, redis]
    volumes: ["./:/app", "uploads:/app/uploads", "/app/tmp"]
    healthcheck:
      test: ["CMD", "curl", "-f", "http://localhost:3000/up"]
      interval: 1m30s
    restart: unless-stopped
    deploy:
      replicas: 2
      resources: {limits: {cpus: "0.50", memory: 512M}}
  worker:
    build: {context: .}
    command: ["bundle", "exec", "sidekiq", "-q", "two words"]
    environment: ["REDIS_URL=redis://redis:6379/0", "QUEUES=a,b"]
  db:
    image: postgres:16-alpine
    environment: {POSTGRES_USER: app, POSTGRES_PASSWORD: "${DB_PASSWORD:-s3cret-word}"}
    volumes: ["pg:/var/lib/postgresql/data"]
  redis:
    image: redis:7
    command: --appendonly yes
    volumes: ["./redis-data:/data", "./redis.conf:/usr/local/etc/redis.conf"]
  debug: {image: busybox, profiles: [dev]}
volumes: {uploads: , pg: {external: true}}
networks: {front: {}}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def test_a_whole_file_becomes_apps_and_what_they_need_and_the_rest_is_told(checkout: Path) -> None:
    adopted, application = read_compose(checkout, SHOP, API_KEY="key-5ecret-word")
    assert adopted.lacking == ()
    assert application.name == "shop"
    web, worker = application.app.values()
    assert (web.command, web.port) == ("bundle exec rails s -b 0.0.0.0 -p $PORT", 3000)
    assert web.healthcheck == Healthcheck(path="/up", interval=90.0)
    assert (dict(web.mounts), web.replicas) == ({"uploads": "/app/uploads"}, 2)
    assert web.resources == Resources(memory_limit="512Mi", cpu_limit="500m")
    assert worker.command == "bundle exec sidekiq -q 'two words'"
    assert worker.port is None
    database = application.database
    assert database
    assert (database.adapter, database.image) == ("postgres", "postgres:16-alpine")
    assert dict(database.mount) == {"pg": "/var/lib/postgresql/data"}
    assert {name: value.reveal() for name, value in database.secrets.items()} == {
        "POSTGRES_USER": "app",
        "POSTGRES_DB": "app",
        "POSTGRES_PASSWORD": "s3cret-word",
    }
    (redis,) = application.services.values()
    assert (redis.command, redis.port) == ("redis-server --appendonly yes", 6379)
    assert dict(redis.mount) == {"redis-data": "/data"}
    # Hosts have the names that nvoi gives; what is no host stays.
    assert dict(application.env) == {"REDIS_URL": "redis://shop-redis:6379/0"}
    assert dict(web.env) == {"CACHE_HOST": "shop-redis", "ROLE": "redis"}
    assert dict(worker.env) == {"QUEUES": "a,b"}
    assert reveal(application) == {"API_KEY": "key-5ecret-word"}
    assert set(application.servers["main"].volumes) == {"uploads", "pg", "redis-data"}
    check_told(
        adopted,
        "compose.yaml:3: web: DATABASE_URL: nvoi sets it",
        "compose.yaml:9: services.web: port 9000:9000/udp is no TCP port",
        "compose.yaml:15: services.web.depends_on: ",
        "compose.yaml:16: services.web: ./ at /app: is not mounted",
        "compose.yaml:16: services.web: volume at /app/tmp has no name",
        "compose.yaml:35: services.redis: ./redis-data at /data: is volume redis-data",
        "compose.yaml:35: services.redis: ./redis.conf at /usr/local/etc/redis.conf: files of",
        "compose.yaml:36: services.debug: is of a profile",
        "compose.yaml:37: volumes.pg: begins empty, as a volume of nvoi's own (external)",
        "compose.yaml:38: networks: ",
    )
    assert not any("s3cret" in line or "5ecret" in line for line in adopted.told)


def test_a_variable_without_a_value_lacks_where_it_is_asked_for(checkout: Path) -> None:
    write(
        checkout,
        {
            "compose.yaml": """
            services:
              web:
                build: .
                environment: [TOKEN, "A=${A}", "B=${B:-b}", "C=${C-}", "D=$$HOME", "E=${E:?no}"]
                labels: ["x=${UNUSED}"]
                image: web:${UNUSED_TOO}
            """
        },
    )
    adopted, _ = read(checkout, "compose.yaml")
    assert [line.split(": ")[-1] for line in adopted.lacking] == [
        "$A has no value",
        "$E has no value",
        "$TOKEN has no value",
    ]
    assert "compose.yaml:4: services.web.environment: $A has no value" in adopted.lacking
    # The environment goes before the checkout's own file.
    write(checkout, {".env": "A=from-file\nE='e e'\nTOKEN=t0ken-5ecret\n"})
    adopted, application = read(checkout, "compose.yaml", A="from-environment")
    assert adopted.lacking == ()
    assert dict(application.env) == {
        "A": "from-environment",
        "B": "b",
        "C": "",
        "D": "$HOME",
        "E": "e e",
    }
    assert reveal(application) == {"TOKEN": "t0ken-5ecret"}


#: Where the app's image listens, and what it runs.
DOCKERFILE = 'FROM x\nENTRYPOINT ["docker-entrypoint.sh"]\nEXPOSE 8000\nCMD own\n'
WRAPPED = "docker-entrypoint.sh"


@pytest.mark.parametrize(
    ("text", "port", "command"),
    [
        ('ports: ["3000"]', 3000, None),
        ("ports: [3000]", 3000, None),
        ('ports: ["8080:3000"]', 3000, None),
        ('ports: ["127.0.0.1:8080:3000"]', 3000, None),
        ('ports: ["[::1]:8080:3000/tcp"]', 3000, None),
        ('ports: ["127.0.0.1::3000"]', 3000, None),
        ('ports: ["3000-3005:3000-3005"]', 3000, None),
        ('ports: ["${PORT:-8080}:3000"]', 3000, None),
        ('ports: ["${UNKNOWN}:3000"]', 3000, None),
        ("ports: [{target: 3000, published: 8080, protocol: tcp, mode: host}]", 3000, None),
        ('ports: ["53:53/udp"]', 8000, None),
        ("ports: [{target: 53, protocol: udp}]", 8000, None),
        ("ports: [22:22]", 22, None),
        ("expose: ['4000']", 4000, None),
        ("environment: {PORT: 5000}", 5000, None),
        ("command: uvicorn main:app --port 6000", 6000, f"{WRAPPED} uvicorn main:app --port $PORT"),
        ("entrypoint: gunicorn app:app -b 0.0.0.0:7000", 7000, "gunicorn app:app -b 0.0.0.0:$PORT"),
        ("restart: always", 8000, None),
        ("entrypoint: ''", 8000, None),
        ("command: npm start", None, f"{WRAPPED} npm start"),
        ("command: [npm, start]", None, f"{WRAPPED} npm start"),
        ('entrypoint: sh -c "a && b"', None, "a && b"),
        ('entrypoint: ["sh", "-c", "a && exec b"]', None, "a && exec b"),
        ("entrypoint: |\n      serve\n      --all\n", None, "serve --all"),
        ("entrypoint: >\n      serve\n      --all\n", None, "serve --all"),
        ("entrypoint: [run]\n    command: [it]", None, "run it"),
    ],
)
def test_ports_and_commands_are_taken_in_all_their_forms(
    checkout: Path, text: str, port: int | None, command: str | None
) -> None:
    write(checkout, {"Dockerfile": DOCKERFILE})
    text = f"services:\n  web:\n    build: .\n    {text}\n"
    adopted, application = read_compose(checkout, text)
    web = application.app["web"]
    assert (web.port, web.command) == (port, command)
    assert "PORT" not in web.env
    assert adopted.lacking == ()


def test_files_are_put_together_as_compose_does(checkout: Path) -> None:
    write(
        checkout,
        {
            "compose.yaml": """
            include: [other/compose.yaml]
            services:
              web:
                extends: {service: base, file: base.yaml}
                environment: [A=1, B=2]
                ports: ["8000:8000"]
            """,
            "base.yaml": """
            services:
              base: {extends: root, environment: {C: base, B: base}}
              root: {build: ., command: serve, restart: always}
            """,
            "other/compose.yaml": "services: {mail: {image: 'axllent/mailpit'}}\n",
            "compose.override.yml": """
            services: {web: {environment: {A: over}, command: [other], volumes: ["d:/d"]}}
            volumes: {d: }
            """,
        },
    )
    adopted, application = read(checkout, "compose.yaml")
    web = application.app["web"]
    assert (web.command, web.port, dict(web.mounts)) == ("other", 8000, {"d": "/d"})
    assert dict(application.env) == {"A": "over", "B": "2", "C": "base"}
    assert application.services["mail"].port == 1025
    check_told(adopted, "compose.override.yml: is merged over compose.yaml")


def test_a_file_that_many_services_extend_is_one_file(checkout: Path) -> None:
    services = "".join(
        f"  s{number}: {{extends: {{service: base, file: base.yaml}}}}\n" for number in range(40)
    )
    write(checkout, {"base.yaml": "services: {base: {build: ., command: serve}}\n"})
    _, application = read_compose(checkout, f"services:\n{services}")
    assert {app.command for app in application.app.values()} == {"serve"}


def test_variables_of_files_are_the_services_own(checkout: Path) -> None:
    write(
        checkout,
        {
            "compose.yaml": """
            services:
              web:
                build: .
                env_file: [a.env, {path: none.env, required: false}]
                environment: {B: own}
            """,
            "a.env": """
            # a comment
            export A="one two"  # why
            B=file
            KEY='multi
            line'
            API_TOKEN=abcdef123456
            EMPTY=
            """,
        },
    )
    adopted, application = read(checkout, "compose.yaml")
    assert adopted.lacking == ()
    assert dict(application.env) == {
        "A": "one two",
        "B": "own",
        "EMPTY": "",
    }
    assert reveal(application) == {"KEY": "multi\nline", "API_TOKEN": "abcdef123456"}
    (checkout / "a.env").unlink()
    adopted, _ = read(checkout, "compose.yaml")
    (lacking,) = adopted.lacking
    assert lacking.startswith("compose.yaml:4: services.web.env_file: ")


def test_secrets_in_files_become_variables(checkout: Path) -> None:
    write(
        checkout,
        {
            "compose.yaml": """
            services:
              web:
                build: .
                environment: {DB_PASSWORD_FILE: /run/secrets/db_password}
                secrets: [db_password, {source: api-key}]
              db:
                image: mariadb:11
                environment:
                  MARIADB_USER: shop
                  MARIADB_DATABASE: shop
                  MARIADB_PASSWORD_FILE: /run/secrets/db_password
                secrets: [db_password]
            secrets:
              db_password: {file: ./db_password.txt}
              api-key: {environment: API}
            """,
            "db_password.txt": "w0rd-5ecret\n",
        },
    )
    adopted, application = read(checkout, "compose.yaml", API="api-5ecret")
    assert reveal(application) == {"DB_PASSWORD": "w0rd-5ecret", "API_KEY": "api-5ecret"}
    assert application.database
    assert application.database.secrets["MYSQL_PASSWORD"].reveal() == "w0rd-5ecret"
    check_told(adopted, "MYSQL_ROOT_PASSWORD: made by chance")


def test_one_image_is_built_and_what_is_built_elsewhere_is_told(checkout: Path) -> None:
    text = """
    services:
      web: {build: {context: ., dockerfile: docker/Dockerfile, args: {A: 1}}}
      front: {build: ./front}
      ready: {build: ./x, image: ghcr.io/acme/ready:1}
    """
    adopted, application = read_compose(checkout, text)
    assert set(application.app) == {"web", "ready"}
    assert application.app["ready"].image == "ghcr.io/acme/ready:1"
    check_told(
        adopted,
        "nvoi deploy --dockerfile-path docker/Dockerfile",
        "services.front: is built from front",
        "`nvoi onboard -d front` makes an app of it",
    )
    adopted, application = read_compose(
        checkout, "services: {web: {build: app}, two: {build: ./app}}\n"
    )
    assert set(application.app) == {"web", "two"}
    check_told(adopted, "nvoi deploy -d app -c deploy.enc")


def test_on_this_machine_services_have_commands_ports_and_hosts_of_its_own(checkout: Path) -> None:
    write(
        checkout,
        {
            "compose.yaml": """
            services:
              web:
                build: web
                ports: ["31980:80"]
                environment: {API: "http://api:80/", DB_HOST: db}
              api: {build: api, ports: ["80:80"], command: npm run serve}
              db: {image: "postgres:16"}
            """,
            "web/requirements.txt": "flask\n",
            "web/app.py": "app = Flask(1)",
            "web/Dockerfile": "FROM x\nCMD python app.py\n",
            "api/package.json": "{}",
        },
    )
    url = "postgres://u:pw-5ecret@db.example/shop"
    adopted, application = read(checkout, "compose.yaml", is_local=True, DATABASE_URL=url)
    assert adopted.lacking == ()
    web, api = application.app.values()
    assert web.command == 'cd web && exec .venv/bin/gunicorn --bind "127.0.0.1:$PORT" app:app'
    assert (web.pre_run_command or "").startswith("cd web\nset -e\n")
    assert web.port == 31980
    assert dict(web.env) == {"API": "http://localhost:80/", "DB_HOST": "db.example"}
    assert api.command == "cd api && npm run serve"
    assert application.database
    assert application.database.url
    assert application.database.url.reveal() == url


def test_a_database_that_this_machine_does_not_run_lacks_its_address(checkout: Path) -> None:
    write(checkout, {"compose.yaml": SHOP})
    adopted, _ = read(
        checkout, "compose.yaml", is_local=True, API_KEY="x", DATABASE_URL="redis://x"
    )
    (lacking,) = adopted.lacking
    assert "postgres://USER:PASSWORD@HOST/NAME, in $DATABASE_URL" in lacking


def test_finished_images_alone_are_nothing_for_this_machine(checkout: Path) -> None:
    adopted, _ = read_compose(
        checkout, "services: {wiki: {image: 'gitea/gitea:1', ports: [3000]}}\n", is_local=True
    )
    (lacking,) = adopted.lacking
    assert "finished images run on servers alone" in lacking
    adopted, application = read(checkout, "compose.yaml")
    assert adopted.lacking == ()
    assert application.services["wiki"].port == 3000


def test_two_services_on_one_port_have_two_on_one_machine(checkout: Path) -> None:
    services = (
        "a: {build: ., command: x, expose: [31970]}, b: {build: ., command: y, expose: [31970]}"
    )
    adopted, application = read_compose(checkout, f"services: {{{services}}}\n", is_local=True)
    assert [app.port for app in application.app.values()] == [31970, 31971]
    check_told(adopted, "b: port 31970 is another service's too: it has 31971")


@pytest.mark.parametrize(
    ("test", "check"),
    [
        ('["CMD-SHELL", "wget -qO- http://127.0.0.1/health || exit 1"]', ("http", "/health", None)),
        ("curl -f http://localhost:9000/x?y=1", ("http", "/x?y=1", 9000)),
        ('["CMD", "pg_isready", "-U", "a b"]', ("exec", "pg_isready -U 'a b'", None)),
        ("curl http://other:80/", ("exec", "curl http://other:80/", None)),
        ('["NONE"]', None),
    ],
)
def test_a_check_that_asks_a_page_is_one_of_http(
    checkout: Path, test: str, check: tuple[str, str, int | None] | None
) -> None:
    text = f"services: {{web: {{build: ., expose: [80], healthcheck: {{test: {test!s}}}}}}}\n"
    _, application = read_compose(checkout, text)
    found = application.app["web"].healthcheck
    shown = found and (found.type, found.command or found.path, found.port)
    assert shown == check


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("services:\n  web: [\n", "not YAML"),
        ("services: {a: {extends: a}}", "extends itself"),
        ("services: {a: {extends: b}, b: {extends: a}}", "extends itself"),
        ("services: {a: 1}", "services.a: is no mapping"),
        ("services: [1]", "services: names no service"),
        ("include: [compose.yaml]\nservices: {}", "too many files include each other"),
        ("include: [nowhere.yaml]\nservices: {}", "nowhere.yaml: is missing or empty"),
    ],
)
def test_a_broken_file_is_named_with_its_fault(checkout: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_compose(checkout, text)


@pytest.mark.parametrize(
    "text",
    [
        "services: {web: {build: ., ports: 80, environment: x, deploy: [], healthcheck: 1}}",
        "services: {web: {build: [], command: {}, env_file: {}, expose: {a: b}, scale: x}}",
        "services: {web: {build: ., ports: [[], {}], environment: [[], '=x'], secrets: [{}]}}",
        "services: {Web.App: {build: .}, web-app: {build: .}, _: {image: x}, n: {}}",
        "services: {web: {build: ., environment: !reset {}, ports: !override [80]}}",
        "services: {db: {image: 'postgres:1', volumes: ['/x'], environment: [A]}}\nvolumes: []",
    ],
)
def test_what_makes_no_sense_is_told_and_no_crash(checkout: Path, text: str) -> None:
    adopted, _ = read_compose(checkout, text, A="1")
    assert len(adopted.told) > 1


def test_variables_that_the_database_shares_with_the_app_are_not_set_for_all(
    tmp_path: Path,
) -> None:
    write(
        tmp_path,
        {
            ".env": """
            DATABASE_URL=postgres://shop:w0rd-5ecret@db/shop
            POSTGRES_HOST=db
            POSTGRES_USER=shop
            POSTGRES_PASSWORD=w0rd-5ecret
            DEBUG=0
            """
        },
    )
    text = """
    services:
      web: {build: ., env_file: .env, depends_on: [db]}
      db: {image: "postgres:16", env_file: .env}
    """
    adopted, application = read_compose(tmp_path, text)
    database = application.database
    assert database
    assert set(database.secrets) == {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"}
    environment = build_environment(
        application, application.app["web"], database_host="db-the-cluster-has"
    )
    assert environment["POSTGRES_HOST"] == "db-the-cluster-has"
    assert "@db-the-cluster-has:5432/" in environment["DATABASE_URL"]
    assert environment["DEBUG"] == "0"
    check_told(
        adopted,
        "services.db: DATABASE_URL is nvoi's to say, and is left out",
        "services.db: DEBUG: left out, as the database's image does not read it",
    )


def test_folders_of_the_same_name_are_a_volume_each(tmp_path: Path) -> None:
    text = """
    services:
      cache: {image: redis, volumes: [data:/data]}
      search: {image: getmeili/meilisearch, volumes: ["./data:/data"]}
      queue: {image: rabbitmq, volumes: ["/srv/queue/data:/data"]}
      other: {image: rabbitmq, volumes: ["/srv/queue/data/:/other"]}
      web: {build: .}
    """
    _, application = read_compose(tmp_path, text)
    mounts = {name: dict(one.mount) for name, one in application.services.items()}
    assert mounts == {
        "cache": {"data": "/data"},
        "search": {"data-2": "/data"},
        "queue": {"srv-queue-data": "/data"},
        "other": {"srv-queue-data": "/other"},
    }


def test_a_dockerfile_is_named_from_the_folder_on_that_is_deployed(tmp_path: Path) -> None:
    text = """
    services:
      api: {build: {context: ./backend, dockerfile: DOCKERFILE}, command: serve}
    """
    adopted, _ = read_compose(tmp_path, text.replace("DOCKERFILE", "Dockerfile"))
    check_told(
        adopted, "is built from backend: deploy it by `nvoi deploy -d backend -c deploy.enc`"
    )
    assert "--dockerfile-path" not in "".join(adopted.told)
    adopted, _ = read_compose(tmp_path, text.replace("DOCKERFILE", "docker/Dockerfile"))
    check_told(adopted, "nvoi deploy --dockerfile-path docker/Dockerfile")


def test_a_password_that_is_a_database_s_name_is_told_as_that_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
    services:
      api:
        build: .
        command: serve
        environment: {DATABASE_URL: "postgresql+asyncpg://postgres:postgres@db/app"}
      db: {image: "postgres:16", environment: {POSTGRES_PASSWORD: postgres}}
    """
    write(tmp_path, {"compose.yaml": text})
    assert main(["onboard", "--dir", str(tmp_path)]) == 2
    assert "the app's postgres has to run already" in capsys.readouterr().err


def test_on_this_machine_a_volume_in_the_image_s_folder_is_one_in_the_release(
    tmp_path: Path,
) -> None:
    text = """
    services:
      web:
        build: .
        command: serve
        volumes: ["uploads:/app/public/uploads", "logs:/var/log/shop"]
      api: {build: api, command: serve, volumes: ["files:/app/files"]}
    """
    dockerfile = "FROM scratch\nWORKDIR /app\n"
    write(tmp_path, {"Dockerfile": dockerfile, "api/Dockerfile": dockerfile})
    adopted, application = read_compose(tmp_path, text, is_local=True)
    mounts = {name: dict(app.mounts) for name, app in application.app.items()}
    assert mounts == {
        "web": {"uploads": "public/uploads", "logs": "/var/log/shop"},
        "api": {"files": "api/files"},
    }
    check_told(adopted, "web: /var/log/shop: nothing is mounted here", "$NVOI_MOUNT_LOGS")
    _, application = read_compose(tmp_path, text)
    assert application.app["web"].mounts["uploads"] == "/app/public/uploads"


def test_what_a_finished_image_may_use_and_do_goes_along(tmp_path: Path) -> None:
    text = """
    services:
      web: {build: ., cap_add: [CAP_NET_ADMIN, net_raw], cap_drop: [ALL]}
      search: {image: elasticsearch, mem_limit: 1g, deploy: {replicas: 2}}
    """
    adopted, application = read_compose(tmp_path, text)
    assert application.app["web"].security.capabilities == ("NET_ADMIN", "NET_RAW")
    assert application.services["search"].resources == Resources(memory_limit="1Gi")
    check_told(
        adopted,
        "services.web.cap_drop: it has few rights but those of `security`",
        "services.search: deploy.replicas: what runs beside the app is one container",
    )


@pytest.mark.parametrize("scheme", ["mysql2", "jdbc:mysql", "mysql+pymysql"])
def test_the_address_of_a_driver_of_its_own_stays_the_app_s(tmp_path: Path, scheme: str) -> None:
    text = f"""
    services:
      web: {{build: ., environment: {{DATABASE_URL: "{scheme}://shop:w0rd-5ecret@db:3306/shop"}}}}
      db: {{image: "mysql:8", environment: {{MYSQL_ROOT_PASSWORD: r00t-5ecret, MYSQL_USER: shop}}}}
    """
    _, application = read_compose(tmp_path, text)
    url = f"{scheme}://shop:w0rd-5ecret@db-{application.name}:3306/shop"
    assert reveal(application) == {"DATABASE_URL": url.replace("_", "-")}


def test_the_env_file_beside_a_file_goes_before_that_of_the_checkout(tmp_path: Path) -> None:
    text = "services: {web: {build: .., environment: {A: $A, B: $B, C: $C}}}\n"
    files = {".env": "A=1\nB=1\nC=1\n", "docker/.env": "B=2\nC=2\n"}
    write(tmp_path, {**files, "docker/compose.yaml": text})
    _, application = read(tmp_path, "docker/compose.yaml", C="3")
    assert dict(application.env) == {"A": "1", "B": "2", "C": "3"}


@pytest.mark.parametrize(
    ("volumes", "others", "mounts"),
    [
        (["a:/app/data"], ["a:/app/data", "b:/app/other"], {"a": "data", "b": "other"}),
        # All services share a release: what cannot be there is told, and keeps its path.
        (["a:/app/data"], ["b:/app/data"], {"b": "/app/data"}),
        (["a:/app/data"], ["b:/app/data/cache"], {"b": "/app/data/cache"}),
        ([], ["a:/app/../data", "b:/app/."], {"a": "/app/../data", "b": "/app/."}),
        # Each release has its own, as the recipe installs them.
        ([], ["a:/app/node_modules"], {"a": "/app/node_modules"}),
        ([], ["a:/app/link/a", "b:/app/link"], {"a": "/app/link/a", "b": "link"}),
    ],
)
def test_on_this_machine_volumes_share_no_place(
    tmp_path: Path, volumes: list[str], others: list[str], mounts: dict[str, str]
) -> None:
    write(tmp_path, {"Dockerfile": "FROM scratch\nWORKDIR /app\n", "package.json": '{"a": 1}'})
    (tmp_path / "link").symlink_to("elsewhere")
    text = (
        f"services: {{web: {{build: ., command: serve, volumes: {volumes}}}, "
        f"job: {{build: ., command: work, volumes: {others}}}}}"
    )
    adopted, application = read_compose(tmp_path, text, is_local=True)
    assert dict(application.app["job"].mounts) == mounts
    kept = [f"job: {path}: nothing is mounted here" for path in mounts.values() if path[0] == "/"]
    check_told(adopted, *kept)
    assert list(find_faults(application)) == []


def test_a_volume_in_the_place_of_the_checkouts_files_is_told(tmp_path: Path) -> None:
    files = {"Dockerfile": "FROM scratch\nWORKDIR /app\n", "static/a.css": "a"}
    write(tmp_path, {**files, "package.json": '{"a": 1}'})
    volumes = "['s:/app/static', 'u:/app/uploads', 'n:/app/node_modules']"
    text = f"services: {{web: {{build: ., command: serve, volumes: {volumes}}}}}"
    hidden = "/app/static: volume s, which begins empty, hides the files that are there without it"
    adopted, application = read_compose(tmp_path, text, is_local=True)
    assert application.app["web"].mounts["s"] == "static"
    check_told(adopted, hidden)
    adopted, _ = read_compose(tmp_path, text)
    check_told(adopted, hidden, "/app/node_modules: volume n, which begins empty, hides")
    assert "uploads" not in "".join(adopted.told)


def test_a_second_path_of_a_volume_and_a_second_volume_at_a_path_are_told(tmp_path: Path) -> None:
    text = """
    services:
      search: {image: elasticsearch, volumes: ["/srv/a:/a", "/srv/a:/b", "/srv/c:/a", "d:/a"]}
    """
    adopted, application = read_compose(tmp_path, text)
    assert dict(application.services["search"].mount) == {"a": "/a"}
    check_told(
        adopted,
        "volume a at /b: a volume has one path here",
        "volume c at /a: another one is there",
        "volume d at /a: another one is there",
    )


def test_amounts_and_capabilities_that_are_none_are_told(tmp_path: Path) -> None:
    text = """
    services:
      web:
        build: .
        cap_add: [NET_RAW, "no such"]
        mem_limit: 1g
        cpus: many
        deploy: {resources: {limits: {memory: "100"}}}
    """
    adopted, application = read_compose(tmp_path, text)
    assert application.app["web"].resources == Resources(memory_limit="1Gi")
    check_told(
        adopted,
        "compose.yaml:4: services.web: cap_add: this is no capability",
        "compose.yaml:6: services.web: cpus: is no amount that a service can have",
        "services.web.deploy.resources.limits: memory: is no amount that a service can have",
    )
