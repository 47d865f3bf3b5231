"""The signals that end a command of nvoi's."""

from __future__ import annotations

import signal

#: Ctrl-C; what supervisors and CIs send; a terminal that was closed or an SSH connection that was
#: lost; Ctrl-\.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def list_wanted() -> list[signal.Signals]:
    """Those of :data:`ENDING` that this process was not started to ignore.

    A shell starts background jobs with SIGINT and SIGQUIT ignored, nohup a command with SIGHUP,
    and both mean it.
    """
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
