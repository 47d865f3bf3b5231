"""The levels STEP, OK and SUCCESS, and the loggers that have their methods.

After :func:`install`, which ``import nvoi`` calls, the logger ``nvoi`` and every logger below it
is a :class:`Logger`: those that exist change their class, those to come are made with it. A
logger of another name is one while a stream is open on it or above it, and is given back as it
was. ``logging.Logger`` and all others stay as they are.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from nvoi.log import masking

STEP, OK, SUCCESS = 22, 23, 25

ROOT = "nvoi"


class LevelMethods:
    """The methods of the three levels, for whatever has ``log(level, …)``."""

    def step(self, msg: object, *args: object, stacklevel: int = 1, **kwargs: Any) -> None:
        """Log the beginning of a step of the work, at level 22."""
        self._log_at(STEP, msg, args, stacklevel, kwargs)

    def ok(self, msg: object, *args: object, stacklevel: int = 1, **kwargs: Any) -> None:
        """Log that a part of the work went well, at level 23."""
        self._log_at(OK, msg, args, stacklevel, kwargs)

    def success(self, msg: object, *args: object, stacklevel: int = 1, **kwargs: Any) -> None:
        """Log that the whole of it went well, at level 25."""
        self._log_at(SUCCESS, msg, args, stacklevel, kwargs)

    def _log_at(
        self, level: int, msg: object, args: tuple[object, ...], stacklevel: int, kwargs: Any
    ) -> None:
        # Two frames of this module stand between the caller and `log`; without the two, each
        # record would name this file as its origin.
        self.log(level, msg, *args, stacklevel=stacklevel + 2, **kwargs)  # type: ignore[attr-defined]  # of logging's class beside this one


class Protected:
    """What a logger of nvoi does otherwise than a plain one.

    Its records are masked before any handler, on it or above it, is given them. While a stream is
    open on it, or above it, ``logging.config`` cannot cut the stream off: it neither disables
    the logger nor takes the stream's handler away, and its level is set but for the stream.
    """

    def handle(self, record: logging.LogRecord) -> None:
        """Mask ``record`` in place, then give it to the handlers."""
        level: object = record.levelno
        if not isinstance(level, int):
            # A record that a program put together: every handler compares its level.
            record.levelno, record.levelname = logging.INFO, "INFO"
        masking.masker.mask(record)
        super().handle(record)  # type: ignore[misc]  # of logging.Logger

    def __setattr__(self, name: str, value: object) -> None:
        # logging.config disables loggers by their attribute, all that it does not name.
        if name == "disabled" and value and is_configuring() and is_streamed(self.__dict__["name"]):
            return
        super().__setattr__(name, value)

    def setLevel(self, level: int | str) -> None:  # noqa: N802 - the name in logging.Logger
        """Set the level; a stream that is open keeps its own through a new configuration."""
        super().setLevel(level)  # type: ignore[misc]  # of logging.Logger
        opening = _openings.get(self.__dict__["name"])
        if opening is not None and is_configuring():
            opening.own = self.__dict__["level"]
            opening.adjust()

    def removeHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802 - the name in logging.Logger
        """Remove ``hdlr``, unless a stream that is open sends by it."""
        opening = _openings.get(self.__dict__["name"])
        if opening is None or hdlr not in opening.levels:
            super().removeHandler(hdlr)  # type: ignore[misc]  # of logging.Logger


class Logger(Protected, logging.Logger, LevelMethods):
    """A logger with ``step``, ``ok`` and ``success``."""


class LoggerAdapter(logging.LoggerAdapter[logging.Logger], LevelMethods):
    """A ``logging.LoggerAdapter`` with ``step``, ``ok`` and ``success``."""


def get_logger(name: str) -> Logger:
    """The logger ``name``, which is ``nvoi`` or below it, with its type known."""
    return logging.getLogger(name)  # type: ignore[return-value]  # install made it one


def find_level(level: int | str) -> int:
    """The number of a level that is given as such or by its name.

    Raises:
        ValueError: there is no level of that name.
    """
    if isinstance(level, int):
        return level
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"unknown level: {level!r}")
    return number


# -- streams that are open -----------------------------------------------------------------


class Opening:
    """A logger that streams are open on: the level of each one's handler, and its own before."""

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self.own = self.opened = logger.level
        self.levels: dict[logging.Handler, int] = {}

    def adjust(self) -> None:
        """Open the logger down to the lowest level of its streams, or to its own if lower."""
        if self.logger.level != self.opened:
            # Whoever has set it since wants it so: it is what the last stream gives back.
            self.own = self.logger.level
        parent = self.logger.parent
        effective = self.own or (parent.getEffectiveLevel() if parent else logging.NOTSET)
        # Of a logger, NOTSET would mean its parent's.
        lowest = max(1, min(self.levels.values(), default=effective))
        self.opened = self.own if effective <= lowest else lowest
        logging.Logger.setLevel(self.logger, self.opened)


