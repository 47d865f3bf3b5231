"""Calls of kubectl on a host, one after the other, over one SSH command.

A shell there reads each call from its input, as a line of shell text and a line of what the
call itself reads, and says after the call's output what errors it wrote and how it ended. So
neither is a round trip needed for each look at a rollout, nor is a manifest ever an argument
or a file.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue

from nvoi.command import Command, Result, build_script
from nvoi.errors import ConnectionLostError, NvoiError, RemoteTimeoutError
from nvoi.kubernetes.background import Background
from nvoi.kubernetes.commands import Kubectl
from nvoi.log.levels import get_logger
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, as_root

log = get_logger("nvoi.kubernetes")

#: Seconds that a call may take where nothing else is said; each of its requests ends sooner.
SECONDS = 300.0
#: Seconds after which the host is sent an empty line, so that a broken connection is seen.
ALIVE_SECONDS = 0.5
#: Seconds that the shell has to end by itself once there are no more calls.
END_SECONDS = 3.0

#: ``$1`` is a word that no output has. The folders are those of k3s's installer, which sudo's
#: own PATH may lack. `printf` and `read` are the shell's own: nothing of them is seen by ps(1).
SCRIPT = """\
PATH=$PATH:/usr/local/bin:/opt/bin
n='
'
echo "$1 ready"
while IFS= read -r call; do
  [ -n "$call" ] || continue
  IFS= read -r input || exit 1
  { errors=$(printf '%s\\n' "$input" | eval "$call" 2>&1 >&3); code=$?; } 3>&1
  printf '\\n%s errors\\n%s\\n%s %s\\n' "$1" "$errors" "$1" "$code"
done
"""


class Dialogue:
    """A shell on a host that calls kubectl as root. Used by one thread at a time.

    Args:
        connections: the way there.
        host: the master.
    """

    def __init__(self, connections: Connections, host: Host) -> None:
        self._connections = connections
        self._host = host
        self._mark = f"nvoi-{secrets.token_hex(8)}"
        self._calls: SimpleQueue[bytes | None] = SimpleQueue()
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._session = Background(self._run)
        self._is_ready = False

    def start(self) -> None:
        """Begin; nothing is waited for."""
        self._session.start()

    @property
    def is_over(self) -> bool:
        """Whether the shell has ended, in whatever way."""
        return self._session.is_over

    def close(self) -> None:
        """End it."""
        self._calls.put(None)
        self._session.close(END_SECONDS)

    def ask(self, call: Kubectl, *, seconds: float = SECONDS, quiet: bool = False) -> Result:
        """Make one call, and wait for its end, whatever its exit code.

        Args:
            call: the call. Its input is one line.
            seconds: how long it may take.
            quiet: whether it is left out of the log.

        Raises:
            ConnectionFailedError: the host cannot be reached, or the connection broke meanwhile.
            RemoteError: the host does not let kubectl be called as root.
            RemoteTimeoutError: it took too long; the dialogue is over.
        """
        if not quiet:
            log.debug("%s: $ %s", self._host.name, " ".join(call.argv))
        began = time.monotonic()
        self._calls.put(build_text(call))
        if not self._is_ready:
            self._read_until(f"{self._mark} ready", call, began + seconds)
            self._is_ready = True
        stdout, _ = self._read_until(f"{self._mark} errors", call, began + seconds)
        errors, code = self._read_until(f"{self._mark} ", call, began + seconds)
        return Result(
            int(code),
            "".join(f"{line}\n" for line in stdout).removesuffix("\n"),
            tuple(line for line in errors if line),
            time.monotonic() - began,
        )

    def _read_until(self, mark: str, call: Kubectl, deadline: float) -> tuple[list[str], str]:
        """The lines before the one that begins with ``mark``, and the rest of that."""
        lines: list[str] = []
        while not (line := self._read(call, deadline)).startswith(mark):
            lines.append(line)
        return lines, line.removeprefix(mark)

    def _read(self, call: Kubectl, deadline: float) -> str:
        """The next line that the shell has said."""
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            self._session.cancel()
            outcome = "ended after its time-out"
            raise RemoteTimeoutError(str(self._host), f"kubectl {call.verb}", outcome) from None
        if line is not None:
            return line
        # Nothing comes any more, whoever asks next.
        self._lines.put(None)
        error = self._session.error
        if isinstance(error, NvoiError) and self._is_ready:
            # What it has printed may be data, and so may be Secrets.
            error.output = ()
        if error is not None:
            raise error
        raise ConnectionLostError(f"{self._host}: kubectl {call.verb}: the shell there has ended")

    def _run(self) -> None:
        try:
            self._connections.run(
                self._host,
                as_root(self._host, build_script("nvoi-kubectl", SCRIPT, self._mark)),
                stdin=self._feed(),
                timeout=math.inf,
                on_line=self._lines.put,
                whole=True,
                level=None,
            )
        finally:
            self._lines.put(None)

    def _feed(self) -> Iterator[bytes]:
        """What the shell reads. The empty lines find out whether there still is a shell."""
        while True:
            try:
                piece = self._calls.get(timeout=ALIVE_SECONDS)
            except Empty:
                yield b"\n"
                continue
            if piece is None:
                return
            yield piece


def build_text(call: Kubectl) -> bytes:
    """A call as the shell reads it: a line of shell text, and a line of input.

    Raises:
        ValueError: the input has a line break, behind which it would be taken for a call.
    """
    # A word with a line break is in quotes, whose end and next beginning are put around $n.
    text = Command("k3s", *call.argv).reveal().replace("\n", "'\"$n\"'")
    stdin = call.stdin or b""
    if b"\n" in stdin:
        raise ValueError("what a call of kubectl reads is one line")
    return b"%s\n%s\n" % (text.encode(), stdin)
