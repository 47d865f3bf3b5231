"""The levels STEP, OK and SUCCESS, and the loggers that have their methods.

After :func:`install`, which ``import nvoi`` calls, the logger ``nvoi`` and every logger below it
is a :class:`Logger`: those that exist change their class, those to come are made with it. A
logger of another name is one while a stream is open on it or above it, and is given back as it
was. ``logging.Logger`` and all others stay as they are.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from typing import Any

from nvoi.log import masking

STEP, OK, SUCCESS = 22, 23, 25

ROOT = "nvoi"


class LevelMethods:
    """The methods of the three levels, for whatever has ``log(level, …)``.

    One frame of this module stands between their caller and ``log``: ``stacklevel`` says so, or
    each record would name this file as its origin.
    """

    log: Any

    def step(self, msg: object, *args: object, stacklevel: int = 1, **kwargs: Any) -> None:
        """Log the beginning of a step of the work, at level 22."""
        self.log(STEP, msg, *args, stacklevel=stacklevel + 1, **kwargs)

    def ok(self, msg: object, *args: object, stacklevel: int = 1, **kwargs: Any) -> None:
        """Log that a part of the work went well, at level 23."""
        self.log(OK, msg, *args, stacklevel=stacklevel + 1, **kwargs)

    def success(self, msg: object, *args: object, stacklevel: int = 1, **kwargs: Any) -> None:
        """Log that the whole of it went well, at level 25."""
        self.log(SUCCESS, msg, *args, stacklevel=stacklevel + 1, **kwargs)


class Protected(logging.Logger):
    """What a logger of nvoi does otherwise than a plain one.

    Its records are masked after its filters and before any handler, on it or above it, is given
    them; and no filter or handler of the program's own that fails costs a record. A stream that is
    open on it lowers its effective level, never the level that is set on it. And while a stream is
    open on it or above it, ``logging.config`` cannot cut that off: it neither disables the logger
    nor takes the stream's handler away.
    """

    def makeRecord(self, *fields: Any, **named: Any) -> logging.LogRecord:  # noqa: N802 - as below
        """A record, also where logging stumbles over an argument's own methods or extra fields."""
        try:
            return super().makeRecord(*fields, **named)
        except Exception:  # noqa: BLE001 - an argument's __bool__, a program's record factory
            name, level, path, line, msg, args, trace = fields[:7]
            record = logging.LogRecord(name, level, path, line, msg, (), trace)
            record.args = args
            return record

    def filter(self, record: logging.LogRecord) -> Any:
        """Whether ``record`` passes the logger's filters; one that fails lets it pass."""
        try:
            return not self.filters or super().filter(record)
        except Exception:  # noqa: BLE001 - a program's own code
            tell_fault(record)
            return True

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name in logging.Logger
        """Give ``record``, masked, to each handler; one that fails costs the others nothing."""
        level, found = settle_level(record), False
        masking.masker.mask(record)
        logger: logging.Logger | None = self
        while logger:
            # A handler may take itself away.
            for handler in tuple(logger.handlers):
                found = True
                try:
                    if level >= handler.level:
                        handler.handle(record)
                except Exception:  # noqa: BLE001 - a program's own code
                    tell_fault(record)
            logger = logger.parent if logger.propagate else None
        if not found:
            super().callHandlers(record)

    def getEffectiveLevel(self) -> int:  # noqa: N802 - the name in logging.Logger
        """The level from which on records are made, for the streams that are open too."""
        levels = [super().getEffectiveLevel()]
        logger: logging.Logger | None = self
        while logger:
            levels += _openings.get(logger, {}).values()
            # One with a level of its own does not take its parent's, be it opened or not.
            logger = None if logger.level else logger.parent
        return min(levels)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in {"disabled", "handlers", "level"} and "name" in self.__dict__:
            value = self._choose_value(name, value)
        super().__setattr__(name, value)

    def _choose_value(self, name: str, value: Any) -> Any:
        """What an attribute becomes that logging.config sets to ``value``, or a program by hand."""
        opening, configured = _openings.get(self, {}), is_configuring()
        if name == "disabled" and configured:
            # It disables each logger that it does not name.
            return value and not is_streamed(self.name)
        if name == "handlers" and configured:
            # It empties this list of the loggers below one that it names.
            return [*value, *(each for each in opening if each not in value)]
        if name == "level" and opening and not configured:
            # By hand, it is meant for the streams that are open as well.
            _openings[self] = dict.fromkeys(opening, _CLOSED)
        return value

    def removeHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802 - the name in logging.Logger
        """Remove ``hdlr``, unless a stream that is open sends by it."""
        if hdlr not in _openings.get(self, {}):
            super().removeHandler(hdlr)


class Logger(Protected, LevelMethods):
    """A logger with ``step``, ``ok`` and ``success``."""


class LoggerAdapter(logging.LoggerAdapter[logging.Logger], LevelMethods):
    """A ``logging.LoggerAdapter`` with ``step``, ``ok`` and ``success``."""


def get_logger(name: str) -> Logger:
    """The logger ``name``, which is ``nvoi`` or below it, with its type known."""
    return logging.getLogger(name)  # type: ignore[return-value]  # install made it one


def get_level(level: int | str) -> int:
    """The number of a level that is given as such or by its name, in any case.

    Raises:
        UsageError: there is no such level.
    """
    if isinstance(level, int):
        return level
    numbers = logging.getLevelNamesMapping()
    for name in (level, level.upper()) if isinstance(level, str) else ():
        if name in numbers:
            return numbers[name]
    # Late: importing nvoi is a part of each command's start, and this takes a fifth of it.
    from nvoi.errors import UsageError  # noqa: PLC0415

    raise UsageError(f"there is no level {level!r}", hint="give a number or a name like INFO")


