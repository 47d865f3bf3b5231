"""What a file of another tool says of an app, as far as nvoi has the same."""

from __future__ import annotations

import itertools
import posixpath
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from nvoi.config.environment import DEFAULT_PORTS, SECRETS, parse_database_url
from nvoi.config.fields import ENV_NAME, SERVICE_NAME
from nvoi.config.nodes import Node, Position, Scalar, join_path
from nvoi.config.schema import AppService, Database
from nvoi.errors import ConfigError, Fault
from nvoi.onboarding.answers import DATABASE_HOST, Answers, build_config, list_hosts
from nvoi.onboarding.checkout import ImageConfig, build_slug
from nvoi.onboarding.commands import use_port
from nvoi.onboarding.document import build_tree
from nvoi.onboarding.proposals.tree import Note, Stanza, list_unreadable
from nvoi.onboarding.recipes import Recipe, find_recipe, prepare_app
from nvoi.onboarding.sources import MOST_SERVICES, check_count, holds_files, read_text
from nvoi.onboarding.variables import is_secret
from nvoi.secret import Secret
from nvoi.targets.local import find_overlaps
from nvoi.targets.local.programs import build_mount_name

# Stands in a text for a variable that has no value here, between two characters that nobody types.
MARK = "\ue000"
NO_SERVER = (
    "the app's {engine} has to run already, as nvoi runs none on this machine: its address, "
    "{engine}://USER:PASSWORD@HOST/NAME, in $DATABASE_URL"
)
NO_APP = (
    "an app: the file has none that is built from the checkout, and finished images run on servers "
    "alone"
)
DOCKERFILE = "Dockerfile"
#: Characters that a file may gain by what it names, and variables of all its apps together.
MOST_GAINED, MOST_VARIABLES = 4 << 20, 50_000
HIDES = "volume {volume}, which begins empty, hides the files that are there without it"
MARKED = re.compile(f"{MARK}([^{MARK}]*){MARK}")
#: What nvoi sets itself where the app has a database.
SET_BY_NVOI = re.compile(r"DATABASE_URL|(?:POSTGRES|MYSQL)_(?:HOST|PORT|USER|PASSWORD|DB|DATABASE)")
#: An address with a driver of its own, such as mysql2, is the app's business, and stays.
DRIVER = re.compile(r"(?!(?:postgres|postgresql|mysql)://)[\w+.:-]+://")
PORTS = frozenset(map(str, DEFAULT_PORTS.values()))

#: The variables of each service; a value knows its place.
Variables = Mapping[str, Mapping[str, Scalar]]


