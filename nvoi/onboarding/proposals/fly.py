"""``fly.toml``: one app of one image, as processes, each with its ports, volumes and checks.

Source: Fly.io's documentation, "Fly Launch configuration (fly.toml)".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from nvoi.config.nodes import Position, Scalar
from nvoi.config.schema import AppService, Healthcheck, Resources
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.checkout import ImageConfig, build_slug, read_dockerfile
from nvoi.onboarding.commands import (
    find_port,
    read_amount,
    read_memory,
    read_times,
    read_words,
    use_port,
)
from nvoi.onboarding.proposals.proposal import (
    Proposal,
    Reading,
    build_proposal,
    build_service_name,
    run_here,
    tell_hidden,
)
from nvoi.onboarding.proposals.tree import (
    ENDS,
    LAST_STAGE,
    NO_ARGUMENTS,
    NO_NAME,
    ONE_PORT,
    RESTARTS,
    STARTS,
    Note,
    Stanza,
    read_tree,
)
from nvoi.onboarding.sources import MOST_SERVICES, check_count

NAMES = ("fly.toml",)
#: What the only process is called, and the port that it has without another.
DEFAULT_PROCESS, DEFAULT_PORT = "app", 8080
RESOURCES = "what a service may use is its `resources`"
ONE_CHECK = "a service has one check here"
SCALING = "nvoi runs as many as `replicas` says, and stops none that is idle"
TRAFFIC = "how traffic comes to a service from outside is nothing that fly.toml can say here"
REASONS = {
    "primary_region": "where servers are is their provider's, or they are yours",
    "kill_signal": "a service is ended with SIGTERM",
    "kill_timeout": ENDS,
    "statics": "nvoi serves no files itself: the app does",
    "metrics": "nvoi gathers no metrics",
    "console_command": "nvoi opens no consoles",
    "swap_size_mb": "a server's swap is its owner's",
    "http_service": TRAFFIC,
}
SERVICE_REASONS = {
    **dict.fromkeys(
        ("auto_stop_machines", "auto_start_machines", "min_machines_running", "concurrency"),
        SCALING,
    ),
    **dict.fromkeys(("force_https", "ports", "tls_options", "http_options", "protocol"), TRAFFIC),
    "script_checks": "a check is of a page, a port or a command: `healthcheck`",
    "machine_checks": "a release is tried by its `healthcheck`",
}
CHECK_REASONS = {
    "grace_period": STARTS,
    "method": "a health page is asked with GET",
    "protocol": "a health page is asked over plain HTTP",
    "headers": "a health page is asked without headers",
    "restart_limit": RESTARTS,
    "tls_skip_verify": "a health page is asked over plain HTTP",
}
NO_SECRETS = (
    "`fly secrets` are not in this file: `fly secrets list` names them, and "
    "`nvoi credentials set application.secrets.NAME -` adds each"
)


def read_fly(reading: Reading, file: str) -> Proposal:
    root = read_tree(reading.read_text(file), file, reading.notes)
    stanza = Stanza(reading.notes, "", root)
    name = build_slug(stanza.text("app"))
    dockerfile, image = read_build(reading, stanza.stanza("build"))
    processes = read_processes(stanza)
    check_count(file, len(processes), MOST_SERVICES, "processes")
    processes = processes or {DEFAULT_PROCESS: read_experimental(stanza)}
    apps = {
        key: AppService(key, command=text or None, image=image) for key, text in processes.items()
    }
    read_services(stanza, apps)
    read_checks(stanza, apps)
    read_mounts(stanza, apps)
    read_machines(stanza, apps)
    deploy = stanza.stanza("deploy")
    first = next(iter(apps))
    if release := deploy.text("release_command"):
        apps[first] = replace(apps[first], pre_run_command=release)
    deploy.tell_all({"strategy": "nvoi replaces one release by the next once that is well"})
    env = stanza.stanza("env")
    given = {key: env.take(key, Scalar) for key in env.list_keys()}
    variables = {key: one for key, one in given.items() if isinstance(one, Scalar)}
    stanza.tell_all(REASONS)
    reading.notes.append(Note(Position(0, 0, file), "", NO_SECRETS))
    finished = tuple(
        finish(reading, app, dockerfile, is_first=key == first) for key, app in apps.items()
    )
    return build_proposal(
        reading,
        file,
        Answers(name=name, apps=finished),
        dict.fromkeys(apps, variables),
        answered=("Apps", "Variables"),
    )


def read_build(reading: Reading, build: Stanza) -> tuple[ImageConfig, str | None]:
    """What the Dockerfile says, and a finished image."""
    file = build.text("dockerfile")
    if build.node:
        reading.tell_dockerfile(build.node.place, build.path, file)
    image = build.text("image") or None
    build.tell_all(
        {
            "args": NO_ARGUMENTS,
            "builder": "nvoi builds the checkout's Dockerfile",
            "buildpacks": "nvoi builds the checkout's Dockerfile",
            "build-target": LAST_STAGE,
        }
    )
    return read_dockerfile(reading.read_text(file or "Dockerfile")) or ImageConfig(), image


def read_processes(stanza: Stanza) -> dict[str, str]:
    processes = stanza.stanza("processes")
    found: dict[str, str] = {}
    for key in processes.list_keys():
        name = build_service_name(key)
        if name and name not in found:
            found[name] = processes.text(key)
        else:
            processes.tell(key, NO_NAME)
    return found


def read_experimental(stanza: Stanza) -> str:
    """An older way to say what runs."""
    experimental = stanza.stanza("experimental")
    words = [read_words(experimental.take(key)) for key in ("entrypoint", "cmd")]
    experimental.tell_all({})
    return " ".join(word for word in words if word)


def take_processes(stanza: Stanza, apps: Iterable[str]) -> list[str]:
    """The processes that a stanza is for; none where it names none."""
    names = [build_service_name(one.text) for one in stanza.texts("processes")]
    return [name for name in names if name in apps]


def read_services(stanza: Stanza, apps: dict[str, AppService]) -> None:
    """Ports and their checks; a service without `processes` is the first one's."""
    services = [stanza.stanza("http_service")] if "http_service" in stanza else []
    for service in [*services, *stanza.stanzas("services")]:
        names = take_processes(service, apps) or [next(iter(apps))]
        port = find_port(service.text("internal_port")) or DEFAULT_PORT
        kinds = ("checks", "http_checks", "tcp_checks")
        checks = [check for kind in kinds for check in service.stanzas(kind)]
        made = next(map(read_check, checks), None)
        fitting = [name for name in names if apps[name].port in {None, port}]
        for name in fitting:
            kept = apps[name].healthcheck or made
            apps[name] = replace(apps[name], port=port, healthcheck=kept)
        is_taken = fitting and all(apps[name].healthcheck is made for name in fitting)
        for check in checks[1:] if is_taken else checks:
            check.add_note(None, ONE_CHECK)
        if len(fitting) < len(names):
            service.add_note(None, f"port {port}: {ONE_PORT}")
        service.tell_all(SERVICE_REASONS)


