"""The lines of a container as it prints them, told while something else goes on."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from nvoi.command import build_script
from nvoi.kubernetes.background import Background
from nvoi.kubernetes.commands import Kubectl
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, as_root

#: Lines that are kept for an error.
LAST = 20
#: What kubectl itself has to say is not what the container prints.
SCRIPT = 'PATH=$PATH:/usr/local/bin:/opt/bin; exec k3s "$@" 2>/dev/null'


class LogStream:
    """Follows a container until it ends.

    Args:
        connections: the way to the master.
        host: the master.
        call: follows the lines.
        on_line: called with each line, on another thread.
    """

    def __init__(
        self,
        connections: Connections,
        host: Host,
        call: Kubectl,
        on_line: Callable[[str], None],
    ) -> None:
        self._command = as_root(host, build_script("nvoi-logs", SCRIPT, *call.argv))
        self._connections = connections
        self._host = host
        self._on_line = on_line
        self._count = self._skipped = 0
        self._session: Background | None = None
        self.last: deque[str] = deque(maxlen=LAST)

    def ensure(self) -> None:
        """Have it go on. Where it was cut off, what was told is not told again."""
        if self._session is not None:
            if not self._session.is_over:
                return
            self._session.close(0)
        self._skipped = 0
        self._session = Background(self._run)
        self._session.start()

    def close(self, seconds: float) -> None:
        """End it, once it has ended by itself or after ``seconds``."""
        if self._session is not None:
            self._session.close(seconds)

    def _run(self) -> None:
        self._connections.run(
            self._host,
            self._command,
            timeout=math.inf,
            idle_timeout=math.inf,
            on_line=self._take,
            level=None,
            check=False,
        )

    def _take(self, line: str) -> None:
        if self._skipped < self._count:
            self._skipped += 1
            return
        self._count += 1
        self._skipped += 1
        self.last.append(line)
        self._on_line(line)
