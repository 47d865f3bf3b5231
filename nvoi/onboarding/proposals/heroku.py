"""``Procfile`` and ``app.json``, which belong together: processes, and what they need.

Source: Heroku's documentation, "The Procfile" and "app.json Schema".
"""

from __future__ import annotations

import json
import posixpath
import secrets
from dataclasses import replace

from nvoi.config.nodes import Position, Scalar
from nvoi.config.schema import AppService, AuxiliaryService, Database, Volume
from nvoi.errors import ConfigError, Fault
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.checkout import (
    ImageConfig,
    build_local_services,
    build_services,
    build_slug,
    complete_services,
    read_procfile,
)
from nvoi.onboarding.commands import find_count
from nvoi.onboarding.databases import MYSQL, POSTGRES, VOLUME, DatabaseKind, complete
from nvoi.onboarding.proposals.proposal import (
    Proposal,
    Reading,
    build_proposal,
)
from nvoi.onboarding.proposals.tree import Stanza, find_text, read_tree
from nvoi.onboarding.recipes import Recipe, find_recipe
from nvoi.onboarding.sources import find_health

NAMES = ("app.json", "Procfile")
SECRET_BYTES = 32
#: Keys by which Heroku's file is known.
OWN = frozenset(
    ("env", "addons", "buildpacks", "formation", "scripts", "stack", "environments", "repository")
)
ABOUT = "says nothing of how the app runs"
REASONS = {
    **dict.fromkeys(
        ("$schema", "description", "keywords", "website", "repository", "logo", "success_url"),
        ABOUT,
    ),
    "buildpacks": "on servers nvoi builds the checkout's Dockerfile",
    "stack": "on servers nvoi builds the checkout's Dockerfile",
    "image": "on servers nvoi builds the checkout's Dockerfile",
    "environments": "an environment is a config of its own, or `--branch`",
    "scripts": "nvoi runs `pre_run_command` before each release, and nothing once",
}
DATABASES: dict[str, DatabaseKind] = {
    "heroku-postgresql": POSTGRES,
    "crunchy-postgres": POSTGRES,
    "jawsdb": MYSQL,
    "jawsdb-maria": MYSQL,
    "cleardb": MYSQL,
}
REDIS = frozenset({"heroku-redis", "rediscloud", "redistogo", "redisgreen", "openredis"})
REDIS_IMAGE, REDIS_PORT = "redis:7", 6379


def read_heroku(reading: Reading, file: str) -> Proposal:
    """The app of a Procfile or an app.json, with the other one where it is there."""
    folder = posixpath.dirname(file)
    procfile, app_json = (posixpath.join(folder, name) for name in ("Procfile", "app.json"))
    text = reading.read_text(app_json)
    root = read_tree(text, app_json, reading.notes) if text.strip() else None
    if root is not None and is_foreign(app_json, text):
        if file == app_json:
            raise ConfigError(
                file, [Fault(1, 1, "", "is of a mobile app, and says nothing of a server")]
            )
        root = None
    processes = read_procfile(reading.read_text(procfile), procfile, reading.notes)
    stanza = Stanza(reading.notes, "", root)
    apps = read_apps(reading, stanza, processes)
    answers = Answers(name=build_slug(stanza.text("name")), apps=apps)
    answers = read_addons(stanza, answers)
    variables = read_variables(reading, stanza, app_json)
    stanza.tell_all(REASONS)
    answered = ["Apps"] if processes else []
    answered += ["Database", "Variables"] if root is not None else []
    own = {app.name: variables for app in apps}
    return build_proposal(reading, file, answers, own, answered)


def is_foreign(file: str, text: str) -> bool:
    """Whether an app.json is one of a mobile app's, or of another tool that has such a file."""
    if not file.endswith("app.json"):
        return False
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and ("expo" in content or not OWN.intersection(content))


def read_apps(
    reading: Reading, stanza: Stanza, processes: dict[str, str]
) -> tuple[AppService, ...]:
    if reading.is_local:
        health = find_health(reading.folder)
        recipe = find_recipe(reading.folder) or Recipe("", health=health)
        apps = build_local_services(processes, ImageConfig(), recipe)
    else:
        apps = complete_services(build_services(processes, "", None))
    counts = read_formation(stanza)
    idle = [app.name for app in apps if counts.get(app.name) == 0]
    for name in idle:
        stanza.add_note(None, f"formation: {name} runs nowhere, and is left out")
    left = [replace(app, replicas=counts.get(app.name)) for app in apps if app.name not in idle]
    # What goes before a release does so whatever runs then.
    before = next((app.pre_run_command for app in apps if app.pre_run_command), None)
    left[:1] = [replace(app, pre_run_command=before) for app in left[:1]]
    return tuple(left)


def read_formation(stanza: Stanza) -> dict[str, int]:
    """How many of each process run; a mapping, or a list of them."""
    counts: dict[str, int] = {}
    for formation in stanza.stanzas("formation"):
        for name in formation.list_keys():
            process = formation.stanza(name)
            text = process.text("quantity")
            if (count := find_count(text)) is not None:
                counts[name] = count
            process.tell_all({"size": "what a service may use is its `resources`"})
    return counts


def read_addons(stanza: Stanza, answers: Answers) -> Answers:
    """A database or Redis that was rented becomes one that runs beside the app."""
    for item in stanza.items("addons"):
        text = find_text(item) or find_text(item, "plan")
        name = text.partition(":")[0]
        if name in DATABASES and answers.database is None:
            database = complete(Database(), DATABASES[name])
            answers = replace(answers, database=database, volume=Volume(VOLUME))
        elif name in REDIS and not answers.services:
            redis = AuxiliaryService("redis", REDIS_IMAGE, port=REDIS_PORT)
            answers = replace(
                answers,
                services=(redis,),
                hosts={"redis": "redis"},
                env={"REDIS_URL": f"redis://redis:{REDIS_PORT}"},
            )
        else:
            stanza.add_note(
                item, f"addon {text}: nvoi rents nothing; give its address in a variable"
            )
    return answers


def read_variables(reading: Reading, stanza: Stanza, file: str) -> dict[str, Scalar]:
    """The variables with a value here or in the environment; Heroku makes some by chance."""
    env = stanza.stanza("env")
    found: dict[str, Scalar] = {}
    for name in env.list_keys():
        node = env.take(name)
        if node is None or isinstance(node, Scalar):
            place = node.place if node else Position(0, 0, file)
            text = node.text if node else reading.get_value_or_mark(name, place, "env")
            found[name] = Scalar(text, plain=False, place=place)
            continue
        about = Stanza(reading.notes, f"env.{name}", node)
        about.take("description")
        text, generator = about.text("value") or about.text("default"), about.text("generator")
        is_required = about.text("required").lower() != "false"
        if generator == "secret":
            text = reading.find_value(name, node.place) or secrets.token_hex(SECRET_BYTES)
            reading.secrets.add(name)
        elif not text and (is_required or name in reading.variables):
            text = reading.get_value_or_mark(name, node.place, f"env.{name}")
        about.tell_all({})
        if text or "value" in getattr(node, "entries", {}):
            found[name] = Scalar(text, plain=False, place=node.place)
        else:
            about.add_note(node, "has no value and needs none: it is left out")
    return found
