"""`nvoi resend FILE`: what a run could not deliver, in order, with its times, and once."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from nvoi import protocol
from nvoi.cli.resend import resend
from nvoi.cli.undelivered import open_undelivered
from nvoi.config.sealing import encrypt
from nvoi.errors import DeliveryError
from nvoi.log.delivery import Destination
from nvoi.log.undelivered import UndeliveredFile
from nvoi.protocol import LogBatch, verify
from nvoi.secret import Secret
from tests.fakes import behaviours
from tests.fakes.behaviours import Answer, Behaviour, Exchange
from tests.fakes.receiver import Receiver
from tests.integration.commands import App, Outcome, build_environment, run_resend, start_resend
from tests.integration.log.accounts import get_messages, read_records, read_states
from tests.integration.streams import KEY, Run, log_numbers

pytestmark = pytest.mark.usefixtures("bare_network")

LINES = 1200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a file is left, beside where the command runs."""
    made = tmp_path / "kept"
    made.mkdir()
    return made


def leave_file(
    receiver: Receiver,
    behaviour: Behaviour,
    folder: Path,
    count: int = LINES,
    *,
    budget: float = 0.3,
    **settings: str,
) -> Path:
    """A file that a run leaves when its receiver behaves so; then the receiver is well."""
    receiver.always(behaviour)
    with Run(receiver.url, folder, budget=budget, **settings) as run:
        log_numbers(run, 1, count)
    recover(receiver)
    return run.get_file()


def recover(receiver: Receiver) -> None:
    """From now on the receiver is well, and reads nothing any more that was sent before."""
    receiver.pause()
    receiver.always(behaviours.OK)
    receiver.expect_resend()
    receiver.resume()


def get_last_words(outcome: Outcome) -> str:
    return str(outcome.console[-1]["message"]) if outcome.console else outcome.errors


