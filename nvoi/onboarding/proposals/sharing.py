"""The variables of several services: secrets are the app's, others may be one service's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from nvoi.config.fields import ENV_NAME
from nvoi.config.nodes import Scalar, join_path
from nvoi.config.schema import Database
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.hosts import DATABASE_HOST, rename_hosts
from nvoi.onboarding.proposals.tree import Note
from nvoi.onboarding.proposals.variables import is_secret
from nvoi.secret import Secret

#: What nvoi sets itself where the app has a database.
SET_BY_NVOI = re.compile(r"DATABASE_URL|(?:POSTGRES|MYSQL)_(?:HOST|PORT|USER|PASSWORD|DB|DATABASE)")
#: A driver of its own in the address is the app's business, and stays.
DRIVER = re.compile(r"\w+\+\w+:")
PORTS = frozenset({"5432", "3306"})

#: The variables of each service; a value knows its place.
Variables = Mapping[str, Mapping[str, Scalar]]


def share(notes: list[Note], answers: Answers, variables: Variables) -> Answers:
    """The apps with variables of their own, and what all of them get."""
    env: dict[str, str] = {}
    secrets: dict[str, Secret] = {}
    database = answers.database
    own: dict[str, dict[str, str]] = {app.name: {} for app in answers.apps}
    everybody = [variables.get(app.name, {}) for app in answers.apps]
    for app in answers.apps:
        for name, scalar in variables.get(app.name, {}).items():
            value, path = scalar.text, f"{app.name}: {join_path('', name)}"
            if not ENV_NAME.fullmatch(name):
                notes.append(Note(scalar.place, path, "is no name that a variable can have"))
            elif database and is_set_by_nvoi(name, value, database, answers.hosts):
                notes.append(Note(scalar.place, path, "nvoi sets it, for its own database"))
            elif name == "PORT" and app.port:
                notes.append(Note(scalar.place, path, "nvoi sets it, to the service's `port`"))
            elif name == "PORT":
                own[app.name][name] = value
            elif is_secret(name, value):
                first = secrets.setdefault(name, Secret(value))
                if first.reveal() != value:
                    own[app.name][name] = value
                    message = "differs between services: this one is in `env`, and not masked"
                    notes.append(Note(scalar.place, path, message))
            elif all(name in other and other[name].text == value for other in everybody):
                env[name] = value
            else:
                own[app.name][name] = value
    apps = tuple(
        replace(app, env=MappingProxyType({**app.env, **own[app.name]})) for app in answers.apps
    )
    return replace(answers, apps=apps, env={**answers.env, **env}, secrets=secrets)


def is_set_by_nvoi(name: str, value: str, database: Database, hosts: Mapping[str, str]) -> bool:
    """Whether a variable says of the app's own database what nvoi says in the same variable."""
    if not SET_BY_NVOI.fullmatch(name) or DRIVER.match(value):
        return False
    if name in database.secrets:
        return database.secrets[name].reveal() == value
    if name.endswith("_PORT"):
        return value in PORTS
    own = {host: "" for host, service in hosts.items() if service == DATABASE_HOST}
    return rename_hosts(name, value, own) != value
