from __future__ import annotations

import base64
import json
import logging
import shlex
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from nvoi.log import levels, masking
from nvoi.secret import Secret

SECRET = "p@ss/word+with 'quotes\" & ünïcode"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
PRIVATE_KEY = """-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACDVwNqzTZtTc0bE1L6NdrT3Yp1hBJuPzvBnEmIYAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAA
-----END OPENSSH PRIVATE KEY-----
"""


class Recorder(logging.Handler):
    """Keeps what a handler sees, as it sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = logging.Formatter("%(message)s").format(record)
        self.seen.append({**record.__dict__, "text": text})


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def log(recorder: Recorder) -> levels.Logger:
    log = levels.get_logger("nvoi.tests.masking")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.handlers[:] = [recorder]
    return log


def everything(seen: dict[str, Any]) -> str:
    return "\n".join(f"{key}={value!r} {value}" for key, value in seen.items())


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET),
        quote_plus(SECRET),
        quote(SECRET, safe="").lower().replace("ünïcode", "ünïcode"),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        repr(SECRET),
        shlex.quote(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"u:" + SECRET.encode()).decode(),
        base64.b64encode(b"user:" + SECRET.encode() + b"\n").decode(),
        base64.b64encode(b"root:" + SECRET.encode() + b" and more").decode(),
    ],
)
def test_a_secret_is_masked_in_each_form_it_takes(form: str) -> None:
    masker = masking.Masker([SECRET])
    masked = masker.mask_text(f"before {form} after")
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert "[REDACTED]" in masked
    # What stays is of base64's neighbours.
    assert len(masked) <= len("before [REDACTED] after") + 22


def test_message_arguments_extra_traceback_and_stack_are_masked(
    log: levels.Logger, recorder: Recorder
) -> None:
    masking.add_secrets(TOKEN)
    try:
        raise ValueError(f"refused {TOKEN}")
    except ValueError as error:
        log.exception("call with %s", TOKEN, extra={"header": f"Bearer {TOKEN}", "cause": error})
    log.info("unused argument", stack_info=True, extra={"nested": {"a": [("b", TOKEN)]}})
    log.info(TOKEN)
    log.info("%(name)s", {"name": "shown", "hidden": TOKEN})
    log.info("%.3s", TOKEN)
    log.info("%s%s", TOKEN[:20], TOKEN[20:])
    assert len(recorder.seen) == 6
    for seen in recorder.seen:
        assert TOKEN not in everything(seen)
    assert recorder.seen[0]["header"] == "Bearer [REDACTED]"
    assert "ValueError: refused [REDACTED]" in recorder.seen[0]["text"]
    assert recorder.seen[0]["text"].count("Traceback") == 1
    assert recorder.seen[5]["text"] == "[REDACTED]"


def test_a_handler_of_the_root_logger_sees_masked_records_too() -> None:
    masking.add_secrets(TOKEN)
    recorder = Recorder()
    log = levels.get_logger("nvoi.tests.masking.propagating")
    log.setLevel(logging.INFO)
    logging.getLogger("nvoi.tests.masking").propagate = True
    logging.root.addHandler(recorder)
    try:
        log.info("token %s", TOKEN)
    finally:
        logging.root.removeHandler(recorder)
    assert recorder.seen[0]["text"] == "token [REDACTED]"


def test_a_record_without_secrets_keeps_its_message_and_arguments(
    log: levels.Logger, recorder: Recorder
) -> None:
    masking.add_secrets(TOKEN)
    arguments = ("web", 3, [1, 2])
    log.info("%s has %d of %s", *arguments)
    assert recorder.seen[0]["msg"] == "%s has %d of %s"
    assert recorder.seen[0]["args"] == arguments


@pytest.mark.parametrize("value", ["a", "web", "true", "3000", "", "    "])
def test_values_under_five_characters_are_left(value: str) -> None:
    assert masking.Masker([value]).mask_text(f"port {value} of web") == f"port {value} of web"


def test_five_characters_are_a_secret() -> None:
    assert masking.Masker(["hello"]).mask_text("say hello") == "say [REDACTED]"


def test_a_private_key_is_masked_line_by_line_and_its_frame_is_not() -> None:
    masker = masking.Masker([PRIVATE_KEY])
    for line in PRIVATE_KEY.splitlines():
        masked = masker.mask_text(f"| {line}")
        assert masked == (f"| {line}" if line.startswith("-----") else "| [REDACTED]")
    assert "b3Blbn" not in masker.mask_text(PRIVATE_KEY)


def test_a_secret_that_holds_another_is_masked_as_a_whole() -> None:
    masker = masking.Masker(["secret", "my-secret-token"])
    assert masker.mask_text("my-secret-token, secret") == "[REDACTED], [REDACTED]"


def test_a_secret_is_found_wherever_it_begins() -> None:
    masker = masking.Masker([TOKEN, "short1"])
    for offset in range(40):
        assert masker.mask_text("x" * offset + TOKEN + "y") == "x" * offset + "[REDACTED]y"
        assert masker.mask_text("x" * offset + "short1") == "x" * offset + "[REDACTED]"


def test_a_secret_cut_in_two_by_a_terminal_code_is_masked() -> None:
    masker = masking.Masker([TOKEN])
    text = f"token {TOKEN[:10]}\x1b[0m{TOKEN[10:]}"
    assert masker.clean_text(masker.mask_text(text)) == "token [REDACTED]"


def test_a_secret_registered_later_is_masked_from_then_on() -> None:
    masker = masking.Masker()
    assert masker.mask_text(TOKEN) == TOKEN
    masker.add([TOKEN])
    assert masker.mask_text(TOKEN) == "[REDACTED]"


def test_the_value_of_a_secret_string_is_masked_not_its_placeholder() -> None:
    masker = masking.Masker([Secret(TOKEN)])
    assert masker.mask_text(TOKEN) == "[REDACTED]"


def test_arguments_that_do_not_fit_are_masked(log: levels.Logger, recorder: Recorder) -> None:
    masking.add_secrets(TOKEN)
    record = log.makeRecord(log.name, 20, __file__, 1, "%d tokens", (TOKEN,), None)
    masking.masker.mask(record)
    assert TOKEN not in f"{record.__dict__}"
    assert record.getMessage().startswith("%d tokens")


def test_the_filter_masks_what_other_loggers_log() -> None:
    masking.add_secrets(TOKEN)
    recorder = Recorder()
    recorder.addFilter(masking.MaskingFilter())
    other = logging.getLogger("tests.other.masking")
    other.propagate = False
    other.addHandler(recorder)
    other.warning("token %s", TOKEN)
    assert recorder.seen[0]["text"] == "token [REDACTED]"
