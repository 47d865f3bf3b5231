"""What the tests of the dashboard share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.dashboard.browser import Browser, open_browser
from tests.integration.dashboard.serving import Serving
from tests.integration.dashboard.watching import log_steps, open_deploy, start_run


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """A dashboard whose default project has the tests' key."""
    with Serving(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One Chromium for all tests of a process."""
    with open_browser() as opened:
        yield opened


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The Chromium with an empty page; its console must have nothing to say in the end.

    A test that has a dashboard of its own asks for that first: it is to outlive the page.
    """
    chromium.reset()
    chromium.expected = frozenset()
    yield chromium
    said = [entry for entry in chromium.read_console() if entry["source"] not in chromium.expected]
    chromium.open("about:blank")
    chromium.read_console()
    assert not said, said


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A dashboard for the tests that only look at deploys of their own."""
    with Serving(tmp_path_factory.mktemp("shared")) as made:
        yield made


@pytest.fixture(scope="session")
def failed(shared: Serving, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A deploy of three steps, of which the last one failed: 96 lines."""
    deploy_id = "failed"
    with start_run(shared, tmp_path_factory.mktemp("failed"), deploy_id) as run:
        run.log.info("nvoi: deploy shop")
        log_steps(run.log, {"Check": 3, "Build": 40})
        run.log.warning("a package is old")
        run.log.step("Start web")
        for number in range(1, 46):
            run.log.info("waiting for web, try %d", number)
        run.log.error("web did not become healthy: GET /up answered 500")
        run.log.info("Undoing: Start web")
        run.log.error("Could not undo it")
        run.stream.failed("web did not become healthy")
    return deploy_id


@pytest.fixture
def page(browser: Browser, shared: Serving, failed: str) -> Browser:
    open_deploy(browser, shared, failed)
    return browser
