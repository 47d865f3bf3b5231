"""How long servers of a cloud take, and what a deploy asks of the cloud's API.

The API is the stand-in of the tests, whose calls and background work take set times, so that
nvoi's own share is what is left.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from goals import Goals, describe, find_median

from nvoi.config.schema import Application
from nvoi.providers.hetzner import Hetzner as Provider
from nvoi.providers.hetzner.api import ENDPOINT_VARIABLE
from nvoi.ssh.routes import Routes
from tests.fakes.clouds.hetzner import Hetzner
from tests.integration.clouds.case import deploy_servers
from tests.integration.clouds.hetzner_case import build_config

#: Seconds that a call of the API takes, and what it does in the background.
LATENCY, BACKGROUND = 0.15, 8.0
#: Servers, and how much longer than one they may take.
SERVERS, RATIO = 10, 1.3
#: Calls of a deploy that changes nothing, with one server; those of one domain come on top.
CALLS = 6


def build(cloud: Hetzner, application: Application) -> Provider:
    return Provider(application, Routes(), {ENDPOINT_VARIABLE: cloud.url})


def measure(count: int) -> float:
    """Seconds until so many servers, each in an empty account, are there."""
    application = build_config(f"{{main: {{master: true, count: {count}}}}}")
    with Hetzner(latency=LATENCY, seconds=BACKGROUND) as cloud:
        began = time.perf_counter()
        servers = build(cloud, application).ensure_servers(application)
        assert len(servers) == count
        return time.perf_counter() - began


def judge_servers(goals: Goals, rounds: int) -> None:
    found = [(measure(1), measure(SERVERS)) for _ in range(rounds)]
    one, many = ([pair[index] for pair in found] for index in range(2))
    goals.note(f"one server: {describe(one)} s; {SERVERS}: {describe(many)} s")
    ratios = [several / single for single, several in found]
    goals.at_most(f"{SERVERS} servers of Hetzner / one", find_median(ratios), RATIO)


def judge_calls(goals: Goals) -> None:
    application = build_config("{main: {master: true}}")
    with Hetzner() as cloud:
        deploy_servers(build(cloud, application), application)
        with cloud.record() as calls:
            deploy_servers(build(cloud, application), application)
    goals.at_most("calls of a deploy that changes nothing at Hetzner", len(calls), CALLS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    goals = Goals(f"clouds, {options.rounds} rounds")
    judge_calls(goals)
    judge_servers(goals, options.rounds)
    goals.leave()


if __name__ == "__main__":
    main()
