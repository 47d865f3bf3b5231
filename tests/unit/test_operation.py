from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from nvoi import operation
from nvoi.errors import CommandError, ConfigError, Fault
from nvoi.operation import Operation, Report, Request, Step, Target
from nvoi.protocol import Tunnel


@dataclass
class Trail:
    """A context that keeps what was done."""

    done: list[str] = field(default_factory=list)
    tunnels: list[Tunnel] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)


def build_step(
    name: str,
    error: BaseException | None = None,
    undo_error: str = "",
    undo_signal: int | None = None,
) -> Step[Trail]:
    def run(trail: Trail) -> None:
        trail.done.append(f"run {name}")
        if error is not None:
            raise error

    def undo(trail: Trail) -> None:
        trail.done.append(f"undo {name}")
        if undo_signal is not None:
            os.kill(os.getpid(), undo_signal)
            trail.done.append(f"undone {name}")
        if undo_error:
            raise RuntimeError(undo_error)

    return Step(name, run, lambda _: [f"would {name}"], undo)


def build_target(trail: Trail, *steps: Step[Trail], fault: Fault | None = None) -> Target[Trail]:
    @contextmanager
    def open_trail(_: Request) -> Iterator[Trail]:
        trail.done.append("open")
        yield trail
        trail.done.append("close")

    def check(_: Request) -> None:
        if fault is not None:
            raise ConfigError("deploy.yml", [fault])

    return Target("test", check, open_trail, lambda _: trail, steps, ())


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="nvoi")
    return caplog


def run(request: Request, target: Target[Trail]) -> Report:
    report = Report()
    operation.run(Operation("Deploy", target, target.deploy, target.check), request, report)
    return report


def test_steps_run_in_order_and_are_timed(
    request_: Request, lines: pytest.LogCaptureFixture
) -> None:
    trail = Trail(urls=["http://localhost:1"])
    report = run(request_, build_target(trail, build_step("build"), build_step("start")))
    assert trail.done == ["open", "run build", "run start", "close"]
    assert [name for name, _ in report.timings] == ["build", "start"]
    text = lines.text
    for part in ("nvoi 0.3", "shop", "test target", "Where the time went", "http://localhost:1"):
        assert part in text
    assert [record.levelname for record in lines.records][-1] == "SUCCESS"


def test_a_failed_step_and_those_before_it_are_undone_last_first(
    request_: Request, lines: pytest.LogCaptureFixture
) -> None:
    trail = Trail()
    error = CommandError("migrate failed", hint="mend it", output=["line 1", "line 2"])
    target = build_target(
        trail,
        build_step("a"),
        build_step("b", undo_error="stuck"),
        build_step("c", error),
        build_step("d"),
    )
    with pytest.raises(CommandError):
        run(request_, target)
    assert trail.done == ["open", "run a", "run b", "run c", "undo c", "undo b", "undo a"]
    errors = [record.getMessage() for record in lines.records if record.levelno == logging.ERROR]
    assert errors == [
        "Could not undo b: stuck",
        "| line 1",
        "| line 2",
        "migrate failed (mend it)",
    ]
    assert "c: failed after" in lines.text
    assert "Traceback" not in lines.text


def test_an_undo_that_takes_back_more_than_its_step_says_what(
    request_: Request, lines: pytest.LogCaptureFixture
) -> None:
    step = replace(build_step("a", CommandError("no"), undo_error="stuck"), undoes="the release")
    with pytest.raises(CommandError):
        run(request_, build_target(Trail(), step))
    assert "Undoing: the release" in lines.text
    assert "Could not undo the release: stuck" in lines.text


def test_an_interruption_is_undone_too(request_: Request) -> None:
    trail = Trail()
    with pytest.raises(KeyboardInterrupt):
        run(request_, build_target(trail, build_step("a", KeyboardInterrupt())))
    assert trail.done == ["open", "run a", "undo a"]


def test_a_fault_that_the_target_finds_stops_before_anything_is_opened(
    request_: Request, lines: pytest.LogCaptureFixture
) -> None:
    trail = Trail()
    fault = Fault(3, 5, "application.app.web.command", "is missing")
    with pytest.raises(ConfigError):
        run(request_, build_target(trail, build_step("a"), fault=fault))
    assert trail.done == []
    assert "deploy.yml:3:5: application.app.web.command: is missing" in lines.text


def test_a_plan_tells_every_step_and_runs_none(
    request_: Request, lines: pytest.LogCaptureFixture
) -> None:
    trail = Trail()
    target = build_target(trail, build_step("build"), build_step("start"))
    operation.tell_plan(Operation("Deploy", target, target.deploy), request_)
    assert trail.done == []
    assert "would build" in lines.text
    assert "would start" in lines.text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (125.4, "2 min 05 s")],
)
def test_seconds_are_written_for_people(seconds: float, text: str) -> None:
    assert operation.format_seconds(seconds) == text
