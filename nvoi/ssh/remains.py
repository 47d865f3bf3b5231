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

#: What is not the same between quotes in every shell: the quotes, csh's line breaks and ``!``,
#: the backslashes of fish; and what a POSIX shell sees to between double quotes.
SPECIAL = str.maketrans({one: f"\\0{ord(one):03o}" for one in "\n\\'\"!$`"})


def build_text(command: Command) -> str:
    """What is sent for ``command``, which says its process first."""
    return encode(f'echo "{MARK}$$" >&2\n{command.reveal()}')


def encode(text: str) -> str:
    """``text`` for the login shell, whichever that is, to have it read by a POSIX shell.

    The login shell sees one line in single quotes, in which there is nothing special. What is,
    the POSIX shell puts back: printf(1), ``%b``.
    """
    return f'exec sh -c \'eval "$(printf %b "{text.translate(SPECIAL)}")"\''


def end_remains(wire: Wire, process: str) -> None:
    """End the group of ``process``; what cannot be reached is left."""
    if not process.isdecimal():
        return
    command = build_script("nvoi-end", SCRIPT, process)
    with suppress(paramiko.SSHException, EOFError, OSError):
        channel = wire.transport.open_session(timeout=SECONDS)
        try:
            channel.exec_command(encode(command.reveal()))
            channel.status_event.wait(SECONDS)
        finally:
            close_channel(channel)
