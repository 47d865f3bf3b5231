"""The story of ``nvoi demo``: a dashboard, a deploy that works, one that does not, and the end."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

from nvoi.demo.place import (
    APP,
    BAD_SECONDS,
    Place,
    break_app,
    build_command,
    commit,
    fill,
    find_port,
    make_folder,
    start,
    write_config,
)
from nvoi.demo.watcher import DASHBOARD_PORT, Watcher, check_app, check_deploy, read, watch
from nvoi.errors import NvoiError
from nvoi.folders import remove_tree
from nvoi.log.levels import get_logger
from nvoi.process import join
from nvoi.secret import Secret
from nvoi.signals import Signals
from nvoi.targets.local.processes import find_marked, stop_processes
from nvoi.waiting import NotReadyError, wait_for

log = get_logger(__name__)

FIRST, SECOND = f"{APP}-1", f"{APP}-2"

#: Seconds between two lines of `pre_run_command`: enough to see them come.
PAUSE_SECONDS = 0.4

#: Seconds for a deploy to be seen by the dashboard.
SEEN_SECONDS = 20.0


@dataclass(frozen=True)
class Demo:
    environ: Mapping[str, str]
    signals: Signals
    say: Callable[[str], None]
    #: Opens a page in a browser; None where nobody would see it.
    open_page: Callable[[str], bool] | None
    #: The dashboard's; 0 lets the system choose, None takes the usual one where it is free.
    port: int | None
    #: Whether somebody watches. If not, it goes as fast as it can and ends by itself.
    wait: bool


def show(demo: Demo) -> None:
    """Show the demo, and leave nothing behind, whatever ends it."""
    with ExitStack() as stack:
        with demo.signals.hold():
            place = stack.enter_context(open_place(demo))
        demo.say(f"nvoi demo: an app, a dashboard and two deploys, all of it in {place.folder}")
        watcher = stack.enter_context(watch(place, demo.port))
        stack.enter_context(deployable(place, demo))
        show_deploys(place, watcher, demo)
    with suppress(OSError):
        demo.say("   Nothing is left of it.")


@contextmanager
def open_place(demo: Demo) -> Iterator[Place]:
    folder = make_folder()
    try:
        port = find_port(avoid=demo.port or DASHBOARD_PORT)
        pause = PAUSE_SECONDS if demo.wait else 0
        place = Place(folder, demo.environ, demo.signals, port, pause)
        fill(place)
        yield place
    finally:
        demo.signals.settle()
        remove_tree(folder)


@contextmanager
def deployable(place: Place, demo: Demo) -> Iterator[None]:
    """What is deployed inside is taken down at the end, with all that belongs to it."""
    try:
        yield
    finally:
        demo.signals.settle()
        # The terminal may have been closed.
        with suppress(OSError):
            demo.say("\n== Taking everything down")
        try:
            if place.state.exists():
                delete(place)
        finally:
            left = find_marked({"NVOI_STATE": str(place.state)})
            stop_processes(left, what="what the app has left")


def delete(place: Place) -> None:
    # A config that tells nobody: the dashboard is about to go as well.
    write_config(place, "", Secret("gone"))
    output = place.folder / "delete.log"
    words = ["delete", "--yes", "--delete-volumes", "--quiet", *place.options]
    with start(place, words, output=output) as process:
        code = join(process)
    if code != 0:
        raise NvoiError(f"nvoi delete ended with exit code {code}\n{read(output)}")


def show_deploys(place: Place, watcher: Watcher, demo: Demo) -> None:
    """Deploy twice, look at what came of it, and wait to be ended."""
    token = Secret(secrets.token_urlsafe(24))
    demo.say(f"\n== The dashboard\n   {watcher.page}")
    write_config(place, watcher.callback_url, token)
    commit(place, "An app that greets")
    page = watcher.build_page(FIRST)
    is_unseen = demo.open_page is None and demo.wait
    demo.say(f"\n== A deploy\n   {'open this: ' if is_unseen else ''}{page}\n")
    deploy(place, watcher, demo, FIRST, expected=0)
    release = check_app(place)
    check_deploy(watcher, FIRST, status="completed")

    write_config(place, watcher.callback_url, token, seconds=BAD_SECONDS)
    break_app(place)
    commit(place, "A mistake: the health page answers 500")
    demo.say(
        "\n== Another deploy, of an app with a mistake: it fails, and the first release stays"
        f"\n   {watcher.build_page(SECOND)}\n"
    )
    deploy(place, watcher, demo, SECOND, expected=1)
    reason = check_deploy(watcher, SECOND, status="failed")
    if check_app(place) != release:
        raise NvoiError(f"{place.app_url} does not answer as it did before the second deploy")

    demo.say("\n== All of it is as it should be")
    demo.say(f"   the app             {place.app_url}, still the first release")
    demo.say(f"   the first deploy    {watcher.build_page(FIRST)}, completed")
    demo.say(f"   the second deploy   {watcher.build_page(SECOND)}, failed: {reason}")
    if demo.wait:
        wait(place, watcher, demo)


def deploy(place: Place, watcher: Watcher, demo: Demo, deploy_id: str, *, expected: int) -> None:
    """Run ``nvoi deploy`` to its end, its page opened as soon as there is one."""
    with start(place, ["deploy", *place.options], NVOI_DEPLOY_ID=deploy_id) as process:
        if demo.open_page is not None and deploy_id == FIRST:
            open_when_seen(demo.open_page, watcher, demo.say)
        code = join(process)
    if code != expected:
        raise NvoiError(f"nvoi deploy ended with exit code {code}, and {expected} was expected")


def open_when_seen(
    open_page: Callable[[str], bool], watcher: Watcher, say: Callable[[str], None]
) -> None:
    """Open the first deploy's page once the dashboard has heard of it, or say where it is.

    Where it never does, looking at the deploy says so later.
    """

    def look() -> None:
        if watcher.ask_for(FIRST).status != HTTPStatus.OK:
            raise NotReadyError("the dashboard has not heard of it")

    with suppress(NotReadyError):
        wait_for(look, what="the deploy to begin", seconds=SEEN_SECONDS, log=log)
        if not open_page(watcher.build_page(FIRST)):
            say(f"\n   open this: {watcher.build_page(FIRST)}\n")


def wait(place: Place, watcher: Watcher, demo: Demo) -> None:
    """Wait for a signal, such as Ctrl-C, or the end of the dashboard, which is an error."""
    words = build_command(["deploy", *place.options])
    demo.say(
        f"\nThe app's code is in {place.checkout}. Change it, and deploy it again:\n"
        f"   {shlex.join(['env', f'NVOI_HOME={place.home}', *words])}"
        "\n\nCtrl-C takes all of it down."
    )
    # A signal is how the demo is meant to end.
    with suppress(KeyboardInterrupt):
        code = join(watcher.process)
        raise NvoiError(f"the dashboard ended with exit code {code}")