@dataclass(frozen=True)
class Proposal:
    """Answers that a file has; ``answered`` are the titles of the topics that need not be asked.

    ``missing`` says where each variable without a value is needed; ``faults`` are what else the
    file needs, and is not here.
    """

    file: str
    answers: Answers
    answered: frozenset[str]
    notes: tuple[Note, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


@dataclass
class Reading:
    """What is known while a file is read, and what is gathered.

    Attributes:
        folder: the checkout.
        variables: the values of ``.env`` files and, before these, of the environment.
        is_local: whether this machine is to run the app, and no servers.
        root: the folder that stands for the checkout; a file that is elsewhere has its own.
        wanted: where each variable without a value is asked for first.
        faults: what else the user has to mend before the file can be used, each once: by a
            file's name, a database's engine, or "app".
        volumes: what each volume stands for, by its name: two folders never share one.
        secrets: the variables that the file itself calls secret.
        links: what stands where in a release: volumes by name, "" what a recipe installs.
        gained: characters of other files, and of values that stand for variables.
    """

    folder: Path
    variables: Mapping[str, str]
    is_local: bool
    root: str = ""
    notes: list[Note] = field(default_factory=list)
    wanted: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    volumes: dict[str, str] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    links: dict[PurePosixPath, str] = field(default_factory=dict)
    gained: int = 0

    def find_value(self, name: str, place: Position) -> str | None:
        """The value of a variable that stands in a text at ``place``."""
        value = self.variables.get(name)
        return None if value is None else self.gain(value, place)

    def gain(self, text: str, place: Position) -> str:
        """``text``, which stands at ``place`` now.

        Raises:
            ConfigError: there is more than a config can hold.
        """
        self.gained += len(text)
        if self.gained > MOST_GAINED:
            message = "with its variables and the files it names it is longer than 4 MiB"
            raise ConfigError(place.file, [Fault(place.line, 1, "", message)])
        return text

    def get_value_or_mark(self, name: str, place: Position, path: str) -> str:
        """The value of a variable, or a mark that stands for it."""
        value = self.variables.get(name)
        if value is not None:
            return self.gain(value, place)
        self.wanted.setdefault(name, str(Note(place, path, f"${name}")))
        return f"{MARK}{name}{MARK}"

    def read_text(self, name: str) -> str:
        text = read_text(self.folder / name)
        self.notes += list_unreadable(text, name)
        return text

    def name_volume(self, source: str, *names: str) -> str:
        """The name of the volume for ``source``: the first of ``names`` that is no other's."""
        wanted = [build_slug(name) or "data" for name in names]
        numbered = (f"{wanted[-1]}-{number}" for number in itertools.count(2))
        candidates = itertools.chain(wanted, numbered)
        return next(one for one in candidates if self.volumes.setdefault(one, source) == source)

    def tell_dockerfile(self, place: Position, path: str, file: str) -> None:
        """Say how an image is built of another file than the checkout's Dockerfile."""
        if posixpath.normpath(file or DOCKERFILE) != DOCKERFILE and not self.is_local:
            command = f"nvoi deploy --dockerfile-path {shlex.quote(file)}"
            self.notes.append(Note(place, path, f"is deployed with: {command}"))


def find_marks(tree: Any) -> Iterator[str]:
    """The names of the variables that a config's texts still want."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from (*MARKED.findall(key), *find_marks(value))
    elif isinstance(tree, list):
        for value in tree:
            yield from find_marks(value)
    elif isinstance(tree, str):
        yield from MARKED.findall(tree)


def build_proposal(
    reading: Reading,
    file: str,
    answers: Answers,
    variables: Variables,
    answered: Iterable[str] = ("Apps", "Database", "Variables"),
) -> Proposal:
    """The proposal of what was read; what this machine needs beside it is told.

    Args:
        variables: those of each app, which are divided among them.
        answered: the topics that the file says all of.
    """
    check_count(file, sum(map(len, variables.values())), MOST_VARIABLES, "variables")
    answers = divide_variables(reading, answers, variables)
    answered = {*answered, *(["Application"] if answers.name else [])}
    if answers.groups:
        answered.add("Place")
    if reading.is_local and answers.database and answers.database.engine in SECRETS:
        database = find_running(reading, answers.database, answers.hosts)
        answers = replace(answers, database=database, volume=None)
        if database.url is None:
            answered.discard("Database")
            reading.faults[database.engine or ""] = NO_SERVER.format(engine=database.engine)
    if reading.is_local and not answers.apps:
        answered.discard("Apps")
        reading.faults["app"] = NO_APP
    if reading.is_local:
        answers = replace(answers, apps=tuple(divide_ports(reading, file, answers.apps)))
    if reading.is_local and (recipe := find_recipe(reading.folder)):
        answers = replace(answers, secrets={**recipe.secrets, **answers.secrets})
    needed = dict.fromkeys(find_marks(build_tree(build_config(answers))))
    missing = {name: reading.wanted.get(name, f"${name}") for name in needed}
    notes = sorted(dict.fromkeys(reading.notes), key=lambda note: note.file_and_line)
    cleaned = tuple(replace(one, message=MARKED.sub(r"$\1", one.message)) for one in notes)
    faults = tuple(reading.faults.values())
    return Proposal(file, answers, frozenset(answered), cleaned, missing, faults)


def divide_variables(reading: Reading, answers: Answers, variables: Variables) -> Answers:
    """The apps with variables of their own, and what all of them get."""
    notes = reading.notes
    env: dict[str, str] = {}
    secrets: dict[str, Secret] = {}
    database = answers.database
    hosts = {name for name, service in answers.hosts.items() if service == DATABASE_HOST}
    own: dict[str, dict[str, str]] = {app.name: {} for app in answers.apps}
    told = [variables.get(app.name, {}) for app in answers.apps]
    counts = Counter((name, one.text) for each in told for name, one in each.items())
    are_secret = {pair: pair[0] in reading.secrets or is_secret(*pair) for pair in counts}
    for app in answers.apps:
        for name, scalar in variables.get(app.name, {}).items():
            value, path = scalar.text, f"{app.name}: {join_path('', name)}"
            if not ENV_NAME.fullmatch(name):
                notes.append(Note(scalar.place, path, "is no name that a variable can have"))
            elif database and is_set_by_nvoi(name, value, database, hosts):
                notes.append(Note(scalar.place, path, "nvoi sets it, for its own database"))
            elif name == "PORT" and app.port:
                notes.append(Note(scalar.place, path, "nvoi sets it, to the service's `port`"))
            elif name == "PORT":
                own[app.name][name] = value
            elif are_secret[name, value]:
                first = secrets.setdefault(name, Secret(value))
                if first.reveal() != value:
                    own[app.name][name] = value
                    message = "differs between services: this one is in `env`, and not masked"
                    notes.append(Note(scalar.place, path, message))
            elif counts[name, value] == len(answers.apps):
                env[name] = value
            else:
                own[app.name][name] = value
    apps = tuple(
        replace(app, env=MappingProxyType({**app.env, **own[app.name]})) for app in answers.apps
    )
    return replace(answers, apps=apps, env={**answers.env, **env}, secrets=secrets)


def is_set_by_nvoi(name: str, value: str, database: Database, hosts: set[str]) -> bool:
    """Whether a variable says of the app's own database what nvoi says in the same variable.

    ``hosts`` are the names by which the database is reached.
    """
    if not SET_BY_NVOI.fullmatch(name) or DRIVER.match(value):
        return False
    if name in database.secrets:
        return database.secrets[name].reveal() == value
    if name.endswith("_PORT"):
        return value in PORTS
    return not hosts.isdisjoint(list_hosts(name, value))


def divide_ports(reading: Reading, file: str, apps: Sequence[AppService]) -> Iterator[AppService]:
    """On one machine each service needs a port of its own; the first keeps it."""
    taken: set[int] = set()
    for app in apps:
        port = app.port
        while port in taken:
            port += 1
        if port is not None and port != app.port:
            message = f"port {app.port} is another service's too: it has {port}"
            reading.notes.append(Note(Position(0, 0, file), app.name, message))
        taken |= {port} if port else set()
        yield replace(app, port=port)


def run_here(
    reading: Reading,
    app: AppService,
    image: ImageConfig,
    *,
    port: int | None,
    is_first: bool,
    context: str = ".",
    folder: str = ".",
) -> AppService:
    """A service of an image on this machine, where its recipe prepares and starts it.

    Args:
        port: what the image's own command is told to listen on.
        context: where the image would be built, from the checkout on.
        folder: the same from the release on.
    """
    recipe = find_recipe(reading.folder / context) or Recipe("")
    installed = [*find_installed(recipe, folder), *map(PurePosixPath, recipe.mounts.values())]
    reading.links |= dict.fromkeys(installed, "")
    mounts = {
        name: link_volume(reading, app.name, name, path, image.find_local(path, folder))
        for name, path in app.mounts.items()
    }
    return prepare_app(
        replace(app, image=None, mounts=mounts),
        recipe,
        usual=use_port(image.local_command, port),
        is_first=is_first,
        folder=folder,
    )


def link_volume(reading: Reading, app: str, volume: str, path: str, local: str) -> str:
    """Where a release has a volume: at ``local``, or nowhere if something else is there.

    All services share a release. What stays at its ``path`` in the image is not mounted.
    """
    check_count("the file", len(reading.links), MOST_SERVICES, "volumes")
    place, root = PurePosixPath(local), reading.folder / reading.root
    above = [root / parent for parent in [*place.parents][:-1]]
    links = {**reading.links, place: reading.links.get(place, volume)}
    is_below = place.parts and not place.is_absolute() and ".." not in place.parts
    is_blocked = any(path.is_symlink() or path.is_file() for path in above)
    if not is_below or is_blocked or any(find_overlaps(links, place, volume)):
        message = f"nothing is mounted here: the folder is in ${build_mount_name(volume)}"
        reading.notes.append(Note(Position(0, 0), f"{app}: {path}", message))
        return path
    reading.links = links
    if holds_files(root / place):
        reading.notes.append(Note(Position(0, 0), f"{app}: {path}", HIDES.format(volume=volume)))
    return str(place)


def tell_hidden(reading: Reading, app: AppService, image: ImageConfig, context: str = ".") -> None:
    """Say which volumes of a server hide what the image has of the checkout, or installs."""
    recipe = find_recipe(reading.folder / context) or Recipe("")
    installed = find_installed(recipe, context)
    for volume, path in app.mounts.items():
        place = PurePosixPath(image.find_local(path, context))
        if place.is_absolute():
            continue
        if place in installed or holds_files(reading.folder / place):
            message = HIDES.format(volume=volume)
            reading.notes.append(Note(Position(0, 0), f"{app.name}: {path}", message))


def find_installed(recipe: Recipe, folder: str) -> list[PurePosixPath]:
    """Where a recipe puts what it installs, if it is known."""
    return [PurePosixPath(folder, one) for one in [recipe.programs.split("/")[0]] if one]


def add_mount(stanza: Stanza, node: Node, mounts: dict[str, str], volume: str, target: str) -> None:
    """Mount a volume; that it is mounted already, or another one there, is told."""
    if mounts.setdefault(volume, target) != target:
        stanza.add_note(node, f"volume {volume} at {target}: a volume has one path here")
    elif any(path == target for name, path in mounts.items() if name != volume):
        del mounts[volume]
        stanza.add_note(node, f"volume {volume} at {target}: another one is there")


def settle_variables(reading: Reading, stanza: Stanza, env: Mapping[str, Scalar]) -> dict[str, str]:
    """The variables of what runs beside the app: only the app's own secrets are masked."""
    texts = {name: one.text for name, one in env.items() if ENV_NAME.fullmatch(name)}
    for name, one in env.items():
        if name not in texts:
            stanza.add_note(one, f"{join_path('', name)} is no name that a variable can have")
    if told := [one for one in texts if one in reading.secrets or is_secret(one, texts[one])]:
        reason = "encrypted in the config as all of it is, but not masked in logs"
        stanza.add_note(None, f"{', '.join(told)}: {reason}")
    return texts


def find_running(reading: Reading, database: Database, hosts: Mapping[str, str]) -> Database:
    """The database as one that runs already, at ``$DATABASE_URL``; nvoi runs none here."""
    engine = database.engine or ""
    url = reading.variables.get("DATABASE_URL", "")
    try:
        host = parse_database_url(url, engine).host
    except ValueError:
        host = None
    is_elsewhere = host is not None and host not in hosts
    return Database(adapter=database.adapter, url=Secret(url) if is_elsewhere else None)


def build_service_name(name: str) -> str:
    """``name`` as a service may be called, perhaps empty."""
    slug = build_slug(name.replace(".", "-"))
    return slug if SERVICE_NAME.fullmatch(slug) else ""
