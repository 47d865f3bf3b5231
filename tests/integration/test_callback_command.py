"""`nvoi deploy` with a receiver that misbehaves: the deploy goes on, and no record is lost.

Each case is a deploy of its own with the default budget of 10 s. Nearly all of that is
waiting, so many cases run at once and each test looks at the end of one. Under
pytest-xdist one worker has the whole module: see tests/conftest.py.
"""

from __future__ import annotations

import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from tests.fakes import behaviours
from tests.fakes.behaviours import Answer, Behaviour
from tests.fakes.receiver import Receiver
from tests.integration.accounts import Record, gather, get_messages, read_states
from tests.integration.commands import App, Outcome, Running
from tests.integration.streams import KEY
from tests.waiting import PATIENCE

BUDGET_SECONDS = 10.0
#: What a busy machine may add to that: the sender looks at its deadlines every 0.1 s.
SLACK_SECONDS = 2.0
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
    where the whole budget is used.
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


@dataclass(frozen=True)
class Lost(Case):
    """As above, where nothing arrives for good."""

    delivered: bool = False
    ended: bool = False


CASES = {
    "well": Case(),
    "well-tls": Case(tls=True, trusted=True),
    "down-at-start": Case(down=True, meddle=come_up_late, told=("no connection",)),
    "down-5-s-in-the-middle": Case(meddle=go_away_for_5_seconds, told=OUTAGE),
    "down-at-the-end": Lost(meddle=go_away, told=OUTAGE, prompt=False),
    "down-for-ever": Lost(down=True, told=("no connection",), prompt=False),
    "500-for-ever": Lost(then=Answer(500), told=("answered 500",), prompt=False),
    "500-on-logs": Case(
        then=behaviours.On("logs", Answer(500)),
        told=("answered 500",),
        prompt=False,
        delivered=False,
    ),
    "503-then-well": Case(first=(Answer(503), Answer(503)), told=("answered 503",)),
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
    ),
    "422-on-a-record": Case(
        then=behaviours.RefuseRecord(lambda record: "poison" in record["message"]),
        told=("answered 422",),
        delivered=False,
        body="echo poison; echo after",
    ),
    "401": Lost(then=Answer(401), told=("answered 401",)),
    "301": Lost(
        then=behaviours.Redirect("http://elsewhere.test/x"),
        told=("a redirect to http://elsewhere.test/x",),
    ),
    "wrong-certificate": Lost(tls=True, told=("certificate",), prompt=False),
    "garbage": Lost(then=behaviours.Garbage(), told=("not HTTP",), prompt=False),
}


class Cases:
    """Deploys an app for each case, many at once; each case twice: once with an app that fails."""

    def __init__(self, authority: trustme.CA, folder: Path) -> None:
        self._authority = authority
        self._folder = folder
        self._bundle = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self._bundle))
        # More at once would be quicker alone, and starve the tests of other workers.
        self._pool = ThreadPoolExecutor(16)
        self._futures: dict[tuple[str, bool], Future[tuple[Outcome, Receiver]]] = {}
        # The ones that use the whole budget begin.
        for name, case in sorted(CASES.items(), key=lambda item: item[1].prompt):
            for fails in (False, True):
                future = self._pool.submit(self._run, name, case, fails=fails)
                self._futures[name, fails] = future

    def get(self, name: str, *, fails: bool) -> tuple[Outcome, Receiver]:
        return self._futures[name, fails].result()

    def close(self) -> None:
        self._pool.shutdown()

    def _run(self, name: str, case: Case, *, fails: bool) -> tuple[Outcome, Receiver]:
        with (
            Receiver(KEY, tls=self._build_tls(case)) as receiver,
            App(receiver.url, body=case.body, fails=fails) as app,
        ):
            receiver.script(*case.first)
            receiver.always(case.then)
            if case.down:
                receiver.pause()
            running = app.start(**({"SSL_CERT_FILE": str(self._bundle)} if case.trusted else {}))
            case.meddle(app, running, receiver)
            return self._save_file(running.wait(), f"{name}-{fails}.jsonl"), receiver

    def _save_file(self, outcome: Outcome, name: str) -> Outcome:
        """The app's folder goes with the app; its file is looked at later."""
        if outcome.file is None:
            return outcome
        assert outcome.file.stat().st_mode & 0o777 == 0o600
        return replace(outcome, file=Path(shutil.copy(outcome.file, self._folder / name)))

    def _build_tls(self, case: Case) -> ssl.SSLContext | None:
        if not case.tls:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("127.0.0.1").configure_cert(context)
        return context


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    made = Cases(trustme.CA(), tmp_path_factory.mktemp("cases"))
    yield made
    made.close()