#: What the sender takes for an answer: such a run ends by itself, however busy the machine is.
ANSWERED = {"401", "422", "status-only"}
#: What it waits for the end of its budget with; a part of that is the status's own.
KINDS: dict[str, Behaviour] = {
    "500": Answer(500),
    "never-answers": behaviours.Hang(),
    "401": Answer(401),
    "logs-only": behaviours.On("logs", Answer(503)),
    "422": behaviours.On("logs", Answer(422)),
    "status-only": behaviours.On("status", Answer(400)),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_all_is_delivered_in_order_with_its_times_and_the_file_removed(
    receiver: Receiver, kind: str, tmp_path: Path, folder: Path
) -> None:
    budget = {"logs-only": 3.0}.get(kind, 20.0 if kind in ANSWERED else 0.3)
    file = leave_file(receiver, KINDS[kind], folder, budget=budget)
    records, states = read_records(file), read_states(file)
    before, stored = len(receiver.lines), len(receiver.statuses)

    outcome = run_resend(file, tmp_path)

    assert (outcome.code, outcome.errors) == (0, "")
    assert receiver.lines[before:] == records
    assert [status["status"] for status in receiver.statuses[stored:]] == states
    assert get_messages(receiver.lines) == [f"line {number}" for number in range(1, LINES + 1)]
    assert sorted(status["status"] for status in receiver.statuses) == ["completed", "started"]
    assert receiver.counts.duplicates == 0
    assert list(folder.iterdir()) == []
    assert f"Delivered {len(records)} log lines" in get_last_words(outcome)
    if "completed" in states:
        headers = receiver.accepted[-1].headers
        assert (headers["X-Nvoi-Log-Count"], headers["X-Nvoi-Log-Dropped"]) == (str(LINES), "0")
    if kind != "401":  # after which the fake counts every further call as a fault
        receiver.assert_protocol()


def test_what_is_not_utf_8_in_an_environment_fails_neither_the_run_nor_what_is_sent_later(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.always(behaviours.On("status", Answer(400)))
    latin, clean = "caf\udce9", "caf\ufffd"
    environ = dict.fromkeys(("GITHUB_REF_NAME", "GITHUB_RUN_ID", "GITHUB_REPOSITORY"), latin)
    with App(receiver.url) as app:
        app.starts_installed = True
        app.open_gate()
        server = {"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.test"}
        outcome = app.start(NVOI_DEPLOY_ID="", **server, **environ).wait()
        assert (outcome.code, outcome.errors) == (0, "")
        assert outcome.file is not None
        recover(receiver)
        assert run_resend(outcome.file, tmp_path).code == 0
    started = receiver.statuses[-2]
    assert started["git_ref"] == clean
    assert f"/{clean}/actions/runs/" in started["ci_run_url"]
    assert {request.deploy_id for request in receiver.requests} == {clean}


def test_a_run_whose_names_are_not_utf_8_is_sent_later(
    receiver: Receiver, tmp_path: Path, folder: Path
) -> None:
    receiver.always(Answer(422))
    settings: dict[str, Any] = {"app": "caf\udce9", "command": "de\ud83d"}
    with Run(receiver.url, folder, **settings, context={"git_ref": "caf\udce9"}) as run:
        run.log.info("\ud83d")
    recover(receiver)
    assert run_resend(run.get_file(), tmp_path).code == 0
    receiver.assert_protocol()
    for request in receiver.requests:
        names = [unquote(request.headers[name]) for name in ("X-Nvoi-App", "X-Nvoi-Command")]
        assert names == ["caf\ufffd", "de\ufffd"]
    assert receiver.messages == ["\ufffd"]


def test_a_file_taken_twice_by_a_receiver_that_lost_its_answer_keeps_its_ids(
    receiver: Receiver, tmp_path: Path, folder: Path
) -> None:
    receiver.always(behaviours.CommitThenReset())
    with Run(receiver.url, folder, budget=0.3) as run:
        lines = log_numbers(run, 1, 100)
    recover(receiver)
    assert run_resend(run.get_file(), tmp_path).code == 0
    assert receiver.messages == lines
    assert receiver.counts.duplicates > 0
    receiver.assert_protocol()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_what_was_acknowledged_before_an_interruption_is_not_sent_again(
    receiver: Receiver, number: signal.Signals, tmp_path: Path, folder: Path
) -> None:
    file = leave_file(receiver, Answer(500), folder)
    asked = receiver.counts.requests
    receiver.script(behaviours.OK, behaviours.OK, behaviours.Hang())
    running = start_resend(file, tmp_path)
    receiver.wait_for(lambda it: it.counts.requests == asked + 3 and it.requests[-1].complete)
    running.send(number)
    assert running.wait().code == (-number if number == signal.SIGKILL else 128 + number)
    assert receiver.messages == [f"line {number}" for number in range(1, 501)]

    receiver.expect_resend()
    assert run_resend(file, tmp_path).code == 0
    assert receiver.messages == [f"line {number}" for number in range(1, LINES + 1)]
    again = [request.webhook_id for request in receiver.requests[asked:] if not request.stored]
    assert len(again) == 1
    assert receiver.counts.duplicates == 0
    assert not file.exists()
    receiver.assert_protocol()


def test_the_parts_of_a_request_that_were_acknowledged_are_not_sent_again(
    receiver: Receiver, tmp_path: Path, folder: Path
) -> None:
    file = leave_file(receiver, Answer(500), folder, count=400)
    receiver.always(behaviours.TooLarge(6000))
    # started; the batch and its half are too large; then a quarter is taken.
    receiver.script(*[behaviours.TooLarge(6000)] * 6, behaviours.Hang())
    asked = receiver.counts.requests
    running = start_resend(file, tmp_path)
    receiver.wait_for(lambda it: it.counts.requests == asked + 7 and it.requests[-1].complete)
    running.send(signal.SIGKILL)
    running.wait()
    taken = len(receiver.lines)
    assert 0 < taken < 400

    receiver.expect_resend()
    assert run_resend(file, tmp_path).code == 0
    assert receiver.messages == [f"line {number}" for number in range(1, 401)]
    assert not file.exists()
    receiver.assert_protocol()


def test_records_that_are_refused_stay_in_the_file_and_hold_nothing_else_up(
    receiver: Receiver, tmp_path: Path, folder: Path
) -> None:
    file = leave_file(receiver, Answer(500), folder)
    receiver.always(behaviours.RefuseRecord(lambda record: record["message"] == "line 77"))
    outcome = run_resend(file, tmp_path)
    assert outcome.code == 1
    assert "refused" in outcome.errors
    assert str(file) in outcome.errors
    assert get_messages(read_records(file)) == ["line 77"]
    assert read_states(file) == []
    assert len(receiver.lines) == LINES - 1
    assert receiver.statuses[-1]["status"] == "completed"

    receiver.always(behaviours.OK)
    receiver.expect_resend()
    assert run_resend(file, tmp_path).code == 0
    assert len(receiver.lines) == LINES
    assert receiver.messages[-1] == "line 77"
    assert not file.exists()
    receiver.assert_protocol()


def test_a_receiver_that_is_still_down_leaves_the_file_as_it_was(
    receiver: Receiver, tmp_path: Path, folder: Path
) -> None:
    file = leave_file(receiver, Answer(500), folder)
    text = file.read_text()
    receiver.pause()
    with (
        open_undelivered(file) as content,
        pytest.raises(DeliveryError, match=r"requests are still to be sent") as raised,
    ):
        resend(content, receiver.url, KEY, request_seconds=0.5)
    assert raised.value.exit_code == 1
    assert f"nvoi resend {file}" in str(raised.value)
    assert file.read_text() == text


def test_a_receiver_that_comes_back_while_it_is_resent_to_gets_everything(
    receiver: Receiver, tmp_path: Path, folder: Path
) -> None:
    file = leave_file(receiver, Answer(500), folder)
    receiver.pause()
    running = start_resend(file, tmp_path)
    running.wait_for("no connection")
    receiver.resume()
    assert running.wait().code == 0
    assert len(receiver.lines) == LINES
    receiver.assert_protocol()


@dataclass(frozen=True)
class SignatureCheck:
    """Answers 401 to what the key has not signed."""

    key: str

    def handle(self, exchange: Exchange) -> None:
        request = exchange.read()
        known = verify(request.body, request.headers.get("x-nvoi-signature"), self.key)
        (behaviours.OK if known else Answer(401)).handle(exchange)


def test_a_wrong_key_is_refused_by_the_receiver_and_the_file_kept(
    receiver: Receiver, tmp_path: Path, folder: Path
) -> None:
    file = leave_file(receiver, Answer(500), folder)
    asked = receiver.counts.requests
    receiver.always(SignatureCheck(KEY))
    outcome = run_resend(file, tmp_path, DEPLOY_KEY="f" * 64)
    assert outcome.code == 1
    assert receiver.counts.requests == asked + 1
    assert "answered 401" in outcome.output
    assert len(read_records(file)) == LINES

    # The right key is not kept from trying.
    assert run_resend(file, tmp_path).code == 0
    assert len(receiver.lines) == LINES


HEAD = (
    b'{"format": "nvoi-undelivered-1", "callback_url": "http://x.test/", "deploy_id": "1", '
    b'"has_credentials": false, "run": {"id": "r", "app": null, "command": null}}\n'
)
DAMAGED = {
    "a-lone-surrogate": HEAD + b'{"id": "m", "first": 1, "logs": [{"message": "\\ud83d"}]}\n',
    "a-lone-surrogate-in-an-id": HEAD + b'{"id": "\\ud83d", "first": 1, "logs": []}\n',
    "a-lone-surrogate-in-a-run": HEAD.replace(b'"r"', b'"\\udc00"'),
    "no-utf-8": HEAD + b'{"id": "m", "first": 1, "logs": [{"message": "\xed\xa0\x80"}]}\n',
    "two-headers-in-one": HEAD + b'{"id": "m", "status": {}, "headers": {"A": "b\\r\\nC: d"}}\n',
    "no-message": HEAD + b'{"id": "m", "first": 1, "logs": [{}]}\n',
    "no-end": HEAD + b"x" * 10_000_000,
    "empty": b"",
    "binary": bytes(range(256)),
    "another-format": b'{"format": "nvoi-undelivered-99", "callback_url": "http://x.test/"}\n',
    "no-head": b'{"id": "msg_1", "status": {"status": "started"}}\n',
    "a-broken-line": b'{"format": "nvoi-undelivered-1", "callback_url": "http://x.test/", '
    b'"deploy_id": "1"}\n{"id": "msg_1", "lo\n{"acknowledged": "msg_1"}\n',
    "no-url": b'{"format": "nvoi-undelivered-1", "callback_url": "x", "deploy_id": "1"}\n',
    "a-bad-deploy-id": b'{"format": "nvoi-undelivered-1", "callback_url": "http://x.test/", '
    b'"deploy_id": ".."}\n',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_file_is_bad_input_and_left_alone(
    content: bytes, tmp_path: Path, folder: Path
) -> None:
    file = folder / "damaged.jsonl"
    file.write_bytes(content)
    outcome = run_resend(file, tmp_path)
    assert outcome.code == 2
    assert outcome.errors.startswith("nvoi: ")
    assert len(outcome.errors.splitlines()) == 1
    assert file.read_bytes() == content


def test_a_file_that_is_missing_or_a_folder_is_bad_input(tmp_path: Path, folder: Path) -> None:
    for place in (folder / "missing.jsonl", folder):
        outcome = run_resend(place, tmp_path)
        assert outcome.code == 2
        assert f"{place} cannot be read" in outcome.errors


def test_without_a_key_nothing_is_sent(receiver: Receiver, tmp_path: Path, folder: Path) -> None:
    file = leave_file(receiver, Answer(500), folder)
    asked = receiver.counts.requests
    outcome = run_resend(file, tmp_path, DEPLOY_KEY="")
    assert outcome.code == 2
    assert "key" in outcome.errors
    assert receiver.counts.requests == asked
    assert len(read_records(file)) == LINES


def test_a_last_line_that_was_never_written_to_its_end_is_passed_over(
    receiver: Receiver, tmp_path: Path, folder: Path
) -> None:
    file = leave_file(receiver, Answer(500), folder)
    whole = file.read_bytes()
    first = json.loads(whole.splitlines()[1])["id"]
    file.write_bytes(whole + b'{"acknowledged": "' + first[:7].encode())
    receiver.script(behaviours.OK, behaviours.OK, Answer(401))
    assert run_resend(file, tmp_path).code == 1
    # What was acknowledged since is noted behind the whole lines.
    assert get_messages(read_records(file))[0] == "line 501"
    assert file.read_bytes().startswith(whole)


def test_any_deploy_id_can_be_resent(receiver: Receiver, tmp_path: Path, folder: Path) -> None:
    file = leave_file(receiver, Answer(500), folder, count=3, deploy_id="é/ b%~")
    assert file.parent == folder
    assert run_resend(file, tmp_path).code == 0
    assert {request.deploy_id for request in receiver.accepted} == {"é/ b%~"}
    assert receiver.messages == ["line 1", "line 2", "line 3"]
    receiver.assert_protocol()


def test_a_file_is_readable_by_its_owner_alone_whatever_the_umask(
    receiver: Receiver, tmp_path: Path, folder: Path
) -> None:
    file = leave_file(receiver, Answer(500), folder / "below" / "deep")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_whose_first_request_found_no_room_is_whole_with_the_next(tmp_path: Path) -> None:
    file = UndeliveredFile(
        tmp_path, Destination("http://dashboard.test", "0" * 64, "1", protocol.Run())
    )
    request = LogBatch(['{"message": "one"}'], 1)
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, most))
    try:
        with pytest.raises(OSError, match="too large"):
            file.append(request)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    file.append(request)
    assert file.path is not None
    with open_undelivered(file.path) as content:
        assert list(content.read_requests()) == [request]


# -- whose it is, and where it goes ----------------------------------------------------------


def write_config(folder: Path, callback_url: str | None) -> None:
    """A config where a command finds it by itself."""
    document: dict[str, object] = {
        "application": {"name": "tiny", "compute_provider": {"local": {}}, "app": {}}
    }
    if callback_url:
        document["callback_url"] = callback_url
    content = encrypt(json.dumps(document).encode(), Secret(KEY))
    (folder / "deploy.enc").write_bytes(content)


@pytest.mark.parametrize("url", ["http://elsewhere.test/api/deploys", None])
def test_a_file_for_another_url_than_the_config_s_is_not_signed(
    receiver: Receiver, url: str | None, tmp_path: Path, folder: Path
) -> None:
    file = leave_file(receiver, Answer(500), folder, count=3)
    asked = receiver.counts.requests
    write_config(tmp_path, url)
    outcome = run_resend(file, tmp_path)
    assert outcome.code == 2
    assert f"is for {receiver.url}, which is not the callback_url of" in outcome.errors
    assert "--config" in outcome.errors
    assert receiver.counts.requests == asked
    assert len(read_records(file)) == 3

    write_config(tmp_path, receiver.url)
    assert run_resend(file, tmp_path).code == 0
    assert receiver.messages == ["line 1", "line 2", "line 3"]


def test_a_config_that_is_named_counts_and_has_to_be_there(
    receiver: Receiver, tmp_path: Path, folder: Path
) -> None:
    file = leave_file(receiver, Answer(500), folder, count=3)
    outcome = run_resend(file, tmp_path, "--config", str(tmp_path / "missing.enc"))
    assert outcome.code == 2
    assert "there is no config" in outcome.errors
    assert len(read_records(file)) == 3


def test_the_password_of_a_url_is_the_config_s(
    receiver: Receiver, tmp_path: Path, folder: Path
) -> None:
    url = receiver.url.replace("http://", "http://someone:pass-word@")
    receiver.always(Answer(500))
    with Run(url, folder, budget=0.3) as run:
        run.log.info("hello")
    recover(receiver)
    assert "pass-word" not in run.get_file().read_text()
    outcome = run_resend(run.get_file(), tmp_path)
    assert outcome.code == 2
    assert "there is no config" in outcome.errors

    write_config(tmp_path, url)
    assert run_resend(run.get_file(), tmp_path).code == 0
    assert receiver.messages == ["hello"]
    assert receiver.accepted[-1].headers["authorization"] == "Basic c29tZW9uZTpwYXNzLXdvcmQ="


def give_away(file: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(file, 65534, -1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: file.chmod(0o620), "others may write to {file}"),
        (lambda file: file.chmod(0o602), "chmod go-w {file}"),
        (give_away, "{file} belongs to the user nobody"),
    ],
)
def test_what_others_could_have_written_is_not_signed(
    receiver: Receiver, change: Callable[[Path], None], told: str, tmp_path: Path, folder: Path
) -> None:
    file = leave_file(receiver, Answer(500), folder, count=3)
    asked = receiver.counts.requests
    change(file)
    outcome = run_resend(file, tmp_path)
    assert outcome.code == 2
    assert told.format(file=file) in outcome.errors
    assert receiver.counts.requests == asked
    assert len(read_records(file)) == 3


