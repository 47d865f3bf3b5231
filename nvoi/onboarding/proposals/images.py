"""Images that are known by their names: databases, and what others need of a command."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from nvoi.config.nodes import Scalar, Sequence, join_path
from nvoi.config.schema import Database, Volume
from nvoi.onboarding.commands import read_words
from nvoi.onboarding.databases import MYSQL, POSTGRES, DatabaseKind, complete
from nvoi.onboarding.proposals.tree import Stanza
from nvoi.secret import Secret

#: The last part of the names of images that are set up as the official ones are (Docker Hub).
DATABASES: Mapping[str, DatabaseKind] = {
    **dict.fromkeys(
        ("postgres", "postgis", "pgvector", "timescaledb", "timescaledb-ha", "citus", "pgvecto-rs"),
        POSTGRES,
    ),
    **dict.fromkeys(("mysql", "mariadb", "mysql-server", "percona", "percona-server"), MYSQL),
}
#: Those of these owners are called so too, and have other variables and folders.
OTHER_MAKERS = re.compile(r"(?:^|/)(?:bitnami|bitnamilegacy|linuxserver|supabase)/")

#: What an image's own entrypoint puts before arguments, as nvoi's command stands in its place.
PROGRAMS = {
    "redis": "redis-server",
    "valkey": "valkey-server",
    "keydb": "keydb-server",
    "mongo": "mongod",
    "minio": "minio",
    "memcached": "memcached",
    "nats": "nats-server",
    "traefik": "traefik",
    "caddy": "caddy run",
    "nginx": "nginx",
    "prometheus": "/bin/prometheus",
}
#: Where images listen that say nothing of it: each one's page on Docker Hub.
PORTS = {
    **dict.fromkeys(("redis", "valkey", "keydb", "redis-stack", "redis-stack-server"), 6379),
    **dict.fromkeys(("postgres", "postgis", "pgvector", "timescaledb", "postgresql"), 5432),
    **dict.fromkeys(("mysql", "mariadb", "percona"), 3306),
    **dict.fromkeys(("mongo", "mongodb"), 27017),
    **dict.fromkeys(("elasticsearch", "opensearch"), 9200),
    **dict.fromkeys(("mailhog", "mailpit", "mailcatcher"), 1025),
    **dict.fromkeys(("nginx", "caddy", "httpd", "phpmyadmin", "traefik"), 80),
    **dict.fromkeys(("adminer", "keycloak", "imgproxy"), 8080),
    **dict.fromkeys(("grafana", "gotenberg", "chrome"), 3000),
    "memcached": 11211,
    "rabbitmq": 5672,
    "minio": 9000,
    "meilisearch": 7700,
    "typesense": 8108,
    "nats": 4222,
    "kafka": 9092,
    "zookeeper": 2181,
    "clickhouse-server": 8123,
    "influxdb": 8086,
    "etcd": 2379,
    "qdrant": 6333,
    "prometheus": 9090,
    "beanstalkd": 11300,
    "temporal": 7233,
}
#: Names of the same settings: those of MariaDB's images, and of theirs alone.
ALIASES = {
    "MARIADB_USER": "MYSQL_USER",
    "MARIADB_PASSWORD": "MYSQL_PASSWORD",
    "MARIADB_DATABASE": "MYSQL_DATABASE",
    "MARIADB_ROOT_PASSWORD": "MYSQL_ROOT_PASSWORD",
}
FILE_SUFFIX = "_FILE"
#: What nvoi itself says of a database: where it is reached, and how its image keeps the data.
OWN = frozenset({"DATABASE_URL", "PGDATA", "PGHOST", "PGPORT", "POSTGRES_HOST_AUTH_METHOD"}) | {
    f"{engine}_{part}" for engine in ("POSTGRES", "MYSQL", "MARIADB") for part in ("HOST", "PORT")
}
#: The variables that databases' images read (Docker Hub), among all that a file may have for them.
READ = re.compile(
    r"(?:POSTGRES|POSTGIS|PG|TIMESCALEDB|TS|CITUS|MYSQL|MARIADB|LC)_|PG[A-Z]+$|(?:TZ|LANG)$"
)


def get_base(image: str) -> str:
    """``pgvector`` of ``docker.io/pgvector/pgvector:pg17@sha256:…``."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()


