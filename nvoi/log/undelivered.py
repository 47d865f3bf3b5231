"""What could not be delivered, kept in a file; :mod:`nvoi.cli.resend` reads and sends it.

The file is JSON lines, mode 0600: a head that says what it is, then one line a request, with
the id and the body it had.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from nvoi.log.delivery import Destination
from nvoi.network import strip_auth
from nvoi.protocol import LogBatch, Request

FORMAT = "nvoi-undelivered-1"


class UndeliveredFile:
    """A file that appears with its first request, and holds no password of the URL's.

    It is in the temporary directory where ``directory`` is None or cannot be used.
    """

    def __init__(self, directory: Path | None, destination: Destination) -> None:
        self._directory = directory
        url = strip_auth(destination.url)
        self._head: dict[str, Any] = {
            "format": FORMAT,
            "callback_url": url,
            "deploy_id": destination.deploy_id,
            "has_credentials": url != destination.url,
            "run": asdict(destination.run),
        }
        self._lock = threading.Lock()
        self.path: Path | None = None

    def append(self, request: Request, logged: int = 0, delivered: int = 0) -> None:
        """Write ``request`` at the end, a terminal status with the counts that it tells.

        Raises:
            OSError: there is no room for it anywhere.
        """
        if isinstance(request, LogBatch):
            # The lines are JSON already; a run that was never heard has many.
            lines = ", ".join(request.lines)
            text = f'{{"id": "{request.id}", "first": {request.first}, "logs": [{lines}]}}'
        else:
            counts = {"logged": logged, "delivered": delivered} if request.terminal else {}
            status = {"status": dict(request.payload), "headers": dict(request.headers)}
            text = json.dumps({"id": request.id} | status | counts)
        with self._lock, self._open() as file:
            if not file.seek(0, os.SEEK_END):
                text = f"{json.dumps(self._head)}\n{text}"
            _write(file, text.encode() + b"\n")

    def _open(self) -> IO[bytes]:
        if self.path is None:
            plain = re.sub(r"[^A-Za-z0-9_-]+", "-", self._head["deploy_id"])[:60]
            prefix = f"{plain}-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}-"
            descriptor, name = _make_file(self._directory, prefix)
            os.close(descriptor)
            self.path = Path(name)
        # Somebody may have sent and removed it: another is as private.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fdopen(descriptor, "ab", buffering=0)


def _write(file: IO[bytes], data: bytes) -> None:
    """Append all of ``data`` or nothing: half a line would spoil the next one."""
    end = file.seek(0, os.SEEK_END)
    try:
        while data:
            data = data[file.write(data) :]
    except OSError:
        file.truncate(end)
        raise


def _make_file(directory: Path | None, prefix: str) -> tuple[int, str]:
    """A new file, which mkstemp makes 0600 and ours alone, whatever the umask."""
    if directory is not None:
        # A ValueError is that of a path with a NUL character.
        with contextlib.suppress(OSError, ValueError):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return tempfile.mkstemp(".jsonl", prefix, directory)
    return tempfile.mkstemp(".jsonl", f"nvoi-{prefix}")