def settle_level(record: logging.LogRecord) -> int:
    """The number of ``record``'s level; one that is none becomes that of its name, or INFO's."""
    try:
        level: Any = record.levelno
        if type(level) is int:
            return level
        named = isinstance(level, str) and not level.isdecimal()
        number = get_level(level) if named else int(level)
    except Exception:  # noqa: BLE001 - a field of a record may be anything, its text may fail
        number = logging.INFO
    with contextlib.suppress(Exception):
        record.levelno, record.levelname = number, logging.getLevelName(number)
    return number


def tell_fault(record: logging.LogRecord) -> None:
    """Print the error that a filter or handler has raised for ``record``, as logging does."""
    masking.masker.mask(record)
    with contextlib.suppress(Exception):
        logging.NullHandler().handleError(record)


# -- streams that are open -----------------------------------------------------------------

#: The loggers that streams are open on, with the level that each one's handler wants. The inner
#: dicts are never changed, only replaced: log calls read them without a lock.
_openings: dict[logging.Logger, dict[logging.Handler, int]] = {}

#: Wanted by a stream that opens its logger no further.
_CLOSED = sys.maxsize

#: logging's own: logging.config holds it while it sets attributes of loggers, and ``os.fork`` is
#: safe with it.
_lock: Any = getattr(logging, "_lock", None) or threading.RLock()


def attach(logger: logging.Logger, handler: logging.Handler, level: int) -> None:
    """Open ``logger`` to a stream that sends records from ``level`` up by ``handler``."""
    with _lock:
        _openings[logger] = {**_openings.get(logger, {}), handler: level}
        for other in {logger, *_list_loggers()}:
            if is_below(other.name, logger.name):
                promote(other)
        logger.addHandler(handler)
        _forget_levels(logger)


def detach(logger: logging.Logger, handler: logging.Handler) -> None:
    """End a stream; the last on ``logger`` gives back what the first has changed."""
    with _lock:
        left = dict(_openings.pop(logger, {}))
        left.pop(handler, None)
        if left:
            _openings[logger] = left
        logger.removeHandler(handler)
        for other in {logger, *_list_loggers()}:
            if not is_below(other.name, ROOT) and not is_streamed(other.name):
                demote(other)
        _forget_levels(logger)


def _forget_levels(logger: logging.Logger) -> None:
    """Have each logger work out anew which levels it is enabled for. Called under ``_lock``."""
    # So _choose_value takes it for no level that is set by hand.
    logging.Logger.setLevel(logger, logger.level)


def is_streamed(name: str) -> bool:
    """Whether a stream is open on the logger ``name`` or above it."""
    return any(is_below(name, top.name) for top in list(_openings))


def is_below(name: str, top: str) -> bool:
    return top in {"root", name} or name.startswith(top + ".")


def is_configuring() -> bool:
    """Whether this thread holds logging's own lock, as ``logging.config`` does at its work.

    The sending thread may need that lock for a record of urllib3's or of its own, so waiting
    for that thread would be in vain until the time is up.
    """
    is_owned = getattr(_lock, "_is_owned", None)
    return bool(is_owned is not None and is_owned())


# -- classes -------------------------------------------------------------------------------

#: The class that a logger had, by the one that it was given.
_bases: dict[type[logging.Logger], type[logging.Logger]] = {Logger: logging.Logger}


def build_class(base: type[logging.Logger]) -> type[logging.Logger]:
    """``base`` with this module's methods; those of these names that it has stay its own."""
    if issubclass(base, Protected):
        return base
    for made, known in _bases.items():
        if known is base:
            return made
    made = type(base.__name__, (Protected, base, LevelMethods), {})
    _bases[made] = base
    return made


def promote(logger: logging.Logger) -> None:
    # A class of another layout, or that lets no other be made of it, stays: its logger is
    # streamed, and neither opened nor protected.
    with contextlib.suppress(Exception):
        logger.__class__ = build_class(type(logger))


def demote(logger: logging.Logger) -> None:
    logger.__class__ = _bases.get(type(logger), type(logger))


def _list_loggers() -> list[logging.Logger]:
    manager = logging.Logger.manager
    made = [each for each in list(manager.loggerDict.values()) if isinstance(each, logging.Logger)]
    return [manager.root, *made]


def install() -> None:
    """Make ``nvoi`` and every logger below it, existing or to come, a :class:`Logger`.

    Idempotent. The hook is the manager's own ``loggerClass``, which ``logging`` asks before the
    global class; for any other name it answers what would have been used.
    """
    for level, name in ((STEP, "STEP"), (OK, "OK"), (SUCCESS, "SUCCESS")):
        logging.addLevelName(level, name)
    for logger in _list_loggers():
        if is_below(logger.name, ROOT):
            promote(logger)
    manager = logging.Logger.manager
    previous = manager.loggerClass
    if getattr(previous, "makes_nvoi_loggers", False):
        return

    def make_logger(name: str) -> logging.Logger:
        logger = (previous or logging.getLoggerClass())(name)
        if is_below(name, ROOT) or is_streamed(name):
            promote(logger)
        return logger

    make_logger.makes_nvoi_loggers = True  # type: ignore[attr-defined]  # marks the hook as ours
    manager.loggerClass = make_logger  # type: ignore[assignment]  # called like a class


install()