_openings: dict[str, Opening] = {}


def attach(logger: logging.Logger, handler: logging.Handler, level: int) -> None:
    """Open ``logger`` to a stream that sends records from ``level`` up by ``handler``."""
    opening = _openings.setdefault(logger.name, Opening(logger))
    opening.levels[handler] = level
    promote_below(logger.name)
    opening.adjust()
    logger.addHandler(handler)


def detach(logger: logging.Logger, handler: logging.Handler) -> None:
    """End a stream; the last on ``logger`` gives back what the first has changed."""
    opening = _openings.get(logger.name)
    if opening is not None and opening.levels.pop(handler, None) is not None:
        opening.adjust()
        if not opening.levels:
            _openings.pop(logger.name, None)
    logger.removeHandler(handler)
    demote()


def is_streamed(name: str) -> bool:
    """Whether a stream is open on the logger ``name`` or above it."""
    return any(is_below(name, top) for top in list(_openings))


def is_below(name: str, top: str) -> bool:
    """Whether the logger ``name`` is ``top`` or one below it."""
    return top in {"root", name} or name.startswith(top + ".")


def is_configuring() -> bool:
    """Whether this thread holds logging's own lock, as ``logging.config`` does at its work.

    The sending thread may need that lock for a record of urllib3's or of its own, so waiting
    for that thread would be in vain until the time is up.
    """
    lock = getattr(logging, "_lock", None)
    is_owned = getattr(lock, "_is_owned", None)
    return bool(is_owned is not None and is_owned())


# -- classes -------------------------------------------------------------------------------

#: A class with this module's methods for each class that loggers had, and the way back.
_classes: dict[type[logging.Logger], type[logging.Logger]] = {logging.Logger: Logger}
_bases: dict[type[logging.Logger], type[logging.Logger]] = {Logger: logging.Logger}


def build_class(base: type[logging.Logger]) -> type[logging.Logger]:
    """``base`` with this module's methods; those of these names that it has stay its own."""
    if issubclass(base, Protected):
        return base
    if base not in _classes:
        made = type(base.__name__, (Protected, base, LevelMethods), {})
        _classes[base], _bases[made] = made, base
    return _classes[base]


def promote_below(top: str) -> None:
    """Give the logger ``top`` and those below it that exist this module's methods."""
    for logger in _list_loggers():
        if is_below(logger.name, top):
            # A class of another layout stays: its logger is streamed, and not protected.
            with contextlib.suppress(TypeError):
                logger.__class__ = build_class(type(logger))


def demote() -> None:
    """Give each logger that is none of nvoi's and streamed no longer its class back."""
    for logger in _list_loggers():
        ours = is_below(logger.name, ROOT) or is_streamed(logger.name)
        if not ours and type(logger) in _bases:
            logger.__class__ = _bases[type(logger)]


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
    promote_below(ROOT)
    manager = logging.Logger.manager
    previous = manager.loggerClass
    if getattr(previous, "makes_nvoi_loggers", False):
        return

    def make_logger(name: str, level: int = logging.NOTSET) -> logging.Logger:
        base = previous or logging.getLoggerClass()
        ours = is_below(name, ROOT) or is_streamed(name)
        return (build_class(base) if ours else base)(name, level)

    make_logger.makes_nvoi_loggers = True  # type: ignore[attr-defined]  # marks the hook as ours
    manager.loggerClass = make_logger  # type: ignore[assignment]  # called like a class


install()
