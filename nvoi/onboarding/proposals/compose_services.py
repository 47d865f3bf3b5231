"""The services of a Compose file as nvoi's: apps, a database, and finished images beside them."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field, replace

from nvoi.config.nodes import Mapping, Node, Scalar, Sequence, to_data
from nvoi.config.schema import AppService, AuxiliaryService, Database, Volume
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.checkout import build_slug
from nvoi.onboarding.dockerfile import Image, read_dockerfile
from nvoi.onboarding.hosts import DATABASE_HOST
from nvoi.onboarding.proposals import compose_values as values
from nvoi.onboarding.proposals.commands import read_words
from nvoi.onboarding.proposals.compose_volumes import read_volumes
from nvoi.onboarding.proposals.images import (
    build_database,
    build_program,
    find_database_kind,
    find_image_port,
)
from nvoi.onboarding.proposals.proposal import Reading, build_service_name
from nvoi.onboarding.proposals.sharing import share
from nvoi.onboarding.proposals.tree import Section, list_texts
from nvoi.onboarding.recipes import find_recipe, prepare_app
from nvoi.onboarding.shell import find_told_port, use_port

#: Why something of a file has no place in nvoi's config. One without words is so in nvoi anyway.
TOP = {
    "version": "",
    "networks": "all that an app has in a cluster reaches each other; nvoi makes no networks",
    "configs": "nvoi puts no files into containers: they belong into the image, or into variables",
    "secrets": "",
    "volumes": "",
}
SERVICE = {
    "networks": TOP["networks"],
    "depends_on": "nvoi starts all at once and restarts what ends: the app has to wait for others",
    **dict.fromkeys(
        ("container_name", "hostname", "links"),
        "what names it so in a variable is given its name here",
    ),
    **dict.fromkeys(("tty", "stdin_open"), "is for somebody at a terminal"),
    "labels": "nvoi reads no labels; a domain is the config's `domain`",
    "configs": TOP["configs"],
    "logging": "nvoi keeps the last lines of each service itself",
    "extra_hosts": "nvoi changes no /etc/hosts",
    "platform": "servers have one architecture: compute_provider.ssh.architecture",
    "user": "the image's own user runs it",
    "working_dir": "the image's own folder is the one it starts in",
    "privileged": "nvoi's containers have no rights of the host's root",
    "network_mode": TOP["networks"],
    "stop_signal": "a service is ended with SIGTERM",
    "init": "what a container leaves running is ended with it",
    "develop": "is for development",
    "stop_grace_period": "an app has 30 s to end",
}
DATABASE = {
    "healthcheck": "nvoi asks the database itself",
    "ports": "the database is reached by the app alone; its address is in DATABASE_URL",
    "expose": "the database is reached by the app alone; its address is in DATABASE_URL",
    "command": "nvoi starts a database as its image does",
    "deploy": "resources of a database are the config's `database.resources`",
}
AUXILIARY = {
    "healthcheck": "nvoi waits until its port takes connections",
    "deploy": "what runs beside the app has the usual resources, and one container",
}
PROFILED = "is of a profile, which `docker compose up` leaves out, and so does nvoi"


@dataclass
class Stack:
    """An app's files put together, and what was found of its services.

    Attributes:
        folder: that of the file, from the checkout on.
        hosts: how services call each other, with the name in the config.
        variables: the variables of each app service.
        context: the folder that the app's image is built from, from the checkout on.
    """

    reading: Reading
    folder: str
    root: Section
    services: AnyMapping[str, Mapping]
    hosts: dict[str, str] = field(default_factory=dict)
    variables: dict[str, dict[str, Scalar]] = field(default_factory=dict)
    context: str = ""

    @property
    def secrets(self) -> Node | None:
        assert isinstance(self.root.node, Mapping)  # noqa: S101 - it was read as one
        entry = self.root.node.entries.get("secrets")
        return entry.value if entry else None


def build_answers(stack: Stack) -> Answers:
    sections = dict(find_active(stack))
    chosen = choose_database(sections)
    stack.context = choose_context(stack, [section for _, section in sections.values()])
    apps: list[AppService] = []
    others: list[AuxiliaryService] = []
    database: Database | None = None
    volume: Volume | None = None
    for name, (service, section) in sections.items():
        find_names(stack, section, name, service if name != chosen else DATABASE_HOST)
        if name == chosen:
            database, volume = read_database(stack, section)
        elif "build" in section:
            apps += read_app(stack, section, service, is_first=not apps)
        elif "image" in section:
            others.append(read_auxiliary(stack, section, service))
        else:
            section.add_note(None, "has neither `build` nor `image`, and is left out")
    name = build_slug(stack.root.text("name"))
    tell_rest(stack)
    shared = share(stack.reading.notes, apps, stack.variables, database, stack.hosts)
    return Answers(
        name=name,
        apps=shared.apps,
        services=tuple(others),
        database=database,
        volume=volume,
        env=shared.env,
        secrets=shared.secrets,
        hosts=stack.hosts,
    )


def find_active(stack: Stack) -> Iterator[tuple[str, tuple[str, Section]]]:
    """The services that start without a profile, each with its name in the config."""
    taken: set[str] = set()
    for name, node in stack.services.items():
        section = Section(stack.reading.notes, f"services.{name}", node)
        if list(list_texts(section.take("profiles"))):
            section.add_note(node, PROFILED)
            continue
        service = build_service_name(name)
        if not service or service in taken:
            section.add_note(None, "has a name that nvoi cannot give, and is left out")
            continue
        if service != name:
            section.add_note(None, f"is called {service}, as names are spelled here")
        taken.add(service)
        yield name, (service, section)


def choose_database(sections: AnyMapping[str, tuple[str, Section]]) -> str | None:
    """The service that becomes the app's database: one that an app waits for, else the first."""
    found = [
        name
        for name, (_, section) in sections.items()
        if "build" not in section and find_database_kind(peek(section, "image"))
    ]
    waited = [
        str(other)
        for _, section in sections.values()
        if "build" in section and isinstance(section.node, Mapping)
        for other in to_data(section.node).get("depends_on") or ()
    ]
    return next(iter([*(name for name in waited if name in found), *found]), None)


