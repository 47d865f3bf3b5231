"""Installs nvoi's levels as soon as ``logging`` is there, and not before.

``nvoi --version`` and the completion of a shell need no logging, and importing it is a third
of what they take. So ``import nvoi`` does not; it only sees to it that whoever imports
``logging``, then or later, finds the logger ``nvoi`` with its levels.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as in nvoi.log.levels
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


def install() -> None:
    """Install the levels, and the NullHandler that a library's logger has."""
    import logging  # noqa: PLC0415 - see the module's text

    # It installs them when it is imported: now, or, where it is what imports logging, then.
    import nvoi.log.levels  # noqa: F401, PLC0415 - imports logging

    logger = logging.getLogger("nvoi")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def install_with_logging() -> None:
    """Install now if ``logging`` is imported already, else in the moment it has been."""
    if "logging" in sys.modules:
        install()
    else:
        sys.meta_path.insert(0, LoggingWatch())


class LoggingWatch:
    """A finder that finds ``logging`` where the others do, and installs after its import."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec of ``logging``, once; nothing else."""
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    _call_after(spec.loader, install)
                return spec
        return None


def _call_after(loader: Any, function: Any) -> None:
    """Have ``function`` called when ``loader`` has executed its module."""
    execute = loader.exec_module

    def execute_and_call(module: ModuleType) -> None:
        del loader.exec_module
        execute(module)
        function()

    loader.exec_module = execute_and_call
