"""Step: start each service that has a port on a free one, and see that it is well."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from nvoi.config.schema import AppService
from nvoi.errors import ServiceError
from nvoi.log.levels import get_logger
from nvoi.targets.local.client import Supervisor
from nvoi.targets.local.conf import Program
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.daemon import find_supervisor
from nvoi.targets.local.health import Target, build_check
from nvoi.targets.local.launcher import build_launcher, build_marks, write_launcher
from nvoi.targets.local.processes import find_free_ports
from nvoi.targets.local.programs import ensure_programs, list_programs
from nvoi.targets.local.startup import Startup, build_startup, watch
from nvoi.targets.local.state import guard_storage, remove_tree
from nvoi.targets.local.together import Cancel, run_together
from nvoi.targets.step import Step

log = get_logger(__name__)


def run(context: LocalContext) -> None:
    """Try all services side by side; the release that serves goes on meanwhile.

    Raises:
        ServiceError: one ends, or is not well in time.
    """
    services = [service for service in context.services if service.port is not None]
    if not services:
        return
    supervisor = get_supervisor(context)
    taken = [service.port for service in services if service.port is not None]
    ports = find_free_ports(len(services), avoid=taken)
    with guard_storage(context.state):
        startups = [
            prepare(context, service, port) for service, port in zip(services, ports, strict=True)
        ]
        programs = [startup.program for startup in startups]
        ensure_programs(
            context.state, supervisor, [*list_programs(context.previous_record), *programs]
        )
    run_together([partial(attempt, startup, supervisor) for startup in startups])
    clear(context, supervisor)
    remove_tree(context.state.logs / "trial")


def undo(context: LocalContext) -> None:
    """End what is still on trial; its logs stay for a look."""
    supervisor = find_supervisor(context.state)
    if supervisor is not None:
        clear(context, supervisor)


def plan(context: LocalContext) -> Iterator[str]:
    """Say which services would be tried."""
    for service in context.services:
        if service.port is not None:
            yield f"would start {service.name} on a free port and check it: {service.command}"


def get_supervisor(context: LocalContext) -> Supervisor:
    """The supervisord that the step before has started.

    Raises:
        ServiceError: it has ended since.
    """
    supervisor = find_supervisor(context.state)
    if supervisor is None:
        raise ServiceError(
            "supervisord has ended in the middle of the deploy",
            hint=f"see {context.state.supervisor / 'supervisord.log'}",
        )
    return supervisor


def prepare(context: LocalContext, service: AppService, port: int) -> Startup:
    """Write the launcher of one trial."""
    program = Program(service.name, trial=True)
    release = context.state.releases / context.release
    environment = context.build_environment(service, port=port)
    marks = build_marks(context.state, context.release, program.name)
    text = build_launcher(service.name, release, service.command or "", environment | marks)
    write_launcher(context.state.run / program.script, text)
    (context.state.logs / program.logfile).unlink(missing_ok=True)
    check = build_check(service, port)
    target = Target(check, release, environment) if check else None
    return build_startup(service, program, context.state, context.release, port=port, target=target)


def attempt(startup: Startup, supervisor: Supervisor, cancel: Cancel) -> None:
    """Start one and wait until it is well."""
    began = time.monotonic()
    supervisor.start(startup.program.name)
    watch(startup, supervisor, cancel)
    log.ok(
        "%s is well on trial, on port %d after %.1f s",
        startup.service.name,
        startup.port,
        time.monotonic() - began,
    )


def clear(context: LocalContext, supervisor: Supervisor) -> None:
    """End all trials and remove what they left."""
    with guard_storage(context.state):
        ensure_programs(context.state, supervisor, list_programs(context.previous_record))
        remove_tree(context.state.run / "trial")


TRIAL = Step("Try the services", run=run, plan=plan, undo=undo)
