"""The last line of ``--log-format json``: how the command ended, for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from nvoi import protocol
from nvoi.errors import ConfigError, NvoiError
from nvoi.log import console, masking
from nvoi.log.ending import describe
from nvoi.outcome import Outcome


def write_outcome(outcome: Outcome, deploy_id: str, page: str) -> None:
    """Write how an operation ended; see docs/ci.md for the keys."""
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
        write("success", "done", {"ok": True, **result})
    else:
        write_error(outcome.error, result)


def write_plan(title: str, app: str) -> None:
    result = {"ok": True, "operation": title.lower(), "app": app, "dry_run": True}
    write("success", "nothing was changed", result)


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
    write("error", describe(error), told)


def write(level: str, message: str, result: Mapping[str, Any]) -> None:
    line = {"time": protocol.format_time(time.time()), "level": level, "message": message}
    try:
        content = clean({**line, "logger": "nvoi", "result": result})
        text = console.encode_json(content, sys.stdout.encoding)
        console.write(sys.stdout, f"{text}\n")
    except OSError:
        # As with any line of the log: that it cannot be written changes no outcome.
        console.discard(sys.stdout)


def clean(content: Any) -> Any:
    """``content`` with its texts masked one by one: what stands around them is no secret."""
    if isinstance(content, dict):
        return {key: clean(value) for key, value in content.items()}
    if isinstance(content, list):
        return [clean(item) for item in content]
    return masking.masker.clean_text(content) if isinstance(content, str) else content