def choose_context(stack: Stack, sections: Iterable[Section]) -> str:
    """The folder of the one image that nvoi builds: the checkout's own where a service has that."""
    contexts = [values.find_context(stack, one) for one in sections if "build" in one]
    own = [context for context in contexts if context == stack.reading.root]
    return next(iter([*own, *contexts]), stack.reading.root)


def peek(section: Section, key: str) -> str:
    entry = section.node.entries.get(key) if isinstance(section.node, Mapping) else None
    return entry.value.text if entry and isinstance(entry.value, Scalar) else ""


def find_names(stack: Stack, section: Section, name: str, service: str) -> None:
    """Each name by which other services reach this one."""
    names = [name, peek(section, "container_name"), peek(section, "hostname")]
    data = to_data(section.node) if section.node else {}
    networks = data.get("networks")
    for network in networks.values() if isinstance(networks, dict) else ():
        names += (network or {}).get("aliases", []) if isinstance(network, dict) else []
    stack.hosts |= {str(other): service for other in names if other}
    links = data.get("links")
    for link in links if isinstance(links, list) else ():
        target, _, alias = str(link).partition(":")
        if alias and target in stack.hosts:
            stack.hosts[alias] = stack.hosts[target]


def read_database(stack: Stack, section: Section) -> tuple[Database, Volume]:
    image = section.text("image")
    kind = find_database_kind(image)
    assert kind  # noqa: S101 - it was chosen for it
    settings = {key: one.text for key, one in values.read_environment(stack, section).items()}
    mounts = read_volumes(stack, section, is_app=False)
    folder = next((path for path in mounts.values() if path.startswith(kind.folder[:14])), None)
    mount = {name: path for name, path in mounts.items() if path == folder}
    for name, path in mounts.items():
        if path != folder:
            section.add_note(None, f"volume {name} at {path}: a database has one, for its data")
    tell_service(section, DATABASE)
    return build_database(section, kind, image, settings, mount)


def read_auxiliary(stack: Stack, section: Section, service: str) -> AuxiliaryService:
    image = section.text("image")
    if find_database_kind(image):
        section.add_note(None, "is one more database, and runs beside the app as its image does")
    env = values.read_environment(stack, section)
    texts = values.settle_variables(section, env)
    entrypoint, arguments = (
        read_words(section.take(key, Scalar, Sequence)) for key in ("entrypoint", "command")
    )
    command = f"{entrypoint} {arguments}".strip() if entrypoint else arguments
    if command and not entrypoint:
        words = build_program(image, command)
        if words is None:
            section.add_note(
                None,
                "command: it is arguments for the image's own program, which nvoi's `command` has "
                "to name too; it is left out",
            )
        command = words or ""
    port = values.read_port(section, env, find_image_port(image)).inside
    if port is None:
        section.add_note(None, "has no port that is known: others reach it once `port` is set")
    mount = read_volumes(stack, section, is_app=False)
    tell_service(section, AUXILIARY)
    return AuxiliaryService(
        service, image, port=port, command=command or None, env=texts, mount=mount
    )


