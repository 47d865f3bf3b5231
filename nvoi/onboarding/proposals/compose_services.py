"""The services of a Compose file as nvoi's: apps, a database, and finished images beside them."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, replace

from nvoi.config.nodes import Mapping, Scalar, Sequence
from nvoi.config.schema import AppService, AuxiliaryService, Database, Volume
from nvoi.onboarding.answers import DATABASE_HOST, Answers
from nvoi.onboarding.checkout import ImageConfig, build_slug, read_dockerfile
from nvoi.onboarding.commands import find_count, find_told_port, read_words, use_port
from nvoi.onboarding.proposals.compose_values import (
    Stack,
    join,
    read_check,
    read_environment,
    read_port,
    read_resources,
    read_security,
    read_volumes,
)
from nvoi.onboarding.proposals.images import (
    build_database,
    find_database_kind,
    find_image_port,
    read_program,
)
from nvoi.onboarding.proposals.proposal import (
    build_service_name,
    run_here,
    settle_variables,
    tell_hidden,
)
from nvoi.onboarding.proposals.tree import (
    ENDS,
    LAST_STAGE,
    LOGS,
    NO_ARGUMENTS,
    Stanza,
    find_node,
    find_text,
    list_entries,
    list_texts,
)

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
    "logging": LOGS,
    "extra_hosts": "nvoi changes no /etc/hosts",
    "platform": "servers have one architecture: compute_provider.ssh.architecture",
    "user": "the image's own user runs it",
    "working_dir": "the image's own folder is the one it starts in",
    **dict.fromkeys(("cap_drop", "security_opt"), "it has few rights but those of `security`"),
    "privileged": "nvoi's containers have no rights of the host's root",
    "network_mode": TOP["networks"],
    "stop_signal": "a service is ended with SIGTERM",
    "init": "what a container leaves running is ended with it",
    "develop": "is for development",
    "stop_grace_period": ENDS,
}
DATABASE = {
    "healthcheck": "nvoi asks the database itself",
    "ports": "the database is reached by the app alone; its address is in DATABASE_URL",
    "expose": "the database is reached by the app alone; its address is in DATABASE_URL",
    "command": "nvoi starts a database as its image does",
    "deploy": "resources of a database are the config's `database.resources`",
}
AUXILIARY = {"healthcheck": "nvoi waits until its port takes connections"}
PROFILED = "is of a profile, which `docker compose up` leaves out, and so does nvoi"


@dataclass(frozen=True)
class Build:
    """Where an image is built: the folder and the file, from the checkout on, and the stage."""

    context: str
    file: str
    target: str = ""


def build_answers(stack: Stack) -> Answers:
    stanzas = dict(find_active(stack))
    chosen = choose_database(stanzas)
    stack.context = choose_context(stack, [stanza for _, stanza in stanzas.values()])
    apps: list[AppService] = []
    others: list[AuxiliaryService] = []
    database: Database | None = None
    volume: Volume | None = None
    for name, (service, stanza) in stanzas.items():
        find_names(stack, stanza, name, service if name != chosen else DATABASE_HOST)
        if name == chosen:
            database, volume = read_database(stack, stanza)
        elif "build" in stanza:
            apps += read_app(stack, stanza, service, is_first=not apps)
        elif "image" in stanza:
            others.append(read_auxiliary(stack, stanza, service))
        else:
            stanza.add_note(None, "has neither `build` nor `image`, and is left out")
    name = build_slug(stack.root.text("name"))
    tell_rest(stack)
    return Answers(
        name=name,
        apps=tuple(apps),
        services=tuple(others),
        database=database,
        volume=volume,
        hosts=stack.hosts,
    )


def find_active(stack: Stack) -> Iterator[tuple[str, tuple[str, Stanza]]]:
    """The services that start without a profile, each with its name in the config."""
    taken: set[str] = set()
    for name, node in stack.services.items():
        stanza = Stanza(stack.reading.notes, f"services.{name}", node)
        if stanza.texts("profiles"):
            stanza.add_note(node, PROFILED)
            continue
        service = build_service_name(name)
        if not service or service in taken:
            stanza.add_note(None, "has a name that nvoi cannot give, and is left out")
            continue
        if service != name:
            stanza.add_note(None, f"is called {service}, as names are spelled here")
        taken.add(service)
        yield name, (service, stanza)


def choose_database(stanzas: AnyMapping[str, tuple[str, Stanza]]) -> str | None:
    """The service that becomes the app's database: one that an app waits for, else the first."""
    found = [
        name
        for name, (_, stanza) in stanzas.items()
        if "build" not in stanza and find_database_kind(find_text(stanza.node, "image"))
    ]
    waits = [
        find_node(stanza.node, "depends_on") for _, stanza in stanzas.values() if "build" in stanza
    ]
    waited = [
        *(name for node in waits for name, _ in list_entries(node)),
        *(one.text for node in waits for one in list_texts(node)),
    ]
    return next(iter([*(name for name in waited if name in found), *found]), None)


