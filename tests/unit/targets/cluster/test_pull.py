"""What servers pull before a pod is stopped for it, and what becomes of one that cannot be had."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from nvoi.command import Command, Result
from nvoi.errors import ConnectionFailedError, NvoiError, RemoteTimeoutError, ServiceError
from nvoi.kubernetes.registry import build_credentials, build_registry
from nvoi.secret import Secret
from nvoi.ssh.host import Host
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.pull import Pull, find_pulls, find_reason, pull_all, pull_image
from nvoi.waiting import Reminder
from tests.unit.targets.cluster.runs import STAMPS, build, see

SERVERS = """\
servers:
  main: {master: true, host: 10.0.0.1, volumes: {data: {}}}
  more: {hosts: [10.0.0.2, 10.0.0.3]}
"""
CONFIG = f"""{SERVERS}
app:
  web: {{servers: [main, more], port: 80, image: 'web:1'}}
  files: {{servers: [main], port: 81, image: 'files:1', mounts: {{data: /data}}}}
services: {{search: {{servers: [main], image: 'search:1', mount: {{data: /data}}}}}}
database:
  servers: [more]
  adapter: postgres
  image: postgres:17
  secrets: {{POSTGRES_USER: u, POSTGRES_PASSWORD: p, POSTGRES_DB: d}}
"""
CHANGED = CONFIG.replace(":1'", ":2'").replace(":17", ":18")
START = (
    'FATA[0001] pulling image: rpc error: code = {} desc = failed to pull and unpack image "a": '
)
MISSING = START.format("NotFound") + "docker.io/library/a:1: not found"
AWAY = START.format("Unknown") + "dial tcp 10.43.0.100:5000: connect: connection refused"
PULL = Pull("the database", "a:1", ("more",))


@dataclass
class Machine:
    """In the place of connections: answers each command as it is told to, and keeps it."""

    answers: Iterator[Result | NvoiError]
    asked: list[tuple[str, str]] = field(default_factory=list)
    reminders: list[str] = field(default_factory=list)

    def run(
        self, host: Host, command: Command, *, reminder: Reminder | None = None, **_: object
    ) -> Result:
        self.asked.append((host.name, str(command)))
        self.reminders += [reminder.what] if reminder else []
        given = next(self.answers)
        if isinstance(given, NvoiError):
            raise given
        return given


def answer(context: ClusterContext, *answers: Result | NvoiError) -> Machine:
    """Have a run's servers answer so, the last answer ever after."""
    machine = Machine(itertools.chain(answers, itertools.repeat(answers[-1])))
    context.connections = machine  # type: ignore[assignment]
    context.list_servers()
    return machine


def say(*lines: str, code: int = 1) -> Result:
    return Result(code, "", lines, 0.1)


DONE = say(code=0)


def pull(*answers: Result | NvoiError) -> Machine:
    """Pull on a server by a clock on which each look takes 5 s."""
    context = see([], text=SERVERS)
    machine = answer(context, *answers)
    ticks = itertools.count(step=5.0)
    server = context.survey.servers[-1]
    pull_image(context, server, PULL, clock=lambda: next(ticks), sleep=lambda _: None)
    return machine


def test_what_ends_before_its_successor_is_pulled_on_its_servers_before() -> None:
    context = see(build(CONFIG, STAMPS[0]).kept, text=CONFIG)
    machine = answer(context, DONE)
    pull_all(context, context.state.objects, build(CHANGED, STAMPS[1]).kept, context.survey.servers)
    assert {(name, text.split()[-1]) for name, text in machine.asked} == {
        ("shop-more-1", "postgres:18"),
        ("shop-more-2", "postgres:18"),
        ("shop-main-1", "search:2"),
        ("shop-main-1", "files:2"),
    }


def test_what_is_new_or_unchanged_is_left_to_the_cluster() -> None:
    kept: Any = build(CONFIG, STAMPS[0]).kept
    assert find_pulls([], kept) == find_pulls(kept, build(CONFIG, STAMPS[1]).kept) == []


def test_the_registry_s_own_image_is_pulled_on_its_server_before() -> None:
    who = build_credentials(Secret("token"))
    old, new = (build_registry("run", who, node="main-1", image=f"registry:{n}") for n in (2, 3))
    context = see([], text=CONFIG)
    machine = answer(context, DONE)
    pull_all(context, old, new, [context.master])
    ((name, text),) = machine.asked
    assert (name, text.split()[-1]) == ("shop-main-1", "registry:3")


def test_an_image_that_can_never_be_had_is_told_at_once() -> None:
    told = "the database: a:1 cannot be pulled on shop-more-2: .*docker.io/library/a:1: not found"
    with pytest.raises(ServiceError, match=told) as caught:
        pull(say("level=info", MISSING), DONE)
    assert "what runs goes on" in caught.value.hint


def test_a_registry_that_is_away_for_a_moment_is_asked_again() -> None:
    machine = pull(say(AWAY), say(AWAY), DONE)
    assert len(machine.asked) == 3
    # Each may take long, which is told.
    assert {*machine.reminders} == {"a:1 on shop-more-2"}


def test_a_registry_that_stays_away_ends_the_run_before_anything_is_changed() -> None:
    with pytest.raises(ServiceError, match="connection refused"):
        pull(say(AWAY))


@pytest.mark.parametrize(
    "answer",
    [
        say("FATA[0000] validate service connection: validate CRI v1 image API", code=1),
        say("k3s: not found", code=127),
        ConnectionFailedError("shop-more-2: cannot be reached"),
    ],
)
def test_where_it_cannot_even_be_tried_it_is_told_and_no_fault(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(pull(answer).asked) == 1
    assert "shop-more-2: a:1 is not pulled beforehand: " in caplog.text


def test_a_pull_without_an_end_ends_the_run_before_anything_is_changed() -> None:
    with pytest.raises(RemoteTimeoutError):
        pull(RemoteTimeoutError("shop-more-2", "k3s crictl pull", "has not ended after 600 s"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (MISSING, 'failed to pull and unpack image "a": docker.io/library/a:1: not found'),
        (
            'time="2026-01-01" level=fatal msg="pulling image: failed to pull: a:1: not found"',
            "failed to pull: a:1: not found",
        ),
        ("FATA[0000] connect: connection refused", None),
    ],
)
def test_the_reason_is_in_containerd_s_words(line: str, reason: str | None) -> None:
    assert find_reason(say("W0101 using default endpoints", line, "")) == reason
