"""The errors nvoi raises, all below :class:`NvoiError`.

::

    NvoiError                    what failed, and a hint that says what to do next
    ├── InputError               exit code 2: nothing was touched
    │   ├── UsageError           the command line or an environment variable is wrong
    │   ├── ConfigError          the config has faults; carries all of them
    │   └── CredentialsError     deploy.enc or its key is missing, unreadable or wrong
    ├── CommandError             a command that the deploy ran ended badly
    ├── ServiceError             a service did not start, or did not become healthy
    ├── LockError                another run holds the app's lock
    └── DeliveryError            the dashboard did not take what was sent

An error's text never contains a secret's value: whoever raises it names the
place instead, and what was printed by a command is masked by the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class NvoiError(Exception):
    """An expected failure, told to the user in one line.

    Args:
        message: what went wrong, and where.
        hint: what to do next, as a sentence of its own.
        output: the last lines that the failing part printed, oldest first.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", output: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.output = tuple(output)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InputError(NvoiError):
    """What the user gave cannot be used; nothing was touched."""

    exit_code = 2


class UsageError(InputError):
    """The command line, or an environment variable that nvoi reads, is wrong."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a config, and where.

    ``line`` and ``column`` count from 1; 0 stands for a fault of the whole file.
    """

    line: int
    column: int
    path: str
    message: str

    def describe(self, filename: str) -> str:
        """``FILE:LINE:COLUMN: path.to.key: what is wrong, what is allowed``."""
        place = f"{filename}:{self.line}:{self.column}" if self.line else filename
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class ConfigError(InputError):
    """The config has faults. All of them are in ``faults``, in the order of their lines."""

    def __init__(self, filename: str, faults: Sequence[Fault], *, hint: str = "") -> None:
        self.filename = filename
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.line, fault.column)))
        super().__init__(
            "\n".join(fault.describe(filename) for fault in self.faults),
            hint=hint,
        )


class CredentialsError(InputError):
    """``deploy.enc`` or its key is missing, unreadable or does not fit."""


class CommandError(NvoiError):
    """A command that the deploy ran ended badly."""


class ServiceError(NvoiError):
    """A service did not start, or did not become healthy."""


class LockError(NvoiError):
    """Another run holds the app's lock."""


class DeliveryError(NvoiError):
    """The dashboard did not take what was sent to it."""
