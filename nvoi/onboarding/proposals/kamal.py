"""Kamal's ``config/deploy.yml``: roles on servers, and accessories beside them.

Source: Kamal's documentation, "Configuration", of versions 1 and 2.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from nvoi.config.nodes import Mapping, Position, Scalar, Sequence
from nvoi.config.schema import (
    AppService,
    AuxiliaryService,
    Database,
    Healthcheck,
    Resources,
    SSHProvider,
    Volume,
)
from nvoi.onboarding.answers import DATABASE_HOST, Answers, build_addresses
from nvoi.onboarding.checkout import build_slug
from nvoi.onboarding.commands import (
    find_port,
    read_amount,
    read_cpus,
    read_times,
    read_words,
    use_port,
)
from nvoi.onboarding.proposals.images import (
    build_database,
    find_database_kind,
    find_image_port,
    read_program,
)
from nvoi.onboarding.proposals.kamal_servers import Servers, wrap_hosts
from nvoi.onboarding.proposals.proposal import (
    Proposal,
    Reading,
    add_mount,
    build_proposal,
    build_service_name,
    settle_variables,
)
from nvoi.onboarding.proposals.tree import (
    ENDS,
    LOGS,
    NO_NAME,
    RESTARTS,
    STARTS,
    Lines,
    Note,
    Stanza,
    find_node,
    find_text,
    list_entries,
    read_tree,
)
from nvoi.onboarding.sources import MOST_SERVICES, check_count
from nvoi.onboarding.variables import read_dotenv

NAMES = ("config/deploy.yml", "config/deploy.yaml")
#: ERB that looks a variable up: ENV["X"], ENV.fetch("X"), and a default in any of their ways.
LOOKUP = re.compile(
    r"""<%=?\s*+ENV(?:\.fetch\(\s*+|\[\s*+)["'](?P<name>\w+)["']\s*+(?:,\s*+(?P<second>["'][^"']*["'])\s*+)?
        [\])](?:\.\w+)*+\s*+(?:(?:\|\||\{|do)\s*+(?P<third>["'][^"']*["'])\s*+(?:(?:\}|end)\s*+)?)?
        -?%>""",
    re.VERBOSE,
)
ERB = re.compile(r"<%.*?%>", re.DOTALL)
#: A secret that is a file of the checkout, or another variable.
SHELL_FILE = re.compile(r"\$\(\s*(?:cat|<)\s*(?P<file>[\w./-]+)\s*\)")
SHELL_VARIABLE = re.compile(r"\$\{?(?P<name>\w+)\}?")
# Kamal 2 sends traffic to port 80 unless told otherwise, Kamal 1 to 3000.
PROXY_PORT, TRAEFIK_PORT = 80, 3000
PRIMARY = "web"
NO_DOMAINS = "a service's `domain` needs `domain_provider`: docs/domains.md"
REASONS = {
    "image": "nvoi names the image itself",
    "registry": "nvoi's cluster has a registry of its own; logins for other images, and for those "
    "that yours is built on, are `registries`",
    "builder": "nvoi builds the image on this machine, of the checkout's Dockerfile",
    "aliases": "nvoi runs no commands in containers",
    "asset_path": "a release has its own files only",
    "traefik": NO_DOMAINS,
    "boot": "nvoi replaces one container after the other once the next is well",
    "hooks_path": "nvoi has no hooks; a CI's own steps go before and behind `nvoi deploy`",
    "logging": LOGS,
    "labels": "nvoi sets its own labels",
    "retain_containers": "how many releases are kept is `keep_count`",
    "minimum_version": "is about Kamal alone",
    "require_destination": "is about Kamal alone",
    "readiness_delay": "a release is tried by its `healthcheck`",
    "deploy_timeout": "a service has 60 s to start, or as long as its `healthcheck` says",
    "drain_timeout": ENDS,
    "stop_wait_time": ENDS,
    "run_directory": "is about Kamal alone",
    "allow_empty_roles": "is about Kamal alone",
    "secrets_path": "is about Kamal alone",
}
OPTIONS = "options of Docker are not nvoi's"
ROLE = {
    "labels": REASONS["labels"],
    "logging": REASONS["logging"],
    "traefik": NO_DOMAINS,
    "asset_path": REASONS["asset_path"],
}
ACCESSORY = {
    "files": "files of this machine cannot be put into an image here",
    "labels": REASONS["labels"],
    "network": "all that an app has in a cluster reaches each other",
    "proxy": NO_DOMAINS,
    "registry": "the login of a private image's registry is one of `registries`",
    "restart": RESTARTS,
}


@dataclass
class Plan:
    """What is known of the app so far; ``hosts`` are the names that services call each other by."""

    reading: Reading
    name: str
    servers: Servers
    secrets: dict[str, str]
    hosts: dict[str, str] = field(default_factory=dict)


def read_kamal(reading: Reading, file: str) -> Proposal:
    """The app of a Kamal file, which runs on the servers that it names."""
    reading.is_local = False
    text = expand_erb(reading, reading.read_text(file), file)
    stanza = Stanza(reading.notes, "", read_tree(text, file, reading.notes))
    for key, what in (("servers", "roles"), ("accessories", "accessories")):
        count = len(list_entries(find_node(stanza.node, key)))
        check_count(file, count, MOST_SERVICES, what)
    name = build_slug(stanza.text("service"))
    plan = Plan(reading, name, Servers(), dict(read_secrets(reading, file)))
    apps, variables = read_roles(plan, stanza)
    others, database, volume = read_accessories(plan, stanza.stanza("accessories"))
    place = plan.servers.place
    if database:
        database = replace(database, servers=place(DATABASE_HOST))
    names = build_addresses(plan.hosts, name, database, is_local=False)
    reached = {service: names[known] for known, service in plan.hosts.items()}
    reading.notes += plan.servers.find_addresses(variables, reached)
    groups = plan.servers.build_groups(stanza.stanza("ssh"))
    if file_node := find_node(stanza.node, "builder", "dockerfile"):
        reading.tell_dockerfile(file_node.place, "builder", find_text(file_node))
    stanza.tell_all(REASONS)
    answers = Answers(
        name=name,
        provider=SSHProvider(),
        groups=groups,
        apps=tuple(replace(app, servers=place(app.name)) for app in apps),
        services=tuple(replace(one, servers=place(one.name)) for one in others),
        database=database,
        volume=volume,
        hosts=plan.hosts,
    )
    return build_proposal(reading, file, answers, variables)


def read_accessories(
    plan: Plan, accessories: Stanza
) -> tuple[list[AuxiliaryService], Database | None, Volume | None]:
    """What runs beside the app: the first known database is the app's."""
    others: list[AuxiliaryService] = []
    database: Database | None = None
    volume: Volume | None = None
    for key in accessories.list_keys():
        accessory = accessories.stanza(key)
        image = accessory.text("image")
        service = build_service_name(key)
        if database is None and find_database_kind(image):
            add_names(plan, accessory, key, DATABASE_HOST)
            plan.servers.read_hosts(accessory, DATABASE_HOST, is_single=True)
            mounts = read_volumes(plan, accessory, key)
            database, volume = build_database(accessory, image, read_env(plan, accessory), mounts)
            told = {
                **ACCESSORY,
                "options": OPTIONS,
                "cmd": "nvoi starts a database as its image does",
                "port": "",
            }
            accessory.tell_all(told)
        elif service and service not in {one.name for one in others}:
            add_names(plan, accessory, key, service)
            others.append(read_accessory(plan, accessory, key, image))
        else:
            accessory.add_note(None, NO_NAME)
    return others, database, volume


def expand_erb(reading: Reading, text: str, file: str) -> str:
    """``text`` with values in the place of variables; other Ruby is not run."""
    lines = Lines(text, file)

    def look_up(match: re.Match[str]) -> str:
        quoted: str | None = match["second"] or match["third"]
        default = quoted[1:-1] if quoted else None
        place = Position(lines.find_place(match.start()).line, 1, file)
        value = reading.find_value(match["name"], place) or default
        if value is not None:
            return value
        return reading.get_value_or_mark(match["name"], place, "")

    def tell(match: re.Match[str]) -> str:
        line = lines.find_place(match.start()).line
        if rows[line - 1].lstrip().startswith("#"):
            return ""
        place = Position(line, 1, file)
        reading.notes.append(
            Note(place, "", "Ruby is not run here: what it stands for is left out")
        )
        return "\n" * match[0].count("\n")

    expanded = LOOKUP.sub(look_up, text)
    lines, rows = Lines(expanded, file), expanded.split("\n")
    # Behind the last end nothing is to be found, however often it begins.
    end = expanded.rfind("%>") + len("%>")
    return ERB.sub(tell, expanded[:end]) + expanded[end:]


def read_secrets(reading: Reading, file: str) -> Iterator[tuple[str, str]]:
    """The secrets that Kamal would find: of its own files, of the checkout's, and of variables."""
    root = posixpath.dirname(posixpath.dirname(file))
    for name in (".env", ".kamal/secrets-common", ".kamal/secrets"):
        for key, value in read_dotenv(reading.read_text(posixpath.join(root, name))):
            if shell := SHELL_FILE.fullmatch(value):
                text = reading.read_text(posixpath.join(root, shell["file"])).strip()
                if text:
                    yield key, reading.gain(text, Position(0, 0, file))
            elif variable := SHELL_VARIABLE.fullmatch(value):
                if (found := reading.variables.get(variable["name"])) is not None:
                    yield key, found
            elif "$(" not in value:
                yield key, value


def read_roles(plan: Plan, stanza: Stanza) -> tuple[list[AppService], dict[str, dict[str, Scalar]]]:
    """A service for each role; the primary one serves."""
    proxy, health = stanza.stanza("proxy"), stanza.stanza("healthcheck")
    env = read_env(plan, stanza)
    primary = stanza.text("primary_role") or PRIMARY
    roles = dict(list_roles(stanza))
    primary = build_service_name(primary if primary in roles else next(iter(roles), primary))
    volumes = read_volumes(plan, stanza)
    apps: list[AppService] = []
    variables: dict[str, dict[str, Scalar]] = {}
    for key, role in roles.items():
        name = build_service_name(key)
        if not name or name in variables:
            role.add_note(None, NO_NAME)
            continue
        own = role.stanza("proxy") if "proxy" in role and name != primary else None
        command = read_words(role.take("cmd", Scalar, Sequence))
        app = AppService(name, mounts=volumes, resources=read_options(role))
        plan.servers.read_hosts(role, name, is_single=bool(volumes))
        if name == primary or own:
            app = read_proxy(app, own or proxy, health)
        variables[name] = {**env, **read_env(plan, role)}
        apps.append(replace(app, command=use_port(command, app.port) or None))
        role.tell_all(ROLE)
    return apps, variables


def read_options(stanza: Stanza) -> Resources:
    """The limits among the options that Docker is given."""
    options = stanza.stanza("options")
    memory, cpus = read_amount(options, "memory"), read_amount(options, "cpus", read_cpus)
    options.tell_all(dict.fromkeys(options.list_keys(), OPTIONS))
    return Resources(memory_limit=memory, cpu_limit=cpus)


def list_roles(stanza: Stanza) -> Iterator[tuple[str, Stanza]]:
    """Each role with its mapping; hosts alone are those of the primary one."""
    if not isinstance(find_node(stanza.node, "servers"), Mapping):
        node = stanza.take("servers")
        yield PRIMARY, Stanza(stanza.notes, "servers", wrap_hosts(node))
        return
    roles = stanza.stanza("servers")
    for key in roles.list_keys():
        node = roles.take(key)
        wrapped = node if isinstance(node, Mapping) else wrap_hosts(node)
        yield key, Stanza(stanza.notes, f"servers.{key}", wrapped)


def read_proxy(app: AppService, proxy: Stanza, health: Stanza) -> AppService:
    """The port that traffic comes to, and the page that is asked; Kamal 1 had them elsewhere."""
    check = proxy.stanza("healthcheck")
    port = find_port(proxy.text("app_port")) or find_port(health.text("port"))
    if port is None:
        port = TRAEFIK_PORT if health else PROXY_PORT
    path = check.text("path") or health.text("path") or "/up"
    made = read_times(Healthcheck(path=path), check, health)
    check.tell_all({})
    health.tell_all({"max_attempts": STARTS, "cord": "nvoi needs no cord"})
    domains = ("host", "hosts", "ssl", "forward_headers", "response_timeout", "buffering", "run")
    proxy.tell_all({**dict.fromkeys(domains, NO_DOMAINS), "logging": REASONS["logging"]})
    return replace(app, port=port, healthcheck=made)


def read_env(plan: Plan, stanza: Stanza) -> dict[str, Scalar]:
    """Both forms: variables alone, or `clear` ones and the names of secret ones."""
    env = stanza.stanza("env")
    clear = env.stanza("clear")
    found: dict[str, Scalar] = {}
    for one in env.texts("secret"):
        # NAME:OTHER is the secret OTHER under another name.
        name, _, other = one.text.partition(":")
        value = plan.secrets.get(other or name)
        if value is None:
            path = f"{stanza.path}.env.secret".lstrip(".")
            value = plan.reading.get_value_or_mark(other or name, one.place, path)
        else:
            plan.reading.gain(value, one.place)
        found[name] = Scalar(value, plain=False, place=one.place)
        plan.reading.secrets.add(name)
    env.tell("tags", "which host a container is on is nothing that it is told")
    for part in (clear, env):
        for key in part.list_keys():
            node = part.take(key, Scalar)
            if isinstance(node, Scalar):
                found[key] = node
    return found


def read_volumes(plan: Plan, stanza: Stanza, accessory: str = "") -> dict[str, str]:
    """``NAME:/path``; a folder of the server becomes a volume, which begins empty.

    The directories of an ``accessory`` are below a folder of its own.
    """
    mounts: dict[str, str] = {}
    keys = ("directories", "volumes") if accessory else ("volumes",)
    given = [(one, text) for one in keys for text in stanza.texts(one)]
    for key, text in given:
        source, _, rest = text.text.partition(":")
        target = rest.partition(":")[0].rstrip("/")
        if not target.startswith("/"):
            stanza.add_note(text, f"{key}: {text.text} names no path in the container")
            continue
        is_own = key == "directories" and not source.startswith("/")
        place = posixpath.normpath(f"{accessory}/{source}" if is_own else source)
        name = plan.reading.name_volume(place, posixpath.basename(place), place)
        add_mount(stanza, text, mounts, name, target)
        if key == "directories" or "/" in source:
            stanza.add_note(text, f"{source}: is volume {name}, which begins empty")
    return mounts


def read_accessory(plan: Plan, accessory: Stanza, key: str, image: str) -> AuxiliaryService:
    service = build_service_name(key)
    env = settle_variables(plan.reading, accessory, read_env(plan, accessory))
    command = read_program(accessory, "cmd", image) or None
    port = find_port(accessory.text("port").rpartition(":")[2]) or find_image_port(image)
    mount = read_volumes(plan, accessory, key)
    plan.servers.read_hosts(accessory, service, is_single=True)
    made = AuxiliaryService(
        service,
        image,
        port=port,
        command=command,
        env=env,
        mount=mount,
        resources=read_options(accessory),
    )
    accessory.tell_all(ACCESSORY)
    return made


def add_names(plan: Plan, accessory: Stanza, key: str, service: str) -> None:
    """Kamal calls an accessory SERVICE-NAME, unless it is given another name."""
    names = (f"{plan.name}-{key}", accessory.text("service"), key)
    plan.hosts |= {name: service for name in names if name}
