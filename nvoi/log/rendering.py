"""The finished text of a record: its message, then its traceback, once. Never raises.

What a program logs is not always what it meant to: arguments that do not fit, an exception
whose ``str`` fails, bytes of a terminal. A line about a deploy is worth more than its form,
so each of these has a text here and none is an error.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable

_ANSI = re.compile(
    r"\x1b\][^\x00-\x1f]*+(?:\x07|\x1b\\)"  # OSC, such as a title or a link
    r"|\x1b[PX^_][^\x1b]*+\x1b\\"  # DCS, SOS, PM, APC
    r"|(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"  # CSI: colours and cursor movements (ECMA-48, 5.4)
    r"|\x1b[ -/]*+[0-~]"  # any other escape sequence, and the beginning of an unfinished one
    r"|[\x1b\x9b]"
)
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# What may do more in a terminal or in a CI's log than be read, line ends and tabs apart: control
# characters, separators of lines, and what changes the direction of a text (Unicode, annex 9).
_ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Commands of CIs in a job's output: at the beginning of a line, white space apart, or anywhere in
# it (actions/runner, ActionCommand.cs; Azure Pipelines, "Logging commands"; TeamCity, "Service
# Messages"). A line of the log begins with its time.
_COMMAND = re.compile(
    r"(?<=\n)(?P<space>\s*)(?P<mark>:)(?=:)|(?P<anywhere>#)(?=#(?:\[|vso\[|teamcity\[))"
)


def render_message(record: logging.LogRecord) -> str:
    """``record``'s message with its arguments, or both side by side where they do not fit."""
    message = find_message(record)
    if message is None:
        msg, args = read_field(record, "msg"), read_field(record, "args")
        return f"{render_value(msg)} {_render_arguments(args)}"
    return message


def find_message(record: logging.LogRecord) -> str | None:
    """``record``'s message with its arguments, or None where they do not fit."""
    try:
        message: object = record.getMessage()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - whatever a user's __str__ raises, the line is kept
        return None
    return message if type(message) is str else render_value(message)


def read_field(record: logging.LogRecord, name: str) -> object:
    """A field of a record, which may be of anybody's class; None where it cannot be read."""
    try:
        return getattr(record, name, None)
    except Exception:  # noqa: BLE001 - as above
        return None


def _render_arguments(arguments: object) -> str:
    if not isinstance(arguments, tuple):
        return render_value(arguments)
    parts = [render_value(part, repr if type(part) is str else str) for part in arguments]
    return f"({', '.join(parts)})"


def render_value(value: object, show: Callable[[object], str] = str) -> str:
    """``str(value)``, or ``show``'s text, or what can be said of a value that cannot be shown."""
    try:
        # A plain str, as a user's class may have any methods.
        return str.__str__(show(value))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def has_details(record: logging.LogRecord) -> bool:
    """Whether ``record`` may have a traceback or a stack; few have."""
    try:
        return bool(record.exc_info or record.exc_text or record.stack_info)
    except Exception:  # noqa: BLE001 - as above
        return True


def render_traceback(record: logging.LogRecord) -> str:
    """The traceback and the stack of ``record``, or ``""``."""
    if not has_details(record):
        return ""
    trace = read_field(record, "exc_text") or _format_exception(read_field(record, "exc_info"))
    parts = (trace, read_field(record, "stack_info"))
    return "\n".join(render_value(part) for part in parts if part)


def render(record: logging.LogRecord) -> str:
    text, details = render_message(record), render_traceback(record)
    return text if details in text else f"{text.rstrip()}\n{details}"


def _format_exception(info: object) -> str:
    """The traceback of an exception, or of a tuple as of ``sys.exc_info()``."""
    error = info[1] if isinstance(info, tuple) and len(info) > 1 else info
    if not isinstance(error, BaseException):
        return ""
    return render_value(error, lambda _: "".join(traceback.format_exception(error))).rstrip("\n")


def format_count(number: int, noun: str, plural: str = "") -> str:
    """``1 retry``, ``2 retries``; ``plural`` is the noun with an ``s`` where left out."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def clean(text: str) -> str:
    """``text`` as valid Unicode without ANSI codes; other control characters become U+FFFD.

    Tabs and line ends stay. JSON parsers and databases refuse NUL and lone surrogates.
    """
    if text.isprintable():
        return text
    return _UNSAFE.sub(_REPLACEMENT, _ANSI.sub("", text).replace("\r\n", "\n"))


def escape(text: str) -> str:
    """``text`` without ANSI codes, to be shown on a console: what could do more there is escaped.

    Control characters but tabs and line ends are shown as Python writes them, and so is the first
    character of what a CI would take for a command.
    """
    if not text.isprintable():
        text = _ANSI.sub("", text).replace("\r\n", "\n")
        text = _ACTIVE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return _COMMAND.sub(_escape_command, text)


def _escape_command(found: re.Match[str]) -> str:
    return f"{found['space'] or ''}\\x{ord(found['mark'] or found['anywhere']):02x}"
