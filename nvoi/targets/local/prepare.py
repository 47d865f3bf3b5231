"""Step: each service's ``pre_run_command``, once, in the new release."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

from nvoi.config.schema import AppService
from nvoi.errors import CommandError
from nvoi.log.levels import get_logger
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.output import Lines, run_told
from nvoi.targets.step import Step
from nvoi.waiting import Reminder

log = get_logger(__name__)


def run(context: LocalContext) -> None:
    """Run them in the order of the config, before anything of the old release is touched."""
    for service in context.services:
        if service.pre_run_command:
            run_command(context, service, service.pre_run_command)


def plan(context: LocalContext) -> Iterator[str]:
    """Say which commands would run."""
    for service in context.services:
        first, *rest = (service.pre_run_command or "").strip().splitlines() or [""]
        if first:
            yield f"would run for {service.name}: {first}"
            yield from (f"    {line}" for line in rest)


def run_command(context: LocalContext, service: AppService, command: str) -> None:
    """Run one and log its output as it comes.

    Raises:
        CommandError: it ended with anything but 0; carries its last lines.
    """
    began = time.monotonic()
    lines = Lines(lambda line: log.info("%s: %s", service.name, line))
    status = run_told(
        ["/bin/sh", "-c", command],
        folder=context.state.releases / context.release,
        environment=context.build_environment(service),
        lines=lines,
        reminder=Reminder(f"the pre_run_command of {service.name}", log),
    )
    if status == 0:
        log.ok("%s: pre_run_command done in %.1f s", service.name, time.monotonic() - began)
        return
    how = f"exited with {status}" if status > 0 else f"was ended by {get_signal_name(-status)}"
    raise CommandError(
        f"the pre_run_command of {service.name} {how}",
        hint=f"nothing was switched; see application.app.{service.name}.pre_run_command",
        output=lines.last,
    )


def get_signal_name(number: int) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


PREPARE = Step("Run pre_run_command", run=run, plan=plan)
