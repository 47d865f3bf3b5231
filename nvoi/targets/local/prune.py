"""Step: remove releases that are too old to go back to."""

from __future__ import annotations

from collections.abc import Iterator

from nvoi.log.levels import get_logger
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.record import remove_release
from nvoi.targets.local.state import guard_storage
from nvoi.targets.step import Step

log = get_logger(__name__)


def run(context: LocalContext) -> None:
    """Keep ``keep_count`` releases beside the one that serves."""
    with guard_storage(context.state):
        for release in list_surplus(context, context.state.list_releases()):
            log.info("removing release %s", release)
            remove_release(context.state, release)


def plan(context: LocalContext) -> Iterator[str]:
    """Say which releases would be removed: a deploy adds one."""
    releases = context.state.list_releases()
    new = "the new release"
    for release in list_surplus(context, [*releases, new], current=new):
        yield f"would remove release {release}"


def list_surplus(
    context: LocalContext, releases: list[str], *, current: str | None = None
) -> list[str]:
    """Those of ``releases``, which are oldest first, that are not kept."""
    serving = current or context.state.find_current()
    old = [release for release in releases if release != serving]
    return old[: max(0, len(old) - context.application.keep_count)]


PRUNE = Step("Remove old releases", run=run, plan=plan)
