from __future__ import annotations

from nvoi.config.environment import build_environment
from nvoi.config.schema import Application, AppService, Database, LocalProvider
from nvoi.secret import Secret

POSTGRES_SECRETS = {
    "POSTGRES_USER": Secret("app"),
    "POSTGRES_PASSWORD": Secret("p@ss/word"),
    "POSTGRES_DB": Secret("shop db"),
}


def build(
    database: Database | None = None,
    service: AppService | None = None,
    *,
    env: dict[str, str] | None = None,
    secrets: dict[str, Secret] | None = None,
    host: str | None = None,
    sqlite_mount: str | None = None,
) -> dict[str, str]:
    application = Application(
        "shop", LocalProvider(), env=env or {}, secrets=secrets or {}, database=database
    )
    return build_environment(
        application, service or AppService("web"), database_host=host, sqlite_mount=sqlite_mount
    )


def test_later_settings_win() -> None:
    names = ["A", "B", "C", "DEPLOY_ENV", "DATABASE_ADAPTER"]
    database = Database(
        adapter="sqlite3", mount={"d": "/d"}, secrets={name: Secret("database") for name in names}
    )
    service = AppService("web", env={"C": "service"}, port=80)
    result = build(
        database,
        service,
        env={"A": "env", "B": "env", "C": "env", "PORT": "81"},
        secrets={"B": Secret("secret"), "C": Secret("secret")},
    )
    assert result == {
        "DEPLOY_ENV": "database",
        "DATABASE_ADAPTER": "database",
        "DATABASE_URL": "sqlite:///d/shop-database.sqlite3",
        "A": "env",
        "B": "secret",
        "C": "service",
        "PORT": "81",
    }


def test_the_port_is_set_where_nothing_else_set_it() -> None:
    assert build(service=AppService("web", port=80))["PORT"] == "80"
    assert build(service=AppService("web", port=80, env={"PORT": ""}))["PORT"] == ""
    assert "PORT" not in build(service=AppService("web"))


def test_sqlite_lies_on_its_mount_or_where_the_target_keeps_it() -> None:
    database = Database(adapter="sqlite3", mount={"data": "/data/"})
    assert build(database)["DATABASE_URL"] == "sqlite:///data/shop-database.sqlite3"
    moved = build(database, sqlite_mount="/home/x/volumes/data")
    assert moved["DATABASE_URL"] == "sqlite:///home/x/volumes/data/shop-database.sqlite3"
    assert moved["DATABASE_ADAPTER"] == "sqlite3"


def test_a_database_that_nvoi_runs_is_described_by_its_secrets_and_host() -> None:
    result = build(Database(adapter="postgresql", secrets=POSTGRES_SECRETS), host="db-shop")
    assert result == {
        "DEPLOY_ENV": "production",
        "DATABASE_ADAPTER": "postgresql",
        "DATABASE_URL": "postgresql://app:p%40ss%2Fword@db-shop:5432/shop%20db",
        "POSTGRES_HOST": "db-shop",
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": "app",
        "POSTGRES_PASSWORD": "p@ss/word",
        "POSTGRES_DB": "shop db",
    }


def test_mysql_has_variables_of_its_own() -> None:
    secrets = {"MYSQL_USER": "u", "MYSQL_PASSWORD": "p", "MYSQL_DATABASE": "d", "MYSQL_X": "x"}
    database = Database(adapter="mysql", secrets={k: Secret(v) for k, v in secrets.items()})
    assert build(database, host="db-shop") == {
        "DEPLOY_ENV": "production",
        "DATABASE_ADAPTER": "mysql",
        "DATABASE_URL": "mysql://u:p@db-shop:3306/d",
        "MYSQL_HOST": "db-shop",
        "MYSQL_PORT": "3306",
        **secrets,
    }


def test_without_a_host_nothing_is_said_of_where_the_database_is() -> None:
    result = build(Database(adapter="postgres", secrets=POSTGRES_SECRETS))
    assert "DATABASE_URL" not in result
    assert "POSTGRES_HOST" not in result


def test_a_url_is_passed_on_as_it_is_and_taken_apart_decoded() -> None:
    url = "postgres://us%40er:p%2Fw@db.example.com/sh%20op?sslmode=require"
    result = build(Database(adapter="postgres", url=Secret(url)), host="ignored")
    assert result == {
        "DEPLOY_ENV": "production",
        "DATABASE_ADAPTER": "postgres",
        "DATABASE_URL": url,
        "POSTGRES_HOST": "db.example.com",
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": "us@er",
        "POSTGRES_PASSWORD": "p/w",
        "POSTGRES_DB": "sh op",
    }


def test_a_mysql_url_is_taken_apart_too_and_what_it_leaves_out_is_left_out() -> None:
    result = build(Database(adapter="mysql", url=Secret("mysql2://root@127.0.0.1:3307/")))
    assert result == {
        "DEPLOY_ENV": "production",
        "DATABASE_ADAPTER": "mysql",
        "DATABASE_URL": "mysql2://root@127.0.0.1:3307/",
        "MYSQL_HOST": "127.0.0.1",
        "MYSQL_PORT": "3307",
        "MYSQL_USER": "root",
    }


def test_a_url_without_an_adapter_is_passed_on() -> None:
    result = build(Database(url=Secret("oracle://x")))
    assert result == {"DEPLOY_ENV": "production", "DATABASE_URL": "oracle://x"}
