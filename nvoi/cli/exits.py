"""How a command ends: by itself, by an error, by a signal; and the line that tells programs.

That line is the last one of ``--log-format json``; docs/ci.md has its keys.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

from nvoi import protocol
from nvoi.errors import ConfigError, ExtraError, NvoiError
from nvoi.log import console, masking, rendering
from nvoi.log.ending import describe, is_told
from nvoi.outcome import REPORT_HINT, Outcome
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
    form = getattr(options, "log_format", None)
    if form == "text":
        # The commands that have this option have imported it already.
        from nvoi.cli import job  # noqa: PLC0415

        job.annotate(error, environ)
    if is_told(error):
        return
    if form == "json":
        write_error(error)

    def clean(text: str) -> str:
        return masking.masker.clean_text(text, rendering.escape)

    with contextlib.suppress(OSError):
        if getattr(options, "verbose", False):
            sys.stderr.write(clean("".join(traceback.format_exception(error))))
        for line in text.rstrip("\n").split("\n"):
            sys.stderr.write(f"nvoi: {clean(line)}\n")


def write_outcome(outcome: Outcome, deploy_id: str, page: str) -> None:
    """Write how an operation ended."""
    result = {
        "operation": outcome.title.lower(),
        "app": outcome.app,
        "deploy_id": deploy_id,
        "seconds": round(outcome.seconds, 1),
        "release": outcome.release or None,
        "commit": outcome.commit or None,
        "urls": list(outcome.urls),
        "dashboard": page or None,
        "steps": [
            {"name": one.name, "seconds": round(one.seconds, 1), "failed": one.failed}
            for one in outcome.timings
        ],
    }
    if outcome.error is None:
        write_result("success", "done", {"ok": True, **result})
    else:
        write_error(outcome.error, result)


def write_plan(title: str, app: str) -> None:
    result = {"ok": True, "operation": title.lower(), "app": app, "dry_run": True}
    write_result("success", "nothing was changed", result)


def write_error(error: BaseException, result: Mapping[str, Any] | None = None) -> None:
    """Write what ended a command, be it before anything was begun."""
    hint = error.hint if isinstance(error, NvoiError) else ""
    told: dict[str, Any] = {"ok": False, **(result or {}), "error": describe(error)}
    if hint:
        told["hint"] = hint
    if isinstance(error, ConfigError):
        told["faults"] = [
            {"line": one.line, "column": one.column, "key": one.path, "message": one.message}
            for one in error.faults
        ]
    write_result("error", describe(error), told)


def write_result(level: str, message: str, result: Mapping[str, Any]) -> None:
    line = {"time": protocol.format_time(time.time()), "level": level, "message": message}
    try:
        content = clean_result({**line, "logger": "nvoi", "result": result})
        text = console.encode_json(content, sys.stdout.encoding)
        console.write(sys.stdout, f"{text}\n")
    except OSError:
        # As with any line of the log: that it cannot be written changes no outcome.
        console.discard(sys.stdout)


def clean_result(content: Any) -> Any:
    """``content`` with its texts masked one by one: what stands around them is no secret."""
    if isinstance(content, dict):
        return {key: clean_result(value) for key, value in content.items()}
    if isinstance(content, list):
        return [clean_result(item) for item in content]
    return masking.masker.clean_text(content) if isinstance(content, str) else content
