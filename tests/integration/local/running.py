"""Runs the local target's steps as an operation does: in order, and back where one fails.

Called as a program, ``running.py CONFIG DIRECTORY HOME deploy|delete``, it is a whole run in
a process of its own, which a test can interrupt or kill.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

import nvoi  # noqa: F401 - gives the loggers their levels
from nvoi.config.loader import load
from nvoi.errors import NvoiError
from nvoi.operation import Request, Step
from nvoi.targets.local import TARGET, LocalContext


def run_steps(steps: tuple[Step[LocalContext], ...], request: Request) -> LocalContext:
    """Run all steps; where one fails, undo what was begun and raise what it raised."""
    with TARGET.open(request) as context:
        begun: list[Step[LocalContext]] = []
        try:
            for step in steps:
                begun.append(step)
                step.run(context)
        except BaseException:
            for step in reversed(begun):
                if step.undo is not None:
                    step.undo(context)
            raise
    return context


def terminate(*_: object) -> None:
    raise SystemExit(143)


def main(config: str, directory: str, home: str, verb: str) -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    signal.signal(signal.SIGTERM, terminate)
    request = Request(
        config=load(Path(config).read_text("utf-8"), filename=config, environ=None),
        directory=Path(directory),
        home=Path(home),
        deploy_id="of-another-process",
        environ=os.environ,
    )
    try:
        run_steps(TARGET.deploy if verb == "deploy" else TARGET.delete, request)
    except NvoiError as error:
        print(error, *error.output, sep="\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