def read_app(
    stack: Stack, section: Section, service: str, *, is_first: bool
) -> Iterator[AppService]:
    """The app service of one that is built; nothing where nvoi cannot build it."""
    build, image = values.read_build(stack, section), section.text("image")
    if not stack.reading.is_local and not tell_build(stack, section, build.context, image):
        return
    is_pulled = not stack.reading.is_local and build.context != stack.context
    dockerfile = read_dockerfile(stack.reading.read_text(build.file), build.target) or Image()
    env = values.read_environment(stack, section)
    ports = values.read_port(section, env)
    command = read_command(stack, section, dockerfile)
    if ports.inside is None:
        told = dockerfile.port if command.is_image_own else find_told_port(command.text)
        ports = replace(ports, inside=told)
    port = ports.choose(is_local=stack.reading.is_local)
    app = AppService(
        service,
        image=image if is_pulled else None,
        command=use_port(command.text, ports.inside) or None,
        port=port,
        healthcheck=values.read_check(stack, section, ports.inside),
        mounts=read_volumes(stack, section, is_app=True),
        replicas=values.read_replicas(section),
        resources=values.read_resources(section),
    )
    tell_service(section, SERVICE)
    stack.variables[service] = env
    if stack.reading.is_local:
        folder = posixpath.relpath(build.context or ".", stack.reading.root or ".")
        recipe = find_recipe(stack.reading.folder / (build.context or "."))
        if recipe and recipe.command and command.is_image_own:
            # What the recipe knows of a framework listens on $PORT.
            app = replace(app, command=None)
        app = prepare_app(app, recipe, is_first=is_first or folder != ".", folder=folder)
    yield app


def tell_build(stack: Stack, section: Section, context: str, image: str) -> bool:
    """Say where an image is built or pulled from; False where nvoi can do neither."""
    folder = context or "."
    if context == stack.context:
        if context != stack.reading.root:
            place = f"-d {shlex.quote(folder)} -c deploy.enc"
            section.add_note(None, f"is built from {folder}: deploy it by `nvoi deploy {place}`")
        return True
    if "/" in image:
        section.add_note(None, f"is not built: {image} is pulled as it is")
        return True
    section.add_note(
        None,
        f"is built from {folder}, and nvoi builds one image, from {stack.context or '.'}: it is "
        f"left out, and `nvoi onboard -d {shlex.quote(folder)}` makes an app of it",
    )
    return False


@dataclass(frozen=True)
class Command:
    """What runs; ``is_image_own`` where the Compose file says nothing of it."""

    text: str
    is_image_own: bool


def read_command(stack: Stack, section: Section, image: Image) -> Command:
    """What a service runs: its own words, in the place of the image's or behind them."""
    entrypoint, arguments = (
        read_words(section.take(key, Scalar, Sequence)) for key in ("entrypoint", "command")
    )
    is_local = stack.reading.is_local
    if not entrypoint and not arguments:
        return Command(image.local_command if is_local else "", is_image_own=True)
    whole = Image(
        entrypoint or image.entrypoint,
        arguments or ("" if entrypoint else image.arguments),
        workdir=image.workdir,
    )
    # On this machine there is no image that has the program which wraps others.
    text = whole.local_command if is_local else f"{whole.entrypoint} {whole.arguments}".strip()
    return Command(text, is_image_own=False)


def tell_service(section: Section, reasons: AnyMapping[str, str]) -> None:
    """Note what is left of a service; that it restarts is so with nvoi too."""
    if section.text("restart") in {"no", "false"}:
        section.add_note(
            None, "restart: nvoi starts what ends again; a job that ends is no service"
        )
    section.tell_all({**SERVICE, **reasons})


def tell_rest(stack: Stack) -> None:
    root = stack.root
    root.take("services")
    for name, node in values.list_entries(root.node, "volumes"):
        data = to_data(node) if isinstance(node, Mapping) else {}
        kept = {key: value for key, value in data.items() if not key.startswith("x-")}
        if kept.pop("name", None) or kept:
            section = Section(root.notes, f"volumes.{name}", node)
            section.add_note(
                node, f"begins empty, as a volume of nvoi's own ({', '.join(kept) or 'name'})"
            )
    root.tell_all(TOP)
