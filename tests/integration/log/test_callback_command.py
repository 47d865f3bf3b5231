"""`nvoi deploy` with a receiver that misbehaves: the deploy goes on, and no record is lost.

Each case is a deploy of its own with the default budget of 10 s, nearly all of which is waiting.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.fakes import behaviours
from tests.fakes.behaviours import Answer, Behaviour
from tests.fakes.receiver import Receiver
from tests.integration.commands import App, Outcome, Running
from tests.integration.log.accounts import Record, gather, get_messages, read_states
from tests.integration.streams import KEY
from tests.waiting import PATIENCE

BUDGET_SECONDS = 10.0
#: What a busy machine may add to that; two budgets would be more.
SLACK_SECONDS = 8.0
LONG_LINE = "x" * 4000


#: What a sender sees of an outage: its connection ends, then there is none.
OUTAGE = ("connection was closed", "no connection")


def open_gate(app: App, running: Running, receiver: Receiver) -> None:
    app.open_gate()


def come_up_late(app: App, running: Running, receiver: Receiver) -> None:
    running.wait_for("no connection")
    receiver.resume()
    app.open_gate()


def go_away_for_5_seconds(app: App, running: Running, receiver: Receiver) -> None:
    receiver.wait_for(lambda it: "work: before" in it.messages, PATIENCE)
    receiver.pause()
    app.open_gate()
    threading.Event().wait(5.0)
    receiver.resume()


def go_away(app: App, running: Running, receiver: Receiver) -> None:
    receiver.wait_for(lambda it: "work: before" in it.messages, PATIENCE)
    receiver.pause()
    app.open_gate()


@dataclass(frozen=True)
class Case:
    """A way to misbehave, and what becomes of a deploy's log under it.

    ``told`` has a part of each trouble that the console may name. All records arrive unless
    ``delivered`` is false, and the terminal status unless ``ended`` is; ``prompt`` is false
    where the whole budget is used. ``fails`` is whether the app does.
    """

    first: tuple[Behaviour, ...] = ()
    then: Behaviour = behaviours.OK
    down: bool = False
    meddle: Callable[[App, Running, Receiver], None] = open_gate
    told: tuple[str, ...] = ()
    delivered: bool = True
    ended: bool = True
    tls: bool = False
    trusted: bool = False
    body: str = "echo after"
    prompt: bool = True
    fails: bool = False


@dataclass(frozen=True)
class Lost(Case):
    """As above, where nothing arrives for good."""

    delivered: bool = False
    ended: bool = False


CASES = {
    "well": Case(),
    "well-and-the-app-fails": Case(fails=True),
    "well-tls": Case(tls=True, trusted=True),
    "down-at-start": Case(down=True, meddle=come_up_late, told=("no connection",)),
    "down-5-s-in-the-middle": Case(meddle=go_away_for_5_seconds, told=OUTAGE),
    "down-at-the-end": Lost(meddle=go_away, told=OUTAGE, prompt=False),
    "down-for-ever": Lost(down=True, told=("no connection",), prompt=False, fails=True),
    "500-for-ever": Lost(then=Answer(500), told=("answered 500",), prompt=False, fails=True),
    "500-on-logs": Case(
        then=behaviours.On("logs", Answer(500)),
        told=("answered 500",),
        prompt=False,
        delivered=False,
        fails=True,
    ),
    "503-then-well": Case(first=(Answer(503), Answer(503)), told=("answered 503",), fails=True),
    "429-with-retry-after": Case(
        first=(behaviours.OK, Answer(429, {"Retry-After": "2"})), told=("answered 429",)
    ),
    "never-answers": Lost(then=behaviours.Hang(), told=("no answer in time",), prompt=False),
    "a-byte-a-second": Lost(then=behaviours.Trickle(), told=("no answer in time",), prompt=False),
    "resets-mid-request": Case(
        first=(behaviours.ResetMidRequest(),) * 2, told=("connection was closed",)
    ),
    "takes-and-resets": Case(
        first=(behaviours.CommitThenReset(),) * 2, told=("connection was closed",)
    ),
    "closes-without-answer": Case(
        first=(behaviours.OK, behaviours.CloseWithoutAnswer()), told=("connection was closed",)
    ),
    "413": Case(
        then=behaviours.TooLarge(700),
        told=("answered 413",),
        # A deploy that fails tells its last 20 lines in its status, which cannot be cut.
        body=f"echo {LONG_LINE}; seq 100 130",
        fails=True,
    ),
    "422-on-a-record": Case(
        then=behaviours.RefuseRecord(lambda record: "poison" in record["message"]),
        told=("answered 422",),
        delivered=False,
        fails=True,
        body="echo poison; echo after",
    ),
    "401": Lost(then=Answer(401), told=("answered 401",)),
    "401-and-the-app-fails": Lost(then=Answer(401), told=("answered 401",), fails=True),
    "301": Lost(
        then=behaviours.Redirect("http://elsewhere.test/x"),
        told=("a redirect to http://elsewhere.test/x",),
    ),
    "wrong-certificate": Lost(tls=True, told=("certificate",), prompt=False),
    "garbage": Lost(then=behaviours.Garbage(), told=("not HTTP",), prompt=False),
}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def made(case: Case, authority: trustme.CA, tmp_path: Path) -> Iterator[tuple[App, Receiver]]:
    """The app of a case and its receiver, which misbehaves already."""
    tls = None
    if case.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
    with (
        Receiver(KEY, tls=tls) as receiver,
        App(receiver.url, body=case.body, fails=case.fails) as app,
    ):
        receiver.script(*case.first)
        receiver.always(case.then)
        if case.down:
            receiver.pause()
        yield app, receiver


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_deploy_goes_on_and_each_record_is_delivered_or_kept_whatever_a_receiver_does(
    case: Case, made: tuple[App, Receiver], authority: trustme.CA, tmp_path: Path
) -> None:
    app, receiver = made
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    running = app.start(**({"SSL_CERT_FILE": str(bundle)} if case.trusted else {}))
    case.meddle(app, running, receiver)
    outcome = running.wait()

    assert outcome.code == (1 if case.fails else 0), outcome
    assert outcome.errors == ""
    assert_whole(case, outcome, receiver)
    assert_told(case, outcome, receiver.url)
    # Nothing is waited for where nothing is to be had.
    assert outcome.closing_seconds < BUDGET_SECONDS + (0 if case.prompt else SLACK_SECONDS)
    if case.then == Answer(401) or isinstance(case.then, behaviours.Redirect):
        assert receiver.counts.requests == 1
    if case.tls and not case.trusted:
        assert receiver.counts.requests == 0
        assert receiver.failed_handshakes > 1


def assert_whole(case: Case, outcome: Outcome, receiver: Receiver) -> None:
    """Each record and each status is delivered, or in the file."""
    receiver.assert_protocol()
    records = gather(receiver, outcome.file)
    if isinstance(case.then, behaviours.TooLarge):
        restore_cut(records)
    assert records == outcome.records
    assert "work: before" in get_messages(records)
    assert (outcome.file is None) == (case.delivered and case.ended), outcome.summary
    end = "failed" if case.fails else "completed"
    if case.ended:
        assert [status["status"] for status in receiver.statuses] == ["started", end]
        assert "started" not in read_states(outcome.file)
    else:
        assert read_states(outcome.file)[-1] == end
    if outcome.file is not None:
        assert outcome.file.stat().st_mode & 0o777 == 0o600
        assert outcome.file.read_text("utf-8").count(KEY) == 0


def restore_cut(records: list[Record]) -> None:
    """Put the one record back that was too large by itself, after a look at how it was cut."""
    (cut,) = [record for record in records if record["message"].startswith("work: xxx")]
    kept, mark = cut["message"].split("…")
    assert mark == f" [{len('work: ' + LONG_LINE) - len(kept)} characters cut]"
    cut["message"] = f"work: {LONG_LINE}"


def assert_told(case: Case, outcome: Outcome, url: str) -> None:
    """The console names each trouble once and sums up in one line."""
    for text in case.told:
        assert sum(text in trouble for trouble in outcome.troubles) <= 1, outcome.troubles
    # An attempt that the end of the budget cuts short is another kind of trouble.
    known = case.told if case.prompt else (*case.told, "no answer in time")
    for trouble in outcome.troubles:
        assert any(text in trouble for text in known), trouble
    assert bool(outcome.troubles) == bool(case.told)
    assert all(url in trouble for trouble in outcome.troubles)
    assert outcome.summary.startswith("Dashboard: ")
    if outcome.file is not None:
        assert "nvoi resend /" in outcome.summary
