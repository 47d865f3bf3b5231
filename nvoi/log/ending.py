"""How a run ended, as its log has it: the reason, whether a signal was it, whether it is told."""

from __future__ import annotations

from nvoi.errors import NvoiError
from nvoi.log import rendering
from nvoi.signals import ENDING

#: The exit codes that stand for the signals that end a run, as a shell has them.
SIGNALLED = frozenset(128 + number for number in ENDING)


def describe(error: BaseException) -> str:
    """An exception as the reason of a ``failed``."""
    if isinstance(error, KeyboardInterrupt) and not error.args:
        return "interrupted (Ctrl-C)"
    text = rendering.render_value(error)
    if isinstance(error, SystemExit):
        return f"the process exited with {text}"
    if isinstance(error, (NvoiError, KeyboardInterrupt)) and text:
        return text
    # The text of an unforeseen error, such as a KeyError's, says little without its type.
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def is_cancelled(error: BaseException) -> bool:
    """Whether a signal ended the run: by Ctrl-C, or by the exit code that stands for it."""
    if isinstance(error, SystemExit):
        return error.code in SIGNALLED
    return isinstance(error, KeyboardInterrupt)


def set_told(error: BaseException) -> None:
    error.__dict__["nvoi_told"] = True


def is_told(error: BaseException) -> bool:
    return bool(error.__dict__.get("nvoi_told"))
