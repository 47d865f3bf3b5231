"""The environment variables of an app's services, and the database that they name."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from nvoi.config.schema import Application, AppService, Database
from nvoi.secret import Secret

# A driver may follow the scheme, as in mysql+pymysql://.
SCHEMES = {"postgres": ("postgres", "postgresql"), "mysql": ("mysql", "mysql2")}
# Ports on which the servers listen unless told otherwise: PostgreSQL 5432, MySQL 3306 (IANA).
DEFAULT_PORTS = {"postgres": 5432, "mysql": 3306}
# What a database that nvoi runs is set up with: its user, password and name.
SECRETS = {
    "postgres": ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"),
    "mysql": ("MYSQL_USER", "MYSQL_PASSWORD", "MYSQL_DATABASE"),
}


def build_environment(
    application: Application,
    service: AppService,
    *,
    database_host: str | None = None,
    sqlite_mount: str | None = None,
) -> dict[str, str]:
    """What ``service`` finds in its environment, secrets revealed; later settings win.

    Args:
        database_host: where a database without a ``url`` is reached. Without it nothing is
            said of such a database's address.
        sqlite_mount: the folder of the sqlite3 file, where it is not the mount's own path.
    """
    environment = {"DEPLOY_ENV": application.environment}
    if application.database:
        database = application.database
        environment |= build_database_environment(
            application.name, database, database_host, sqlite_mount
        )
        environment |= {name: value.reveal() for name, value in database.secrets.items()}
    environment |= application.env
    environment |= {name: value.reveal() for name, value in application.secrets.items()}
    environment |= service.env
    if service.port is not None:
        environment.setdefault("PORT", str(service.port))
    return environment


def build_database_environment(
    name: str, database: Database, host: str | None, sqlite_mount: str | None
) -> dict[str, str]:
    """``DATABASE_ADAPTER``, ``DATABASE_URL`` and the adapter's own variables."""
    environment = {"DATABASE_ADAPTER": database.adapter} if database.adapter else {}
    if database.engine == "sqlite3":
        mount = sqlite_mount or next(iter(database.mount.values()), "")
        environment["DATABASE_URL"] = f"sqlite://{mount.rstrip('/')}/{name}-database.sqlite3"
        return environment
    if database.url:
        environment["DATABASE_URL"] = database.url.reveal()
    if database.engine in SECRETS and (database.url or host):
        address = build_address(database, database.engine, host)
        environment.setdefault("DATABASE_URL", build_database_url(database.engine, address))
        environment |= describe_address(address, database.engine)
    return environment


def build_address(database: Database, engine: str, host: str | None) -> DatabaseAddress:
    """The address of ``database.url``, or of the database that nvoi runs on ``host``."""
    if database.url:
        return parse_database_url(database.url.reveal(), engine)
    user, password, name = SECRETS[engine]
    secrets = database.secrets
    return DatabaseAddress(
        host=host,
        port=DEFAULT_PORTS[engine],
        user=secrets[user].reveal() if user in secrets else None,
        password=secrets.get(password),
        database=secrets[name].reveal() if name in secrets else None,
    )


def describe_address(address: DatabaseAddress, engine: str) -> dict[str, str]:
    """The adapter's own variables; what the address leaves out is left out."""
    user, password, name = SECRETS[engine]
    values = {
        f"{engine.upper()}_HOST": address.host,
        f"{engine.upper()}_PORT": str(address.port or DEFAULT_PORTS[engine]),
        user: address.user,
        password: address.password.reveal() if address.password else None,
        name: address.database,
    }
    return {variable: value for variable, value in values.items() if value is not None}


@dataclass(frozen=True)
class DatabaseAddress:
    """Where a database is and who may use it; None for what a URL leaves out."""

    host: str | None
    port: int | None
    user: str | None
    password: Secret | None
    database: str | None


def parse_database_url(url: str, engine: str) -> DatabaseAddress:
    """The parts of a URL of ``engine``, percent-decoded.

    Raises:
        ValueError: it is no such URL. The text does not repeat it.
    """
    schemes = SCHEMES[engine]
    allowed = (
        f"must be {schemes[0]}://USER:PASSWORD@HOST:PORT/NAME; "
        "special characters in the password need percent-encoding"
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(allowed) from None
    misplaced = parts.fragment or "@" in parts.path or any(c.isspace() for c in url)
    if parts.scheme.partition("+")[0] not in schemes or misplaced or not url.isprintable():
        raise ValueError(allowed)
    return DatabaseAddress(
        host=parts.hostname,
        port=port,
        user=unquote(parts.username) if parts.username else None,
        password=Secret(unquote(parts.password)) if parts.password else None,
        database=unquote(parts.path.removeprefix("/")) or None,
    )


def build_database_url(engine: str, address: DatabaseAddress) -> str:
    """``postgresql://user:password@host:port/name``, or the same with ``mysql``.

    ``postgresql`` and not ``postgres``, which SQLAlchemy no longer takes; both are named
    by PostgreSQL's manual (libpq, Connection URIs).
    """
    scheme = "postgresql" if engine == "postgres" else engine
    user = quote(address.user or "", safe="")
    password = quote(address.password.reveal(), safe="") if address.password else ""
    name = quote(address.database or "", safe="")
    return f"{scheme}://{user}:{password}@{address.host}:{address.port}/{name}"
