"""Ending what runs on a host: closing its channel leaves a program alone that prints nothing.

SSH can send signals (RFC 4254, 6.9), but sshd does not for root. So each command first says
its process, which is the leader of its group, as sshd starts each command in a session of
its own; and what has to end is sent its signals by another command.
"""

from __future__ import annotations

from contextlib import suppress

import paramiko

from nvoi.command import Command, build_script
from nvoi.ssh.wire import Wire, close_channel

MARK = "nvoi-process:"
#: Seconds that sending the signals may take altogether.
SECONDS = 5.0

#: Asks at once, and two seconds later, in the background, does not ask any more. What runs as
#: root is reached through sudo, where that is allowed.
SCRIPT = """\
send() { kill "-$1" -- "-$2" 2>/dev/null || sudo -n kill "-$1" -- "-$2" 2>/dev/null; }
send TERM "$1"
(sleep 2; send KILL "$1") </dev/null >/dev/null 2>&1 &
"""


def build_text(command: Command) -> str:
    """What is sent for ``command``: read by a POSIX shell, whatever the login shell is."""
    text = f'echo "{MARK}$$" >&2\n{command.reveal()}'
    return f"exec {Command('sh', '-c', text).reveal()}"


def end_remains(wire: Wire, process: str) -> None:
    """End the group of ``process``; what cannot be reached is left."""
    if not process.isdecimal():
        return
    command = build_script("nvoi-end", SCRIPT, process)
    with suppress(paramiko.SSHException, EOFError, OSError):
        channel = wire.transport.open_session(timeout=SECONDS)
        try:
            channel.exec_command(command.reveal())
            channel.status_event.wait(SECONDS)
        finally:
            close_channel(channel)
