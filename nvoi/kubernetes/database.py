"""What databases need: variables, folders, arguments, the question for probes, their priority.

Their pages on Docker Hub, postgres and mysql, are the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nvoi.config.schema import Application, Database
from nvoi.kubernetes.names import build_labels, build_metadata, build_object

PRIORITY = "nvoi-database"
# The highest that may be given to anything but Kubernetes' own parts is a billion (its
# documentation, "Pod Priority and Preemption"); it can never be changed.
PRIORITY_VALUE = 1_000_000
# While an image sets a new database up it listens on a local socket only; over TCP there is no
# answer before it is done.
ASK_POSTGRES = 'pg_isready -q -h 127.0.0.1 -U "$POSTGRES_USER" -d "$POSTGRES_DB"'
# MariaDB's images have the program under a name of its own.
ASK_MYSQL = (
    "ask=$(command -v mysqladmin || command -v mariadb-admin) && "
    'MYSQL_PWD="${MYSQL_PASSWORD:-$MYSQL_ROOT_PASSWORD}" '
    '"$ask" ping --silent -h 127.0.0.1 -u "${MYSQL_USER:-root}"'
)


@dataclass(frozen=True)
class DatabaseEngine:
    """A kind of database: its usual image, the folder of its data, and how it is asked."""

    image: str
    folder: str
    question: str


ENGINES = {
    "postgres": DatabaseEngine("postgres:17", "/var/lib/postgresql/data", ASK_POSTGRES),
    "mysql": DatabaseEngine("mysql:8.4", "/var/lib/mysql", ASK_MYSQL),
}


def find_engine(application: Application) -> DatabaseEngine | None:
    """The engine of the app's database, None where nvoi runs none: it is elsewhere, or a file."""
    database = application.database
    if database is None or database.url is not None:
        return None
    return ENGINES.get(database.engine or "")


def find_folder(database: Database, engine: DatabaseEngine) -> str:
    """The folder of the data in the container: the config's mount, else the image's own."""
    return next(iter(database.mount.values()), engine.folder).rstrip("/")


def build_database_environment(database: Database, folder: str) -> Mapping[str, str]:
    """The environment of the database's container: its own secrets, and what its image needs."""
    settings = {name: value.reveal() for name, value in database.secrets.items()}
    if database.engine == "postgres":
        # A fresh disk has a folder `lost+found`, and initdb wants an empty one.
        return {"PGDATA": f"{folder}/pgdata"} | settings
    return build_mysql_environment(settings)


def build_mysql_environment(settings: dict[str, str]) -> dict[str, str]:
    """MySQL's settings with a password for root, without which the image does not start.

    Root is let in from the container alone, and has the user's password where it has none of
    its own. A user who is root must not be named as a user as well, and is let in from the app.
    """
    if settings.get("MYSQL_USER") == "root":
        password = settings["MYSQL_PASSWORD"]
        others = {
            name: value
            for name, value in settings.items()
            if name not in {"MYSQL_USER", "MYSQL_PASSWORD"}
        }
        # Last, so that it wins: it is what the app is told to log in with.
        return others | {"MYSQL_ROOT_PASSWORD": password}
    password = settings.get("MYSQL_PASSWORD", "")
    return {"MYSQL_ROOT_PASSWORD": password, "MYSQL_ROOT_HOST": "localhost"} | settings


def build_database_arguments(
    database: Database, engine: DatabaseEngine, folder: str
) -> tuple[str, ...]:
    """MySQL is told of another folder than its own by an argument."""
    if database.engine != "mysql" or folder == engine.folder:
        return ()
    return (f"--datadir={folder}",)


def build_priority(deploy_id: str) -> dict[str, object]:
    """The class of all databases of a cluster: the first to get a place, the last to lose it."""
    labels = build_labels("nvoi", "database", PRIORITY, "priority")
    metadata = build_metadata(PRIORITY, labels, deploy_id)
    del metadata["namespace"]
    about = "Databases of apps that nvoi deploys"
    return build_object("PriorityClass", metadata, value=PRIORITY_VALUE, description=about)
