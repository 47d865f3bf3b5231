"""Step: make sure that no other program has a port that a service wants."""

from __future__ import annotations

from collections.abc import Iterator

from nvoi.config.schema import AppService
from nvoi.errors import ServiceError
from nvoi.log.levels import get_logger
from nvoi.targets.local.conf import Program
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.daemon import find_supervisor
from nvoi.targets.local.processes import describe_process, find_listener, is_port_free
from nvoi.targets.local.startup import is_ours
from nvoi.targets.step import Step

log = get_logger(__name__)


def run(context: LocalContext) -> None:
    """Look at every port.

    Raises:
        ServiceError: a program that is none of the app's listens on one.
    """
    own: set[int] | None = None
    for service in context.services:
        if service.port is None or is_port_free(service.port):
            continue
        own = find_own_ports(context) if own is None else own
        pid = find_listener(service.port)
        if service.port not in own or (pid is not None and not is_ours(pid, context.state)):
            raise build_error(service, service.port, pid)


def plan(context: LocalContext) -> Iterator[str]:
    """Say which ports would be looked at, and what would be found."""
    own = {port for port in context.previous_record.values() if port is not None}
    for service in context.services:
        if service.port is None:
            continue
        if is_port_free(service.port):
            found = "it is free"
        elif service.port in own:
            found = "the release that serves has it"
        else:
            pid = find_listener(service.port)
            found = f"it is taken by {describe_process(pid) if pid else 'another program'}"
        yield f"would check port {service.port} of {service.name}: {found}"


def find_own_ports(context: LocalContext) -> set[int]:
    """The ports of the services that run now."""
    supervisor = find_supervisor(context.state)
    infos = supervisor.list_infos() if supervisor else {}
    return {
        port
        for name, port in context.previous_record.items()
        if port is not None
        and (info := infos.get(Program(name).name)) is not None
        and info.is_alive
    }


def build_error(service: AppService, port: int, pid: int | None) -> ServiceError:
    """The error for a port that is taken."""
    holder = describe_process(pid) if pid else "another program"
    return ServiceError(
        f"port {port} of {service.name} is taken by {holder}",
        hint=f"stop that program, or change application.app.{service.name}.port",
    )


PORTS = Step("Check the ports", run=run, plan=plan)