def test_of_two_commands_on_one_file_one_sends_it(
    receiver: Receiver, tmp_path: Path, folder: Path
) -> None:
    file = leave_file(receiver, Answer(500), folder)
    asked = receiver.counts.requests
    receiver.script(behaviours.OK, behaviours.Hang())
    running = start_resend(file, tmp_path)
    receiver.wait_for(lambda it: it.counts.requests == asked + 2)
    outcome = run_resend(file, tmp_path)
    assert outcome.code == 2
    assert f"{file} is being sent by another nvoi resend" in outcome.errors
    assert receiver.counts.requests == asked + 2
    running.send(signal.SIGKILL)
    running.wait()

    receiver.expect_resend()
    assert run_resend(file, tmp_path).code == 0
    assert receiver.messages == [f"line {number}" for number in range(1, LINES + 1)]
    outcome = run_resend(file, tmp_path)
    assert outcome.code == 2
    assert f"{file} cannot be read" in outcome.errors


def test_what_a_run_writes_while_its_file_is_sent_stays(receiver: Receiver, folder: Path) -> None:
    file = leave_file(receiver, Answer(500), folder, count=3)
    more = b'{"id": "msg_more", "first": 4, "logs": [{"message": "line 4"}]}\n'
    with open_undelivered(file) as content:
        with file.open("ab") as end:
            end.write(more)
        with pytest.raises(DeliveryError, match="more was written") as raised:
            resend(content, receiver.url, KEY)
    assert f"nvoi resend {file}" in str(raised.value)
    assert get_messages(read_records(file)) == ["line 4"]


