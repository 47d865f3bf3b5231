"""How a command ends: by itself, by an error, by a signal; told in a line at most."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping

from nvoi.errors import ExtraError, NvoiError
from nvoi.log import masking, rendering
from nvoi.log.ending import is_told
from nvoi.outcome import REPORT_HINT
from nvoi.signals import Interruption


def run_command(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Import the command's module, let it run, and return the exit code.

    An error that the command's own log did not tell already goes to standard error.
    """
    try:
        check_packages(options)
        return int(importlib.import_module(f"nvoi.cli.{options.module}").run(options, environ))
    except (NvoiError, Interruption) as error:
        _tell(error, str(error), options, environ)
        return error.exit_code
    except KeyboardInterrupt as error:
        _tell(error, "interrupted (Ctrl-C)", options, environ)
        return 130
    except BrokenPipeError:
        # Who asked for something and read only its beginning has what was wanted.
        return 1
    except Exception as error:  # noqa: BLE001 - a fault of nvoi's own, told without its traceback
        _tell(error, f"{type(error).__name__}: {error} ({REPORT_HINT})", options, environ)
        return 1


def check_packages(options: argparse.Namespace) -> None:
    missing = [name for name in options.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ExtraError(f"nvoi {options.command} needs {', '.join(missing)}", options.command)


def _tell(
    error: BaseException, text: str, options: argparse.Namespace, environ: Mapping[str, str]
) -> None:
    """Tell an error where the command's own log did not, and show it on a CI's page."""
    # Both take as long to import as --version in all.
    from nvoi.cli import job, results  # noqa: PLC0415

    form = getattr(options, "log_format", None)
    if form == "text":
        job.annotate(error, environ)
    if is_told(error):
        return
    if form == "json":
        results.write_error(error)

    def clean(text: str) -> str:
        return masking.masker.clean_text(text, rendering.escape)

    with contextlib.suppress(OSError):
        if getattr(options, "verbose", False):
            sys.stderr.write(clean("".join(traceback.format_exception(error))))
        for line in text.rstrip("\n").split("\n"):
            sys.stderr.write(f"nvoi: {clean(line)}\n")
