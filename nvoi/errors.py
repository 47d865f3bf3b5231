"""The errors nvoi raises, all below :class:`NvoiError`.

An error's text never contains a secret's value: whoever raises it names the
place instead, and what was printed by a command is masked by the log.
"""

from __future__ import annotations

import shlex
import sys
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
    """What the user gave cannot be used; what runs was not touched."""

    exit_code = 2


class UsageError(InputError):
    """The command line, or an environment variable that nvoi reads, is wrong."""


class ExtraError(UsageError):
    """nvoi is installed without an extra that is needed; the hint says how to get it.

    Args:
        message: what needs it.
        extra: its name in setup.cfg.
    """

    def __init__(self, message: str, extra: str) -> None:
        install = shlex.join([sys.executable, "-m", "pip", "install", f".[{extra}]"])
        super().__init__(message, hint=f"in nvoi's checkout: {install}")


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


class ChangedError(InputError):
    """Others have changed the config meanwhile; it is left as it is now."""


class CommandError(NvoiError):
    """A command that the deploy ran ended badly."""


class RemoteError(CommandError):
    """A command on a server ended badly.

    Args:
        host: the server, as errors name it.
        command: what ran there, as it may be shown.
        outcome: how it ended, as it reads after the command.
        status: its exit code; -1 where a signal ended it, None where it never ended by itself.
        hint: what to do next.
        output: the last lines that it printed, masked, oldest first.
    """

    def __init__(
        self,
        host: str,
        command: str,
        outcome: str,
        *,
        status: int | None = None,
        hint: str = "",
        output: Sequence[str] = (),
    ) -> None:
        super().__init__(f"{host}: {command}: {outcome}", hint=hint, output=output)
        self.host = host
        self.status = status


class RemoteTimeoutError(RemoteError):
    """A command on a server took too long, or said nothing for too long, and was ended."""


class ClusterSilenceError(RemoteError):
    """The cluster's API did not answer, however often it was asked."""


class RequestError(NvoiError):
    """A server refused what it was asked over HTTP, or did not answer.

    Args:
        message: what it said; never what it was asked.
        hint: what to do next.
        status: the HTTP status; None where there was no answer.
        is_silence: whether there was none, and may be one the next moment.
        document: the JSON of the answer. It may hold secrets, and is not shown.
        retry_after: the header of that name.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int | None = None,
        is_silence: bool = False,
        document: object = None,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.is_silence = is_silence
        self.document = document
        self.retry_after = retry_after


class ConnectionFailedError(NvoiError):
    """A server cannot be reached over SSH; nothing ran there."""


class HostKeyError(ConnectionFailedError):
    """A server's host key is not the one that is known for it."""


class AccessError(ConnectionFailedError):
    """A server takes none of the keys there are."""


class ConnectionLostError(ConnectionFailedError):
    """The connection broke while a command ran, which may have run to its end or not."""


class HostsError(NvoiError):
    """Several servers failed side by side. ``errors`` has what each of them raised."""

    def __init__(self, errors: Sequence[NvoiError]) -> None:
        self.errors = tuple(errors)
        hints = list(dict.fromkeys(error.hint for error in errors if error.hint))
        super().__init__(
            "\n".join(error.message for error in errors),
            hint="; ".join(hints),
            output=[line for error in errors for line in error.output],
        )


class ServiceError(NvoiError):
    """A service did not start, or did not become healthy."""


class LockError(NvoiError):
    """Another run holds the app's lock."""


class DeliveryError(NvoiError):
    """The dashboard did not take what was sent to it."""
