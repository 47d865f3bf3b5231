"""How long servers of each cloud take, and what a deploy asks of the cloud's API.

The API is the stand-in of the tests, whose calls and background work take set times, so that
nvoi's own share is what is left.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from goals import Goals, describe, find_median

from nvoi.config.schema import Application
from nvoi.providers import get_provider
from nvoi.providers.hetzner.api import ENDPOINT_VARIABLE as HETZNER_VARIABLE
from nvoi.providers.scaleway.api import URL_VARIABLE as SCALEWAY_VARIABLE
from tests.fakes.clouds.aws_proxy import StrictAWS
from tests.fakes.clouds.hetzner import Hetzner
from tests.fakes.clouds.moto import get_moto
from tests.fakes.clouds.scaleway import Scaleway
from tests.fakes.clouds.server import Cloud
from tests.integration.providers.aws_account import build_app
from tests.integration.providers.hetzner_site import build_config
from tests.integration.providers.site import deploy_servers
from tests.unit.config.texts import parse, scaleway

#: Seconds that a call of the API takes, and what it does in the background.
LATENCY, BACKGROUND = 0.15, 8.0
#: Servers, and how much longer than one they may take.
SERVERS, RATIO = 10, 1.3


@dataclass(frozen=True)
class Case:
    """A cloud.

    Attributes:
        start: its stand-in, with the times that it takes.
        variable: what leads nvoi to it.
        build: an app with these groups of servers.
        calls: of a deploy that changes nothing, with one server; those of one domain come on top.
    """

    name: str
    start: Callable[..., Cloud]
    variable: str
    build: Callable[[str], Application]
    calls: int


def build_scaleway(servers: str) -> Application:
    return parse(scaleway("app: {web: {servers: [main]}}", f"servers: {servers}")).application


CASES = (
    Case("Hetzner", Hetzner, HETZNER_VARIABLE, build_config, 6),
    Case(
        "AWS",
        partial(StrictAWS, get_moto()),
        "AWS_ENDPOINT_URL",
        lambda servers: build_app(f"servers: {servers}"),
        8,
    ),
    Case("Scaleway", Scaleway, SCALEWAY_VARIABLE, build_scaleway, 8),
)


def build_provider(case: Case, cloud: Cloud, application: Application) -> Any:
    return get_provider(application, {case.variable: cloud.url})


def measure(case: Case, count: int) -> float:
    """Seconds until so many servers, each in an empty account, are there."""
    application = case.build(f"{{main: {{master: true, count: {count}}}}}")
    with case.start(latency=LATENCY, seconds=BACKGROUND) as cloud:
        began = time.perf_counter()
        servers = build_provider(case, cloud, application).ensure_servers()
        assert len(servers) == count
        return time.perf_counter() - began


def judge_servers(goals: Goals, case: Case, rounds: int) -> None:
    found = [(measure(case, 1), measure(case, SERVERS)) for _ in range(rounds)]
    one, many = ([pair[index] for pair in found] for index in range(2))
    goals.note(f"one server: {describe(one)} s; {SERVERS}: {describe(many)} s")
    ratios = [several / single for single, several in found]
    goals.at_most(f"{SERVERS} servers of {case.name} / one", find_median(ratios), RATIO)


def judge_calls(goals: Goals, case: Case) -> None:
    application = case.build("{main: {master: true}}")
    with case.start() as cloud:
        deploy_servers(build_provider(case, cloud, application))
        with cloud.record() as calls:
            deploy_servers(build_provider(case, cloud, application))
    goals.at_most(f"calls of a deploy that changes nothing at {case.name}", len(calls), case.calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    goals = Goals(f"clouds, {options.rounds} rounds")
    for case in CASES:
        judge_calls(goals, case)
        judge_servers(goals, case, options.rounds)
    goals.leave()


if __name__ == "__main__":
    main()
