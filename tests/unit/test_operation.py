from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from nvoi import operation
from nvoi.errors import CommandError, ConfigError, Fault, ServiceError
from nvoi.operation import Operation, Report, Request, Step, Target
from nvoi.outcome import REPORT_HINT, Serving
from nvoi.protocol import Tunnel
from nvoi.version import __version__


@dataclass
class Trail:
    """A context that keeps what was done."""

    done: list[str] = field(default_factory=list)
    tunnels: list[Tunnel] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    stamp: str = "20260115103000"
    remark: str = ""
    serving: Serving | None = None
    log: str = ""

    def find_serving(self) -> Serving | None:
        return self.serving

    def find_log(self) -> str:
        return self.log


def build_step(
    name: str,
    error: BaseException | None = None,
    undo_error: str = "",
    undo_signal: int | None = None,
    *,
    plan: Sequence[str] = ("would work",),
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

    return Step(name, run, lambda _: plan, undo)


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


def get_ending(lines: pytest.LogCaptureFixture, count: int) -> list[str]:
    return [f"{one.levelname}: {one.getMessage()}" for one in lines.records[-count:]]


def test_a_success_ends_with_url_release_commit_and_time(
    request_: Request, lines: pytest.LogCaptureFixture
) -> None:
    trail = Trail(urls=["http://localhost:1"])
    target = build_target(trail, build_step("build"), build_step("start"))
    report = run(replace(request_, commit="1a2b3c4"), target)
    assert trail.done == ["open", "run build", "run start", "close"]
    *told, end = [record.getMessage() for record in lines.records]
    assert told == [
        f"nvoi {__version__}: deploy shop (test target)",
        "build",
        "start",
        "Running at http://localhost:1",
    ]
    assert re.fullmatch(
        r"Deploy of shop done: release 20260115103000, commit 1a2b3c4, in \d+\.\d s", end
    )
    assert lines.records[-1].levelname == "SUCCESS"
    assert report.outcome is not None
    assert report.outcome.error is None
    assert [timing.name for timing in report.outcome.timings] == ["build", "start"]


def test_a_step_with_nothing_to_do_is_run_and_undone_and_not_told(
    request_: Request, lines: pytest.LogCaptureFixture
) -> None:
    trail = Trail()
    idle = build_step("idle", plan=())
    with pytest.raises(CommandError):
        run(request_, build_target(trail, idle, build_step("a", CommandError("no"))))
    assert trail.done == ["open", "run idle", "run a", "undo a", "undo idle"]
    assert "idle" not in lines.text
    lines.clear()
    operation.tell_plan(
        Operation("Deploy", (target := build_target(trail, idle)), target.deploy), request_
    )
    assert "idle" not in lines.text


def test_a_step_whose_plan_finds_a_fault_is_told_and_run(
    request_: Request, lines: pytest.LogCaptureFixture
) -> None:
    def plan(_: Trail) -> Sequence[str]:
        raise CommandError("seen in the plan")

    trail = Trail()
    step = replace(build_step("a", CommandError("seen in the run")), plan=plan)
    with pytest.raises(CommandError, match="run"):
        run(request_, build_target(trail, step))
    target = build_target(trail, step)
    with pytest.raises(CommandError, match="plan"):
        operation.tell_plan(Operation("Deploy", target, target.deploy), request_)


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
    assert "Could not undo b: stuck" in lines.text
    assert "c: failed after" in lines.text
    assert get_ending(lines, 4) == [
        "ERROR: | line 1",
        "ERROR: | line 2",
        "ERROR: migrate failed",
        "ERROR: mend it",
    ]
    assert "Traceback" not in lines.text


@pytest.mark.parametrize(
    "error", [ServiceError("web broke\nand api", hint="mend it"), KeyError("x")]
)
def test_a_failure_ends_with_reason_remedy_what_serves_and_where_the_log_is(
    request_: Request, lines: pytest.LogCaptureFixture, error: Exception
) -> None:
    stamp = (datetime.now(UTC) - timedelta(minutes=12)).strftime("%Y%m%d%H%M%S")
    trail = Trail(serving=Serving(stamp, ["http://localhost:1", "http://localhost:2"]), log="/l")
    report, target = Report(), build_target(trail, build_step("a", error))
    with pytest.raises(type(error)):
        operation.run(Operation("Deploy", target, target.deploy), request_, report)
    reason = (
        ["ERROR: web broke", "ERROR: and api", "ERROR: mend it"]
        if isinstance(error, ServiceError)
        else ["ERROR: KeyError: 'x'", f"ERROR: {REPORT_HINT}"]
    )
    urls = "http://localhost:1, http://localhost:2"
    assert get_ending(lines, len(reason) + 2) == [
        *reason,
        f"WARNING: the release of 12 minutes ago still serves at {urls}",
        "WARNING: the app's log: /l",
    ]
    assert report.outcome is not None
    assert report.outcome.serving == trail.serving


def test_a_failure_whose_surroundings_cannot_be_looked_at_still_has_its_reason(
    request_: Request, lines: pytest.LogCaptureFixture
) -> None:
    class Blind(Trail):
        def find_serving(self) -> Serving | None:
            raise OSError("away")

    with pytest.raises(CommandError):
        run(request_, build_target(Blind(), build_step("a", CommandError("it broke"))))
    assert get_ending(lines, 1) == ["ERROR: it broke"]


def test_an_undo_says_what_it_takes_back_where_that_is_more_than_its_step_or_nothing(
    request_: Request, lines: pytest.LogCaptureFixture
) -> None:
    trail = Trail()
    held = replace(build_step("hold"), undoes=lambda _: "")
    failing = build_step("a", CommandError("no"), undo_error="stuck")
    step = replace(failing, undoes=lambda _: "the release")
    with pytest.raises(CommandError):
        run(request_, build_target(trail, held, step))
    assert trail.done[-2:] == ["undo a", "undo hold"]
    assert "Undoing: the release" in lines.text
    assert "Could not undo the release: stuck" in lines.text
    assert lines.text.count("Undoing") == 1


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
    target = build_target(trail, build_step("build"), build_step("start", plan=["would start"]))
    operation.tell_plan(Operation("Deploy", target, target.deploy), request_)
    assert trail.done == []
    told = [record.getMessage() for record in lines.records[1:]]
    assert told == ["build", "  would work", "start", "  would start"]