def choose_context(stack: Stack, stanzas: Iterable[Stanza]) -> str:
    """The folder of the one image that nvoi builds: the checkout's own where a service has that."""
    contexts = [find_context(stack, one) for one in stanzas if "build" in one]
    own = [context for context in contexts if context == stack.reading.root]
    return next(iter([*own, *contexts]), stack.reading.root)


def find_names(stack: Stack, stanza: Stanza, name: str, service: str) -> None:
    """Each name by which other services reach this one."""
    node = stanza.node
    names = [name, find_text(node, "container_name"), find_text(node, "hostname")]
    for _, network in list_entries(find_node(node, "networks")):
        names += [one.text for one in list_texts(find_node(network, "aliases"))]
    stack.hosts |= {other: service for other in names if other}
    for link in list_texts(find_node(node, "links")):
        target, _, alias = link.text.partition(":")
        if alias and target in stack.hosts:
            stack.hosts[alias] = stack.hosts[target]


def read_database(stack: Stack, stanza: Stanza) -> tuple[Database, Volume]:
    image = stanza.text("image")
    settings = read_environment(stack, stanza)
    mounts = read_volumes(stack, stanza, is_app=False)
    tell_service(stanza, DATABASE)
    return build_database(stanza, image, settings, mounts)


def read_auxiliary(stack: Stack, stanza: Stanza, service: str) -> AuxiliaryService:
    image = stanza.text("image")
    if find_database_kind(image):
        stanza.add_note(None, "is one more database, and runs beside the app as its image does")
    env = read_environment(stack, stanza)
    texts = settle_variables(stack.reading, stanza, env)
    command = read_words(stanza.take("entrypoint", Scalar, Sequence))
    if command:
        arguments = read_words(stanza.take("command", Scalar, Sequence))
        command = f"{command} {arguments}".strip()
    else:
        command = read_program(stanza, "command", image)
    port = read_port(stanza, env, find_image_port(image)).inside
    if port is None:
        stanza.add_note(None, "has no port that is known: others reach it once `port` is set")
    if find_text(stanza.node, "deploy", "replicas") not in {"", "1"}:
        stanza.add_note(None, "deploy.replicas: what runs beside the app is one container")
    made = AuxiliaryService(
        service,
        image,
        port=port,
        command=command or None,
        env=texts,
        mount=read_volumes(stack, stanza, is_app=False),
        resources=read_resources(stanza),
        security=read_security(stanza),
    )
    tell_service(stanza, AUXILIARY)
    return made


def read_app(stack: Stack, stanza: Stanza, service: str, *, is_first: bool) -> Iterator[AppService]:
    """The app service of one that is built; nothing where nvoi cannot build it."""
    is_local = stack.reading.is_local
    build, image = read_build(stack, stanza), stanza.text("image")
    if not is_local and not tell_build(stack, stanza, build.context, image):
        return
    dockerfile = read_dockerfile(stack.reading.read_text(build.file), build.target) or ImageConfig()
    env = read_environment(stack, stanza)
    ports, scale = read_port(stanza, env), stanza.text("scale")
    command = read_command(stanza, dockerfile, is_local=is_local)
    if ports.inside is None:
        ports = replace(ports, inside=find_told_port(command) if command else dockerfile.port)
    app = AppService(
        service,
        image=image if not is_local and build.context != stack.context else None,
        command=use_port(command, ports.inside) or None,
        port=ports.choose(is_local=is_local),
        healthcheck=read_check(stack, stanza, ports.inside),
        mounts=read_volumes(stack, stanza, is_app=True),
        replicas=find_count(find_text(stanza.node, "deploy", "replicas") or scale) or None,
        resources=read_resources(stanza),
        security=read_security(stanza),
    )
    tell_service(stanza, SERVICE)
    stack.variables[service] = env
    if not is_local:
        tell_hidden(stack.reading, app, dockerfile, build.context or ".")
    else:
        folder = posixpath.relpath(build.context or ".", stack.reading.root or ".")
        app = run_here(
            stack.reading,
            app,
            dockerfile,
            port=ports.inside,
            is_first=is_first or folder != ".",
            context=build.context or ".",
            folder=folder,
        )
    yield app


