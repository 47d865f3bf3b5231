"""``nvoi`` in a process of its own that need not import it first: two thirds of a short command.

A process that has imported nvoi, as the installed command would, is forked for each command, and
another one for the programs of tests. Whoever wants to know that the installed command itself works
starts that.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import termios
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

#: The installed command, as module and function.
COMMAND = ("nvoi.__main__", "main")

#: What the commands import that tests start most.
PACKAGES = (
    *("nvoi.cli", "nvoi.log", "nvoi.ssh", "nvoi.kubernetes", "nvoi.k3s", "nvoi.images"),
    *("nvoi.targets", "nvoi.dashboard", "uvicorn.lifespan.on", "uvicorn.protocols.http.h11_impl"),
)

#: The exit code of the command that this process was forked for, once there is one.
ended: list[int] = []


class ForkedProcess:
    """A command that was started; it can do what tests do with a Popen.

    Args:
        words: the arguments.
        output: where it writes; if that is a terminal, it is its own, and read from too.
        errors: the same of standard error.
        environ: its whole environment; ``PYTHONWARNINGS`` may be ``error``.
        folder: where it is called; where this process is unless that is said.
        target: the module and the function that are called; a function of tests takes the words.
        packages: what the process that is forked has imported.
    """

    def __init__(
        self,
        words: Sequence[str],
        output: IO[bytes],
        errors: IO[bytes],
        environ: Mapping[str, str],
        folder: Path | None = None,
        *,
        target: tuple[str, str] = COMMAND,
        packages: tuple[str, ...] = PACKAGES,
    ) -> None:
        self.returncode: int | None = None
        self._channel, theirs = socket.socketpair()
        with theirs:
            ends = [theirs.fileno(), output.fileno(), errors.fileno()]
            socket.send_fds(get_server(*packages), [b"x"], ends)
        # Unbuffered: what was read ahead would not wake who waits for the next line.
        self._answers = self._channel.makefile("rb", buffering=0)
        given = {
            "words": list(words),
            "environ": dict(environ),
            "folder": str(folder or Path.cwd()),
            "target": target,
        }
        self._channel.sendall(f"{json.dumps(given)}\n".encode())
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        """The exit code, None while it runs; the negative number of a signal that ended it."""
        with suppress(TimeoutError):
            return self._read(0.0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; raises TimeoutError."""
        return self._read(timeout)

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _read(self, timeout: float | None) -> int:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._channel, select.POLLIN)
            if not poll.poll(None if timeout is None else 1000 * timeout):
                raise TimeoutError
            self.returncode = int(self._answers.readline())
            # Only now may its number be that of another process.
            self._answers.close()
            self._channel.close()
        return self.returncode


@functools.cache
def get_server(*packages: str) -> socket.socket:
    """What the process that has imported the packages is told by; it ends with the tests."""
    own, theirs = socket.socketpair()
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    if packages != PACKAGES:
        environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    with theirs:
        process = subprocess.Popen(
            # As the installed command: without this folder among the places of modules.
            # From Python 3.12 on a fork beside threads is warned of; tests do so all the same.
            [
                *(sys.executable, "-P", "-X", "faulthandler", "-W", "ignore::DeprecationWarning"),
                *(__file__, str(theirs.fileno()), *packages),
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=environ,
            start_new_session=True,
        )

    def end() -> None:
        own.close()
        process.wait()

    atexit.register(end)
    return own


def serve(server: socket.socket, packages: Sequence[str]) -> int | None:
    """Fork for each command; the exit code of the process, which is then a command's."""
    # The first to be registered is the last to be called.
    atexit.register(leave)
    import_packages(packages)
    # What is there stays, and need not be looked through in each command.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        found, ends, _, _ = socket.recv_fds(server, 1, 3)
        if not found:
            return 0
        if os.fork() == 0:
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            channel, *streams = ends
            return start(socket.socket(fileno=channel), *streams)
        for end in ends:
            os.close(end)


def import_packages(names: Sequence[str]) -> None:
    for name in names:
        package = importlib.import_module(name)
        for one in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{name}."):
            importlib.import_module(one.name)


def start(channel: socket.socket, output: int, errors: int) -> int | None:
    """Run one command, in a child; its exit code, in that child."""
    given = json.loads(channel.makefile("r").readline())
    pid = os.fork()
    if pid == 0:
        channel.close()
        for end, number in ((output, 1), (errors, 2)):
            os.dup2(end, number)
            os.close(end)
        return run(**given)
    for end in (output, errors):
        os.close(end)
    with suppress(OSError):
        channel.sendall(f"{pid}\n".encode())
        # It goes on being there until whoever asks knows that it has ended.
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert found is not None
        code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        channel.sendall(f"{code}\n".encode())
        channel.recv(1)
    os._exit(0)


def run(
    words: Sequence[str], environ: Mapping[str, str], folder: str, target: tuple[str, str]
) -> int | None:
    os.setsid()
    if os.isatty(1):
        fcntl.ioctl(1, termios.TIOCSCTTY, 0)
        os.dup2(1, 0)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    if "PYTHONWARNINGS" in environ:
        warnings.simplefilter("error")
    module, name = target
    function: Callable[..., int | None] = getattr(importlib.import_module(module), name)
    if (module, name) != COMMAND:
        return function(*words)
    sys.argv = ["nvoi", *words]
    ended.append(function() or 0)
    return ended[0]


def leave() -> None:
    """End a command that has ended, without taking apart all that was imported: a tenth of it."""
    if ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended[0])


if __name__ == "__main__":
    sys.exit(serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:]))