@pytest.fixture(params=[False, True], ids=["deploy-succeeds", "deploy-fails"])
def fails(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=list(CASES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_deploy_ends_as_it_would_have_and_every_record_is_delivered_or_in_the_file(
    cases: Cases, name: str, fails: bool
) -> None:
    case = CASES[name]
    outcome, receiver = cases.get(name, fails=fails)

    assert outcome.code == (1 if fails else 0), outcome
    assert outcome.errors == ""
    receiver.assert_protocol()
    records = gather(receiver, outcome.file)
    if name == "413":
        restore_cut(records)
    assert records == outcome.records
    assert "work: before" in get_messages(records)
    assert (outcome.file is None) == (case.delivered and case.ended), outcome.summary
    end = "failed" if fails else "completed"
    told = [status["status"] for status in receiver.statuses]
    if case.ended:
        assert told == ["started", end]
        assert "started" not in read_states(outcome.file)
    else:
        assert read_states(outcome.file)[-1] == end


def restore_cut(records: list[Record]) -> None:
    """Put the one record back that was too large by itself, after a look at how it was cut."""
    (cut,) = [record for record in records if record["message"].startswith("work: xxx")]
    kept, mark = cut["message"].split("…")
    assert mark == f" [{len('work: ' + LONG_LINE) - len(kept)} characters cut]"
    cut["message"] = f"work: {LONG_LINE}"


def test_the_console_names_each_trouble_once_and_sums_up_in_one_line(
    cases: Cases, name: str, fails: bool
) -> None:
    case = CASES[name]
    outcome, receiver = cases.get(name, fails=fails)

    for text in case.told:
        assert sum(text in trouble for trouble in outcome.troubles) <= 1, outcome.troubles
    # An attempt that the end of the budget cuts short is another kind of trouble.
    known = case.told if case.prompt else (*case.told, "no answer in time")
    for trouble in outcome.troubles:
        assert any(text in trouble for text in known), trouble
    assert bool(outcome.troubles) == bool(case.told)
    assert all(receiver.url in trouble for trouble in outcome.troubles)
    assert outcome.summary.startswith("Dashboard: ")
    if outcome.file is not None:
        assert "nvoi resend /" in outcome.summary
        assert outcome.file.read_text("utf-8").count(KEY) == 0


def test_closing_keeps_to_its_budget_and_takes_none_where_nothing_is_to_be_waited_for(
    cases: Cases, name: str, fails: bool
) -> None:
    outcome, _ = cases.get(name, fails=fails)
    most = 6.0 if CASES[name].prompt else BUDGET_SECONDS
    assert outcome.closing_seconds < most + SLACK_SECONDS


@pytest.mark.parametrize("name", ["401", "301"])
def test_an_answer_that_forbids_further_calls_is_the_only_one(cases: Cases, name: str) -> None:
    _, receiver = cases.get(name, fails=False)
    assert receiver.counts.requests == 1


def test_a_receiver_with_a_wrong_certificate_is_sent_nothing(cases: Cases) -> None:
    _, receiver = cases.get("wrong-certificate", fails=False)
    assert receiver.counts.requests == 0
    assert receiver.failed_handshakes > 1