def find_context(stack: Stack, stanza: Stanza) -> str:
    """The folder that a service is built from, which is left to be read."""
    build = find_node(stanza.node, "build")
    return join(stack.folder, find_text(build) or find_text(build, "context") or ".")


def read_build(stack: Stack, stanza: Stanza) -> Build:
    context = find_context(stack, stanza)
    node = stanza.take("build", Scalar, Mapping)
    build = Stanza(stanza.notes, f"{stanza.path}.build", node)
    _, file, target = (build.text(key) for key in ("context", "dockerfile", "target"))
    whole = join(context, file or "Dockerfile")
    if node and file:
        # From the folder on that is deployed, which is the context.
        stack.reading.tell_dockerfile(node.place, build.path, file)
    if target and not stack.reading.is_local:
        build.add_note(node, f"stage {target}: {LAST_STAGE}")
    build.tell_all(
        {
            "args": NO_ARGUMENTS,
            **dict.fromkeys(("cache_from", "cache_to", "pull"), "caches are the builder's own"),
            "platforms": "an image is built for the servers' architecture",
            "tags": "nvoi names the image itself",
        }
    )
    return Build(context, whole, target)


def tell_build(stack: Stack, stanza: Stanza, context: str, image: str) -> bool:
    """Say where an image is built or pulled from; False where nvoi can do neither."""
    folder = context or "."
    if context == stack.context:
        if context != stack.reading.root:
            place = f"-d {shlex.quote(folder)} -c deploy.enc"
            stanza.add_note(None, f"is built from {folder}: deploy it by `nvoi deploy {place}`")
        return True
    if "/" in image:
        stanza.add_note(None, f"is not built: {image} is pulled as it is")
        return True
    stanza.add_note(
        None,
        f"is built from {folder}, and nvoi builds one image, from {stack.context or '.'}: it is "
        f"left out, and `nvoi onboard -d {shlex.quote(folder)}` makes an app of it",
    )
    return False


def read_command(stanza: Stanza, image: ImageConfig, *, is_local: bool) -> str:
    """What a service says of what it runs, in the place of its image's or behind it."""
    entrypoint, arguments = (
        read_words(stanza.take(key, Scalar, Sequence)) for key in ("entrypoint", "command")
    )
    if not entrypoint and not arguments:
        return ""
    whole = ImageConfig(
        entrypoint or image.entrypoint,
        arguments or ("" if entrypoint else image.arguments),
        workdir=image.workdir,
    )
    # On this machine there is no image that has the program which wraps others.
    return whole.local_command if is_local else f"{whole.entrypoint} {whole.arguments}".strip()


def tell_service(stanza: Stanza, reasons: AnyMapping[str, str]) -> None:
    """Note what is left of a service; that it restarts is so with nvoi too."""
    if stanza.text("restart") in {"no", "false"}:
        stanza.add_note(None, "restart: nvoi starts what ends again; a job that ends is no service")
    stanza.tell_all({**SERVICE, **reasons})


def tell_rest(stack: Stack) -> None:
    root = stack.root
    root.take("services")
    for name, node in list_entries(find_node(root.node, "volumes")):
        keys = [key for key, _ in list_entries(node) if not key.startswith("x-")]
        if keys:
            others = ", ".join(key for key in keys if key != "name") or "name"
            message = f"begins empty, as a volume of nvoi's own ({others})"
            Stanza(root.notes, f"volumes.{name}", node).add_note(node, message)
    root.tell_all(TOP)
