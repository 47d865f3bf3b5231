"""The levels STEP, OK and SUCCESS, and the logger that has their methods.

After :func:`install`, which ``import nvoi`` calls, the logger ``nvoi`` and every logger
below it is a :class:`Logger` of this module: those that exist change their class, those
to come are made with it. ``logging.Logger`` and the global logger class stay as they are,
so no other logger of the process sees a difference.
"""

from __future__ import annotations

import logging

from nvoi.log import masking

# What type checkers know under this name, without the time that importing typing takes:
# this module is part of `import nvoi`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STEP = 22
OK = 23
SUCCESS = 25

ROOT = "nvoi"

#: The loggers at the top of the trees that :func:`install` was called for.
_tops: set[str] = set()

#: Names of the loggers that a callback stream is open on. See :attr:`LevelMethods.disabled`.
streamed: set[str] = set()


class LevelMethods:
    """What a logger of nvoi has beside a plain one: three levels, and masking.

    Records are masked in :meth:`handle`, before any handler, on this logger or above it,
    is given them.
    """

    def step(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log the beginning of a step of the work, at level 22."""
        if self.isEnabledFor(STEP):  # type: ignore[attr-defined]  # of logging.Logger
            self._log_above(STEP, msg, args, kwargs)

    def ok(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log that a part of the work went well, at level 23."""
        if self.isEnabledFor(OK):  # type: ignore[attr-defined]  # of logging.Logger
            self._log_above(OK, msg, args, kwargs)

    def success(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log that the whole of it went well, at level 25."""
        if self.isEnabledFor(SUCCESS):  # type: ignore[attr-defined]  # of logging.Logger
            self._log_above(SUCCESS, msg, args, kwargs)

    def _log_above(self, level: int, msg: object, args: object, kwargs: dict[str, Any]) -> None:
        # Two frames of this module stand between the caller and Logger._log; without the
        # two, each record would name this file as its origin.
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 2
        self._log(level, msg, args, **kwargs)  # type: ignore[attr-defined]  # of logging.Logger

    def handle(self, record: logging.LogRecord) -> None:
        """Mask ``record`` in place, then give it to the handlers."""
        masking.masker.mask(record)
        super().handle(record)  # type: ignore[misc]  # of logging.Logger

    @property
    def disabled(self) -> bool:
        """Whether the logger is off, as ``logging.config`` leaves those it does not name.

        While a stream is open on it, or on a logger above it, it cannot be put off: a
        library that configures logging in the middle of a run must not cut the run's log.
        """
        return bool(self.__dict__.get("disabled")) and not self._is_streamed()

    @disabled.setter
    def disabled(self, value: bool) -> None:
        self.__dict__["disabled"] = value

    def removeHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802 - the name in logging.Logger
        """Remove ``hdlr``, unless it belongs to a stream that is still open."""
        if not getattr(hdlr, "pinned", False):
            super().removeHandler(hdlr)  # type: ignore[misc]  # of logging.Logger

    def _is_streamed(self) -> bool:
        name: str = self.__dict__["name"]
        return any(is_below(name, top) for top in streamed)


class Logger(LevelMethods, logging.Logger):
    """A logger with ``step``, ``ok`` and ``success``."""


def get_logger(name: str) -> Logger:
    """The logger ``name``, which is ``nvoi`` or below it, with its type known."""
    return logging.getLogger(name)  # type: ignore[return-value]  # install made it one


def is_below(name: str, top: str) -> bool:
    """Whether the logger ``name`` is ``top`` or one below it."""
    return name == top or name.startswith(top + ".")


_classes: dict[type[logging.Logger], type[logging.Logger]] = {logging.Logger: Logger}


def build_class(base: type[logging.Logger]) -> type[logging.Logger]:
    """``base`` with this module's methods, so that a user's own logger class keeps its own."""
    if issubclass(base, LevelMethods):
        return base
    if base not in _classes:
        _classes[base] = type(base.__name__, (LevelMethods, base), {})
    return _classes[base]


def promote(logger: logging.Logger) -> None:
    """Give an existing logger this module's methods."""
    logger.__class__ = build_class(type(logger))


def install(top: str = ROOT) -> None:
    """Make ``top`` and every logger below it, existing or to come, a :class:`Logger`.

    Idempotent. The hook is the manager's own ``loggerClass``, which ``logging`` asks
    before the global class; for any other name it answers what would have been used.
    """
    for level, name in ((STEP, "STEP"), (OK, "OK"), (SUCCESS, "SUCCESS")):
        logging.addLevelName(level, name)
    _tops.add(top)
    manager = logging.Logger.manager
    for name, logger in list(manager.loggerDict.items()):
        if is_below(name, top) and isinstance(logger, logging.Logger):
            promote(logger)
    previous = manager.loggerClass
    if getattr(previous, "makes_nvoi_loggers", False):
        return

    def make_logger(name: str, level: int = logging.NOTSET) -> logging.Logger:
        base = previous or logging.getLoggerClass()
        ours = any(is_below(name, known) for known in _tops)
        return (build_class(base) if ours else base)(name, level)

    make_logger.makes_nvoi_loggers = True  # type: ignore[attr-defined]  # marks the hook as ours
    manager.loggerClass = make_logger  # type: ignore[assignment]  # called like a class


install()
