from __future__ import annotations

import asyncio
import copy
import io
import logging
import operator
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict, UserList
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from datetime import time as dtime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import pytest

from nvoi.log import levels, masking, rendering
from nvoi.secret import Secret

TOKEN = "0123456789abcdef0123456789abcdef01234567"


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
    log.info("%d tokens", TOKEN)
    assert len(recorder.seen) == 7
    for seen in recorder.seen:
        assert TOKEN not in everything(seen)
    assert recorder.seen[0]["header"] == "Bearer [REDACTED]"
    assert "ValueError: refused [REDACTED]" in recorder.seen[0]["text"]
    assert recorder.seen[0]["text"].count("Traceback") == 1
    assert (recorder.seen[5]["msg"], recorder.seen[5]["args"]) == ("[REDACTED]", ())
    assert recorder.seen[6]["text"].startswith("%d tokens")


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


def test_a_secret_is_found_wherever_it_begins() -> None:
    masker = masking.Masker([TOKEN, "short1"])
    for offset in range(40):
        assert masker.mask_text("x" * offset + TOKEN + "y") == "x" * offset + "[REDACTED]y"
        assert masker.mask_text("x" * offset + "short1") == "x" * offset + "[REDACTED]"


def test_the_filter_masks_what_other_loggers_log() -> None:
    masking.add_secrets(TOKEN)
    recorder = Recorder()
    recorder.addFilter(masking.MaskingFilter())
    other = logging.getLogger("tests.other.masking")
    other.propagate = False
    other.addHandler(recorder)
    other.warning("token %s", TOKEN)
    assert recorder.seen[0]["text"] == "token [REDACTED]"


class Counting:
    """Counts how often its texts are asked for."""

    def __init__(self, text: str, shown: str = "") -> None:
        self.text, self.shown = text, shown or f"<{text}>"
        self.strings = self.reprs = 0

    def __str__(self) -> str:
        self.strings += 1
        return self.text

    def __repr__(self) -> str:
        self.reprs += 1
        return self.shown


