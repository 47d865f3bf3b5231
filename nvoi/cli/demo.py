"""``nvoi demo``."""

from __future__ import annotations

import argparse
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from nvoi.cli.options import add_command
from nvoi.cli.signals import build_interruption, handled
from nvoi.cli.values import parse_port

EXAMPLES = """\
examples:
  nvoi demo                 watch it in a browser; Ctrl-C ends it
  nvoi demo --port 8787     the dashboard at a port of your choice
  nvoi demo --no-wait       as fast as it can, and end by itself, as in CI

All of it is in a temporary folder, and gone at the end. It needs nvoi[demo].

exit codes: 0 all went as it should, 1 something did not, 2 bad usage; where it did not come
to its end, 129 SIGHUP, 130 Ctrl-C, 131 SIGQUIT, 143 SIGTERM
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = add_command(
        subparsers,
        "demo",
        "Start a dashboard, deploy an app twice on this machine, once with a mistake in it, and "
        "show both deploys live in a browser.",
        EXAMPLES,
        run,
    )
    parser.add_argument(
        "--no-wait",
        dest="wait",
        action="store_false",
        help="end when all is done; 0 says that all of it went as it should",
    )
    parser.add_argument(
        "--port",
        type=parse_port,
        default=0,
        metavar="N",
        help="the dashboard's port; 0 takes any that is free (default: 0)",
    )
    parser.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        help="open the first deploy's page in a browser (default: where there is a screen)",
    )


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Show the demo."""
    from nvoi.demo.browser import has_screen, open_page  # noqa: PLC0415 - with the log
    from nvoi.demo.story import Demo  # noqa: PLC0415 - with cryptography
    from nvoi.demo.story import run as run_story  # noqa: PLC0415 - same

    opens = options.open
    if opens is None:
        opens = options.wait and sys.stdout.isatty() and has_screen(environ, sys.platform)
    with guarded() as guard:
        demo = Demo(
            environ=environ,
            guard=guard,
            say=say,
            open_page=open_page if opens else None,
            port=options.port,
            wait=options.wait,
        )
        run_story(demo)
    return 0


class Stopper:
    """Makes an interruption of the first signal, where that may be raised.

    A second one changes nothing: what is being taken down is waited for, with deadlines.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._holds = 0
        self._settled = False

    def handle(self, number: int, _frame: types.FrameType | None) -> None:
        """The signals' handler."""
        if self._number is None:
            self._number = number
        self._raise()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Inside, no signal interrupts; one that came is raised at the end."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self._raise()

    def settle(self) -> None:
        """From now on no signal interrupts."""
        self._settled = True

    def _raise(self) -> None:
        if self._number is None or self._holds or self._settled:
            return
        self._settled = True
        raise build_interruption(self._number)


@contextmanager
def guarded() -> Iterator[Stopper]:
    """Inside, the signals that end a run are :class:`Stopper`'s.

    Afterwards they are ignored: the process is about to end with the exit code of what was done.
    """
    stopper = Stopper()
    with handled(stopper.handle):
        try:
            yield stopper
        finally:
            stopper.settle()


def say(text: str) -> None:
    """Print lines, at once: what is started next prints to the same place."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
