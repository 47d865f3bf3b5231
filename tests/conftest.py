"""What all tests share."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest

from nvoi.log.masking import masker
from nvoi.signals import ENDING

#: Where tests run whole deploys or browsers, or fill a budget. They take seconds each.
LONG = tuple(
    f"tests/integration/{name}"
    for name in (
        "providers/",
        "targets/cluster/",
        "targets/local/",
        "dashboard/test_pages_readers",
        "images/test_login",
        "kubernetes/test_restoring",
        "onboarding/test_onboard_dashboard",
        "onboarding/test_onboard_recipes",
        "log/test_callback_command",
        "config/test_credentials_together",
        "demo/test_demo",
    )
)

# A shell has its background jobs ignore SIGINT and SIGQUIT, nohup SIGHUP: what is run inherits it.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(
            number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each worker begins with its share of the long tests: none is left over for the end."""
    workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
    if workers == 1:
        return
    long = [item for item in items if item.nodeid.startswith(LONG)]
    others = [item for item in items if not item.nodeid.startswith(LONG)]
    # Workers are given contiguous parts of the list, of the same length.
    items.clear()
    for number in range(workers):
        share = long[number::workers]
        part = slice(number * len(others) // workers, (number + 1) * len(others) // workers)
        items += [*share, *others[part]]


def pytest_collection_finish() -> None:
    """Thousands of tests stay to the end: they need not be looked through for garbage each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """Take back what a command changes of its process, with which that usually ends.

    What it has had masked is no secret to later tests, and what these start ends by signals.
    """
    before = masker._needles
    handlers = {number: signal.getsignal(number) for number in ENDING}
    yield
    masker._needles = before
    for number, handler in handlers.items():
        signal.signal(number, handler)