# -- a large one -----------------------------------------------------------------------------

#: Prints how many KiB more memory `nvoi resend` takes than what it imports.
PEAK = """
import re, sys
from pathlib import Path
import nvoi.config.loader, nvoi.log.handler, nvoi.targets
from nvoi.cli import main

def read_peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

before = read_peak()
code = main(sys.argv[1:])
print(read_peak() - before)
sys.exit(code)
"""


def test_a_large_file_is_sent_in_little_memory(
    receiver: Receiver, tmp_path: Path, folder: Path
) -> None:
    file = leave_file(receiver, Answer(500), folder, count=1)
    line = {"level": "info", "message": "x" * 40, "logged_at": "2026-01-15T10:30:00.123Z"}
    batch = ", ".join([json.dumps(line)] * 500)
    with file.open("a") as end:
        for number in range(60):
            first = 2 + 500 * number
            end.write(f'{{"id": "msg_{number}", "first": {first}, "logs": [{batch}]}}\n')
    done = subprocess.run(
        [sys.executable, "-c", PEAK, "resend", str(file), "--quiet", "--dir", str(tmp_path)],
        env=build_environment(tmp_path),
        check=True,
        capture_output=True,
        text=True,
    )
    # All of its lines at once would take over 20 MiB; of a million, 721.
    assert int(done.stdout) < 8 * 1024
    assert len(receiver.lines) == 30_001
    assert not file.exists()
