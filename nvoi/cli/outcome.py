"""How a command ends: every way out of it becomes an exit code and, at most, a line."""

from __future__ import annotations

import argparse
import contextlib
import sys
import traceback
from collections.abc import Mapping

from nvoi.cli.signals import Interruption
from nvoi.errors import NvoiError
from nvoi.log import masking
from nvoi.log.console import ClosedOutputError
from nvoi.log.stream import is_told


def run_command(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run ``options.run`` and return the exit code.

    An error that the command's own log did not tell already goes to standard error.
    """
    try:
        return int(options.run(options, environ))
    except NvoiError as error:
        _tell(error, str(error), options)
        return error.exit_code
    except Interruption as error:
        _tell(error, str(error), options)
        return error.exit_code
    except KeyboardInterrupt as error:
        _tell(error, "interrupted (Ctrl-C)", options)
        return 130
    except (ClosedOutputError, BrokenPipeError):
        return 1
    except Exception as error:  # noqa: BLE001 - a fault of nvoi's own, told without its traceback
        hint = "run again with --verbose for the traceback, and report it"
        _tell(error, f"{type(error).__name__}: {error} ({hint})", options)
        return 1


def _tell(error: BaseException, text: str, options: argparse.Namespace) -> None:
    if is_told(error):
        return
    mask = masking.masker.mask_text
    with contextlib.suppress(OSError):
        if getattr(options, "verbose", False):
            sys.stderr.write(mask("".join(traceback.format_exception(error))))
        for line in text.splitlines():
            sys.stderr.write(f"nvoi: {mask(line)}\n")