def read_check(check: Stanza, port: int | None = None) -> Healthcheck:
    path = check.text("path")
    is_http = check.text("type") == "http" or path
    asked = Healthcheck(path=path or "/") if is_http else Healthcheck("tcp")
    made = read_times(replace(asked, port=port), check)
    check.tell_all(CHECK_REASONS)
    return made


def read_checks(stanza: Stanza, apps: dict[str, AppService]) -> None:
    """Checks that are of no service's port: the first becomes the first process's."""
    checks = stanza.stanza("checks")
    for key in checks.list_keys():
        check = checks.stanza(key)
        name = next(iter([*take_processes(check, apps), *apps]))
        if apps[name].healthcheck is not None:
            check.add_note(None, ONE_CHECK)
            continue
        port = find_port(check.text("port"))
        made = read_check(check, None if port == apps[name].port else port)
        apps[name] = replace(apps[name], healthcheck=made)


def read_mounts(stanza: Stanza, apps: dict[str, AppService]) -> None:
    for mount in stanza.stanzas("mounts"):
        source, target = build_service_name(mount.text("source")), mount.text("destination")
        if not target.startswith("/"):
            mount.add_note(None, "names no path in the container")
            continue
        for name in take_processes(mount, apps) or [next(iter(apps))]:
            mounts = {**apps[name].mounts, source or "data": target.rstrip("/")}
            apps[name] = replace(apps[name], mounts=mounts)
        mount.tell_all({"initial_size": "a volume has 10 GB unless its `size` says otherwise"})


def read_machines(stanza: Stanza, apps: dict[str, AppService]) -> None:
    for machine in stanza.stanzas("vm"):
        keys = ("memory", "memory_mb")
        memory, older = (read_amount(machine, key, read_megabytes) for key in keys)
        memory = memory or older
        for name in take_processes(machine, apps) or list(apps):
            apps[name] = replace(apps[name], resources=Resources(memory_limit=memory))
        machine.tell_all(dict.fromkeys(("size", "cpus", "cpu_kind"), RESOURCES))


def read_megabytes(text: str) -> str | None:
    """An amount of memory; a number alone is of megabytes."""
    return read_memory(f"{text}m" if text.isdigit() else text)


def finish(reading: Reading, app: AppService, image: ImageConfig, *, is_first: bool) -> AppService:
    """A process as a service; on this machine with a command of its own."""
    app = replace(app, command=use_port(app.command or "", app.port) or None)
    if not reading.is_local:
        tell_hidden(reading, app, image)
        return app
    return run_here(reading, app, image, port=app.port, is_first=is_first)