class Failing:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Lazy:
    """As a proxy whose object is not there: each attribute raises, its class too."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("working outside of a context")


class BrokenMapping(dict[str, str]):
    def items(self) -> Any:
        raise RuntimeError("changed meanwhile")

    __iter__ = keys = values = items


class BrokenLookup(Mapping[str, str]):
    def __getitem__(self, name: str) -> str:
        raise RuntimeError("not now")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("not now")

    def __len__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return f"<a mapping with {TOKEN}>"


def build_cycle() -> dict[str, Any]:
    cycle: dict[str, Any] = {"token": TOKEN}
    cycle["self"] = [cycle, cycle]
    return cycle


def build_deep(kind: str) -> Any:
    deep: Any = TOKEN
    for _ in range(3_000):
        deep = {"a": deep} if kind == "dict" else [deep]
    return deep


STRANGE: dict[str, Callable[[], Any]] = {
    "cycle": build_cycle,
    "deep dict": lambda: build_deep("dict"),
    "deep list": lambda: build_deep("list"),
    "broken mapping": lambda: BrokenMapping(token=TOKEN),
    "broken lookup": BrokenLookup,
    "failing": Failing,
    "nested failing": lambda: [Failing(), TOKEN],
    "lazy": Lazy,
    "nested lazy": lambda: {"lazy": Lazy(), "token": TOKEN},
    "hidden": lambda: Counting("shown", f"hidden {TOKEN}"),
    "nested hidden": lambda: [Counting(TOKEN, "hidden")],
    "bytes": TOKEN.encode,
    "set": lambda: {TOKEN},
    "named tuple": lambda: NamedTuple("Pair", [("a", str), ("b", int)])(TOKEN, 1),  # type: ignore[operator]
    "text of a class": lambda: Secret(TOKEN),
    "many": lambda: [TOKEN, *range(300_000)],
}


@pytest.mark.parametrize("name", STRANGE)
def test_whatever_is_logged_the_call_returns_and_shows_no_secret(
    name: str, log: levels.Logger, recorder: Recorder
) -> None:
    masking.add_secrets(TOKEN)
    value = STRANGE[name]()
    log.info("one %s%s", value, "")
    log.info("two %s %r", value, value)
    log.info("three %(key)s", {"key": value})
    log.info(value)
    log.info("extra", extra={"field": value})
    log.info("after")
    assert recorder.seen[-1]["text"] == "after"
    assert len(recorder.seen) >= 5
    for seen in recorder.seen:
        shown = {key: seen[key] for key in ("msg", "args", "text", "field") if key in seen}
        for part in (shown["msg"], *flatten(shown["args"]), shown.get("field")):
            assert TOKEN not in rendering.render_value(part)
            assert TOKEN not in rendering.render_value(part, repr)
        assert TOKEN not in shown["text"]


def flatten(args: Any) -> list[Any]:
    return [*args.values()] if isinstance(args, Mapping) else [*args]


@pytest.mark.parametrize("last", ["nothing", TOKEN])
@pytest.mark.parametrize("build", [dict.fromkeys, list, set, UserList])
def test_a_value_of_many_items_takes_little_longer_than_its_text(
    build: Callable[[Any], Any], last: str
) -> None:
    masker = masking.Masker([TOKEN])
    many = build([*(f"item {number}" for number in range(60_000)), last])
    record = logging.makeLogRecord({"msg": "%s", "args": (many,), "field": many})
    began = time.process_time()
    masker.mask(record)
    middle = time.process_time()
    for _ in range(5):
        str(many)
    assert middle - began < 3 * (time.process_time() - middle)


@pytest.mark.parametrize("before", [0, 1 << 18, (1 << 18) - 20])
def test_a_text_of_too_many_items_is_masked_and_cut_behind_a_secret(before: int) -> None:
    masker = masking.Masker([TOKEN])
    items = ["x" * before + TOKEN, *("y" * 100 for _ in range(20_000))]
    record = logging.makeLogRecord({"msg": "many", "field": items})
    masker.mask(record)
    text = record.__dict__["field"]
    cut = re.search(r"… \[(\d+) characters cut\]$", text)
    assert cut
    assert len(str(items)) - int(cut[1]) == pytest.approx(1 << 18, abs=40)
    assert TOKEN[:10] not in text


class Endless:
    """Items by the million, made when they are asked for."""

    taken = 0

    def make_items(self) -> Iterator[str]:
        for number in range(2_000_000):
            self.taken = number
            yield f"{number}"


class EndlessDict(Endless, dict[str, str]):
    def items(self) -> Any:
        return ((name, name) for name in self.make_items())


class EndlessPairs(Endless, dict[str, str]):
    def items(self) -> Any:
        return [self.make_items()]


class EndlessList(Endless, list[str]):
    def __iter__(self) -> Iterator[str]:
        return self.make_items()


@pytest.mark.parametrize("kind", [EndlessDict, EndlessPairs, EndlessList])
def test_of_an_endless_value_no_more_is_taken_than_is_looked_at(kind: type[Endless]) -> None:
    value = kind()
    record = logging.makeLogRecord({"msg": "%s", "args": (value, value), "field": value})
    masking.Masker([TOKEN]).mask(record)
    assert value.taken <= 10_000
    assert str(record.__dict__["field"]) == str(value)


class BareRecord:
    __slots__ = ("args", "exc_info", "exc_text", "msg", "stack_info")

    def __init__(self, *fields: Any) -> None:
        self.msg, self.args = fields[4], fields[5]
        self.exc_info = self.exc_text = self.stack_info = None

    def getMessage(self) -> Any:  # noqa: N802 - the name in logging.LogRecord
        return str(self.msg) % self.args


class UnreadableRecord(logging.LogRecord):
    @property
    def msg(self) -> Any:
        raise RuntimeError("not now")

    @msg.setter
    def msg(self, value: str) -> None:
        pass


def make_emptied_record(*fields: Any) -> logging.LogRecord:
    record = logging.LogRecord(*fields)
    for name in [*record.__dict__]:
        delattr(record, name)
    return record


@pytest.mark.parametrize("make", [BareRecord, UnreadableRecord, make_emptied_record])
def test_a_record_of_any_class_is_masked_and_rendered(make: Callable[..., Any]) -> None:
    record = make("nvoi", 20, __file__, 1, "with %s", (TOKEN,), None)
    masking.Masker([TOKEN]).mask(record)
    assert TOKEN not in rendering.render(record)
    if make is BareRecord:
        assert rendering.render(record) == "with [REDACTED]"


class Cancelling:
    def __str__(self) -> str:
        raise asyncio.CancelledError

    __repr__ = __str__


class CancellingList(list[str]):
    def __iter__(self) -> Iterator[str]:
        raise asyncio.CancelledError


@pytest.mark.parametrize("kind", [Cancelling, CancellingList])
def test_a_cancellation_in_a_value_does_not_leave_the_call(
    kind: Callable[[], Any], log: levels.Logger, recorder: Recorder
) -> None:
    masking.add_secrets(TOKEN)
    log.info("one %s", kind(), extra={"field": kind()})
    log.info("two %s", [kind()], extra={"field": [kind()]})
    log.info(kind())
    assert len(recorder.seen) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_leaves_the_call(
    error: type[BaseException], log: levels.Logger
) -> None:
    class Ending:
        def __str__(self) -> str:
            raise error

    masking.add_secrets(TOKEN)
    with pytest.raises(error):
        log.info("one %s", Ending())


def test_a_dict_that_another_thread_changes_is_masked_or_told_as_text() -> None:
    masker = masking.Masker([TOKEN])
    shared: dict[str, str] = {"token": TOKEN}
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            shared[str(number % 500)] = "x"
            shared.pop(str((number * 7) % 500), None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(500):
            record = logging.makeLogRecord({"msg": "%s", "args": (shared,), "field": shared})
            masker.mask(record)
            assert TOKEN not in f"{record.args} {record.__dict__['field']}"
    finally:
        stop.set()
        thread.join()


def test_a_record_of_braces_is_masked_with_attributes_of_its_arguments() -> None:
    class Braces(logging.LogRecord):
        def getMessage(self) -> str:  # noqa: N802 - the name in logging.LogRecord
            return str(self.msg).format(*self.args or ())

    class Login:
        user, token = "ann", TOKEN

    masker = masking.Masker([TOKEN])
    record = Braces("nvoi", 20, __file__, 1, "{0.user} with {0.token}", (Login(),), None)
    masker.mask(record)
    assert record.getMessage() == "ann with [REDACTED]"


def test_arguments_are_masked_in_their_places(log: levels.Logger, recorder: Recorder) -> None:
    masking.add_secrets(TOKEN)
    # As uvicorn's AccessFormatter unpacks them.
    access = ("10.0.0.7:51423", "GET", f"/login?token={TOKEN}", "1.1", 200)
    log.info('%s - "%s %s HTTP/%s" %d', *access)
    client, method, path, version, status = recorder.seen[0]["args"]
    assert (client, method, version, status) == ("10.0.0.7:51423", "GET", "1.1", 200)
    assert path == "/login?token=[REDACTED]"
    assert recorder.seen[0]["text"] == '10.0.0.7:51423 - "GET /login?token=[REDACTED] HTTP/1.1" 200'
    log.info("%(user)s: %(token)s", {"user": "ann", "token": TOKEN})
    assert recorder.seen[1]["args"] == {"user": "ann", "token": "[REDACTED]"}
    # As structlog's ProcessorFormatter takes it.
    log.info({"event": "login", "token": TOKEN, "error": (ValueError, Failing(), None)})
    assert recorder.seen[2]["msg"]["event"] == "login"
    assert recorder.seen[2]["msg"]["token"] == "[REDACTED]"
    assert recorder.seen[2]["msg"]["error"][0] is ValueError


def test_numbers_and_times_stay_what_they_are(log: levels.Logger, recorder: Recorder) -> None:
    masking.add_secrets(TOKEN)
    values = (
        None, True, 1, 1.5, 1j, Decimal("2.50"), Fraction(1, 3), signal.SIGTERM,
        datetime.now(UTC), date.today(), dtime(1), timedelta(1), UTC,  # noqa: DTZ011 - any will do
    )  # fmt: skip
    message = " ".join(["%s"] * len(values))
    log.info(f"{message} %s", *values, TOKEN)  # noqa: G004 - as many as there are
    assert all(map(operator.is_, recorder.seen[0]["args"], values))
    log.info("%d %.1f %x %s", Decimal(3), Fraction(1, 2), signal.SIGTERM, TOKEN)
    assert recorder.seen[1]["text"] == "3 0.5 f [REDACTED]"


def test_a_number_of_somebodys_class_is_formatted_as_one(
    log: levels.Logger, recorder: Recorder
) -> None:
    class Size:
        def __int__(self) -> int:
            return 5

        __index__ = __int__

    masking.add_secrets(TOKEN)
    log.info("%d bytes of %s", Size(), TOKEN)
    assert recorder.seen[0]["text"] == "5 bytes of [REDACTED]"


def count_texts(secrets: tuple[str, ...], values: list[Any], msg: str, handlers: int) -> list[str]:
    """What ``handlers`` of a logger write of one record."""
    masking.add_secrets(*secrets)
    log = levels.get_logger("nvoi.tests.masking.counting")
    log.propagate = False
    streams = [io.StringIO() for _ in range(handlers)]
    log.handlers[:] = [logging.StreamHandler(stream) for stream in streams]
    for handler in log.handlers:
        handler.addFilter(masking.MaskingFilter())
    log.warning(msg, *values)
    return [stream.getvalue() for stream in streams]


@pytest.mark.parametrize("secrets", [(), (TOKEN,)])
def test_two_handlers_ask_an_argument_for_its_text_no_more_than_twice(
    secrets: tuple[str, ...],
) -> None:
    value, other, nested = Counting("text"), Counting("other"), Counting("nested")
    written = count_texts(secrets, [value, other, [nested]], "%s %r %s", 2)
    assert written == ["text <other> [<nested>]\n"] * 2
    assert value.strings <= 2
    assert value.reprs == 0
    assert other.reprs <= 2
    message = Counting("message")
    assert count_texts(secrets, [], message, 2) == ["message\n"] * 2  # type: ignore[arg-type]
    assert message.strings <= 2


@pytest.mark.parametrize(
    ("message", "build"),
    [
        ("%s", lambda value: value),
        ("%r", lambda value: value),
        ("%s %r", lambda value: value),
        ("%s", lambda value: [value, (value, {"a": value})]),
        ("%s", lambda value: UserList([value])),
        ("%s", lambda value: OrderedDict(a=value)),
        ("%(a)s", lambda value: OrderedDict(a=value)),
        ("unused", lambda value: {"a": value}),
    ],
)
def test_one_handler_asks_an_argument_no_more_often_than_without_secrets(
    message: str, build: Callable[[Any], Any]
) -> None:
    def count(secrets: tuple[str, ...]) -> tuple[str, int, int]:
        value = Counting("text")
        arguments = [build(value)] * max(1, message.count("%"))
        (written,) = count_texts(secrets, arguments, message, 1)
        return written, value.strings, value.reprs

    text, *without = count(())
    masked, *asked = count((TOKEN,))
    assert masked == text
    assert all(map(operator.le, asked, without)), (asked, without)


def test_a_field_is_asked_for_each_of_its_texts_once() -> None:
    both, one = Counting("text"), OnlyRepr()
    record = logging.makeLogRecord({"msg": "text", "both": both, "one": one})
    masking.Masker([TOKEN]).mask(record)
    assert (both.strings, both.reprs, one.reprs) == (1, 1, 1)
    assert (record.__dict__["both"], record.__dict__["one"]) == (both, one)


class OnlyRepr:
    reprs = 0

    def __repr__(self) -> str:
        self.reprs += 1
        return "shown"


class ShownInt(int):
    def __str__(self) -> str:
        return f"<{TOKEN}>"

    __repr__ = __str__


class ShownMapping(dict[str, str]):
    def __repr__(self) -> str:
        return f"<{TOKEN}>"


@pytest.mark.parametrize(
    "value",
    [ShownInt(5), timezone(timedelta(0), TOKEN), datetime.now(timezone(timedelta(0), TOKEN))],
)
@pytest.mark.parametrize("message", ["%s", "%r", "unused"])
def test_a_number_or_time_that_shows_a_secret_is_masked(value: Any, message: str) -> None:
    record = logging.LogRecord("x", 20, __file__, 1, message, (value,), None)
    record.__dict__.update(field=value, nested=[value])
    masking.Masker([TOKEN]).mask(record)
    fields = record.__dict__
    assert TOKEN not in f"{record.getMessage()} {record.args} {fields['field']} {fields['nested']}"


@pytest.mark.parametrize("message", ["%s", "%(a)s", "unused"])
def test_a_mapping_that_shows_a_secret_is_masked_as_the_only_argument(message: str) -> None:
    record = logging.LogRecord("x", 20, __file__, 1, message, (ShownMapping(a="b"),), None)
    masking.Masker([TOKEN]).mask(record)
    assert TOKEN not in f"{record.msg} {record.args}"
    assert record.getMessage() == {"%s": "<[REDACTED]>", "%(a)s": "b"}.get(message, message)


def test_the_text_of_an_object_travels_as_plain_text(
    log: levels.Logger, recorder: Recorder
) -> None:
    masking.add_secrets(TOKEN)
    log.info("%s", Counting(f"with {TOKEN}", f"R {TOKEN}"))
    (held,) = recorder.seen[0]["args"]
    assert (str(held), repr(held)) == ("with [REDACTED]", "R [REDACTED]")
    for travelled in (pickle.loads(pickle.dumps(held)), copy.deepcopy(held)):
        assert type(travelled) is str
        assert travelled == "with [REDACTED]"


def test_without_secrets_nothing_is_touched(log: levels.Logger, recorder: Recorder) -> None:
    value = Counting("x")
    log.info("%s", value, extra={"field": value})
    assert recorder.seen[0]["args"] == (value,)
    assert recorder.seen[0]["field"] is value


def test_fields_of_a_factory_are_masked_whatever_it_removes(
    monkeypatch: pytest.MonkeyPatch, log: levels.Logger, recorder: Recorder
) -> None:
    masking.add_secrets(TOKEN)

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = logging.LogRecord(*args, **kwargs)
        del record.processName, record.threadName
        record.request, record.short = f"id {TOKEN}", record.name.rpartition(".")[2]
        return record

    monkeypatch.setattr(logging, "_logRecordFactory", make)
    log.info("hello %s", TOKEN)
    assert recorder.seen[0]["text"] == "hello [REDACTED]"
    assert recorder.seen[0]["request"] == "id [REDACTED]"
    assert recorder.seen[0]["short"] == "masking"


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_factory_that_reads_the_name_is_no_hindrance_to_the_import(order: str) -> None:
    lines = [
        "import logging",
        "def make(name, *args, **kwargs):",
        "    record = logging.LogRecord(name, *args, **kwargs)",
        "    record.top = record.name.split('.')[0]",
        "    return record",
        "logging.setLogRecordFactory(make)",
    ]
    lines.insert(1 if order == "after" else len(lines), "import nvoi")
    lines += [
        "nvoi.add_secrets('p4ssw0rd')",
        "logging.basicConfig(format='%(top)s %(message)s')",
        "logging.getLogger('nvoi.x').warning('a p4ssw0rd')",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    assert done.stderr == "nvoi a [REDACTED]\n"


@pytest.mark.parametrize(
    "secret", [TOKEN, TOKEN.encode(), bytearray(TOKEN.encode()), Secret(TOKEN)]
)
def test_a_secret_is_masked_from_when_it_is_registered(secret: Any) -> None:
    masker = masking.Masker(["another-secret"])
    record = logging.LogRecord("x", 20, __file__, 1, "%s", (Counting(TOKEN),), None)
    masker.mask(record)
    assert masker.mask_text(TOKEN) == TOKEN
    masker.add(secret)
    masker.mask(record)
    assert TOKEN not in f"{record.args} {record.getMessage()}"
    assert masker.mask_text(f"a {TOKEN} 0123") == "a [REDACTED] 0123"
    assert masker.clean_text(f"\x1b[1m{TOKEN}\x07") == "[REDACTED]\N{REPLACEMENT CHARACTER}"
    assert masker.clean_text(f"token {TOKEN[:10]}\x1b[0m{TOKEN[10:]}") == "token [REDACTED]"
    masking.add_secrets(secret, None)
    assert masking.masker.mask_text(TOKEN) == "[REDACTED]"


@pytest.mark.parametrize("wrong", [12345, ["in-a-list"], object()])
def test_a_secret_that_is_no_text_is_refused_before_any_is_masked(wrong: Any) -> None:
    masker = masking.Masker([None, ""])
    with pytest.raises(TypeError, match=f"type {type(wrong).__name__}"):
        masker.add(["first-secret", wrong])
    assert masker.mask_text("first-secret") == "first-secret"