def find_image_port(image: str) -> int | None:
    return PORTS.get(get_base(image))


def find_database_kind(image: str) -> DatabaseKind | None:
    """The kind of database that an image is; None for one that nvoi cannot set up."""
    return None if OTHER_MAKERS.search(image) else DATABASES.get(get_base(image))


def build_database(
    stanza: Stanza, image: str, settings: Mapping[str, Scalar], mounts: Mapping[str, str]
) -> tuple[Database, Volume]:
    """The database that a file sets up by an image's variables; what it lacks is made."""
    kind = find_database_kind(image)
    assert kind  # noqa: S101 - it was chosen for it
    known = {ALIASES.get(name, name): one.text for name, one in settings.items()}
    for name in (name for name in known if name in OWN):
        stanza.add_note(None, f"{name} is nvoi's to say, and is left out")
    # All that a database is set up with is every service's too, and goes over what nvoi says.
    if others := [name for name in known if name not in OWN and not READ.match(name)]:
        shown = ", ".join(dict.fromkeys(join_path("", name) for name in others))
        stanza.add_note(None, f"{shown}: left out, as the database's image does not read it")
    left = known.keys() - OWN - {*others}
    known = {name: value for name, value in known.items() if value and name in left}
    if kind is POSTGRES:
        # The image's own defaults, on which the app counts (Docker Hub, postgres).
        user = known.setdefault("POSTGRES_USER", "postgres")
        known.setdefault("POSTGRES_DB", user)
    elif "MYSQL_USER" not in known and "MYSQL_ROOT_PASSWORD" in known:
        known |= {"MYSQL_USER": "root", "MYSQL_PASSWORD": known["MYSQL_ROOT_PASSWORD"]}
    secrets = {name: Secret(value) for name, value in known.items()}
    mount = choose_mount(stanza, kind, mounts)
    made = complete(Database(adapter=kind.adapter, image=image, mount=mount, secrets=secrets), kind)
    lacking = [name for name in kind.passwords if name not in known]
    if lacking:
        stanza.add_note(None, f"{', '.join(lacking)}: made by chance, as the file has none")
    return made, Volume(next(iter(made.mount)))


def choose_mount(stanza: Stanza, kind: DatabaseKind, mounts: Mapping[str, str]) -> dict[str, str]:
    """The volume with a database's data, at its image's folder or a part of it; one at most."""
    root = posixpath.join("/", *kind.folder.split("/")[1:4])
    chosen = next((name for name, path in mounts.items() if path.startswith(root)), None)
    for name, path in mounts.items():
        if name != chosen:
            stanza.add_note(None, f"volume {name} at {path}: a database has one, for its data")
    return {chosen: mounts[chosen]} if chosen else {}


def read_program(stanza: Stanza, key: str, image: str) -> str:
    """The command of a finished image that a file gives arguments alone, at ``key``."""
    arguments = read_words(stanza.take(key, Scalar, Sequence))
    command = build_program(image, arguments) if arguments else ""
    if command is None:
        stanza.add_note(
            None,
            f"{key}: it is arguments for the image's own program, which nvoi's `command` has to "
            "name too; it is left out",
        )
    return command or ""


def build_program(image: str, words: str) -> str | None:
    """The command line for an image that was given arguments alone; None where it is not known."""
    base = get_base(image)
    if base not in PROGRAMS:
        return None if words.startswith("-") else words
    program = PROGRAMS[base]
    first = words.split(maxsplit=1)[0] if words.split() else ""
    if first == program.split()[0] or first in {"sh", "bash", "/bin/sh", "/bin/bash"}:
        return words
    if words.startswith("-") or base == "minio":
        return f"{program} {words}"
    return words
