"""The config of the app's supervisord: pure text.

All paths in it are relative to its own folder, where supervisord is started: a path of the
user's may hold characters that mean something in this format.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nvoi.targets.local.processes import STOP_SECONDS

SERVICE = "service."
TRIAL = "trial."

#: A service that ends sooner than this many seconds after its start has not started:
#: supervisord then waits a little longer before each new try.
START_SECONDS = 2

HEAD = """\
[supervisord]
logfile=supervisord.log
logfile_maxbytes=1MB
logfile_backups=1
loglevel=info
pidfile=supervisord.pid
umask=077
nocleanup=true
minfds=256
minprocs=16
identifier={identifier}
{user}
[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

PROGRAM = """
[program:{name}]
command=/bin/sh ../run/{script}
umask=022
autostart={again}
autorestart={again}
startsecs={start_seconds}
startretries=10
stopsignal=TERM
stopwaitsecs={stop_seconds:.0f}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile=../logs/{logfile}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


@dataclass(frozen=True, order=True)
class Program:
    """One process that supervisord keeps: a service, or a service on trial.

    A trial is started once and not again when it ends.
    """

    service: str
    trial: bool = False

    @property
    def name(self) -> str:
        """What supervisord calls it."""
        return (TRIAL if self.trial else SERVICE) + self.service

    @property
    def script(self) -> str:
        """Its launcher, below the ``run`` folder."""
        return f"trial/{self.service}.sh" if self.trial else f"{self.service}.sh"

    @property
    def logfile(self) -> str:
        """What it prints, below the ``logs`` folder."""
        return f"trial/{self.service}.log" if self.trial else f"{self.service}.log"


def build_conf(programs: Iterable[Program], *, identifier: str, socket: str, user: str) -> str:
    """The whole config.

    Args:
        programs: what supervisord is to keep.
        identifier: its name for itself, to tell it from others.
        socket: where it listens, relative to its folder or, plain characters only, absolute.
        user: the name of the user where that is root, which supervisord wants to be told;
            else empty.
    """
    head = HEAD.format(identifier=identifier, socket=socket, user=f"user={user}\n" if user else "")
    return head + "".join(map(build_program, sorted(programs)))


def build_program(program: Program) -> str:
    """The section of one program."""
    return PROGRAM.format(
        name=program.name,
        script=program.script,
        logfile=program.logfile,
        again="false" if program.trial else "true",
        start_seconds=0 if program.trial else START_SECONDS,
        stop_seconds=STOP_SECONDS,
    )
