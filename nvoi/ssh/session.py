"""One command on a host, from its start to its end: what goes in, what comes out, how long."""

from __future__ import annotations

import math
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import paramiko

from nvoi.command import Command, Result
from nvoi.errors import ConnectionLostError, RemoteError, RemoteTimeoutError
from nvoi.log import masking
from nvoi.log.lines import LineCutter
from nvoi.ssh.connection import Connection
from nvoi.ssh.host import Host
from nvoi.ssh.remains import MARK, build_text, end_remains
from nvoi.ssh.wire import Wire, close_channel

#: Bytes that are read at once.
CHUNK = 1 << 16
#: Seconds between two looks at the clock, while nothing arrives.
LOOK = 0.5
#: Seconds of silence, all of them after a command has ended, until what it left behind in the
#: background and holds its output open is not waited for any more.
LEFTOVER = 3.0
#: Lines that an error shows, and characters of a command that it shows.
LAST = 20
SHOWN = 300


def mask(text: str) -> str:
    """``text`` without secrets and terminal codes."""
    return masking.masker.clean_text(text)


def show(command: Command) -> str:
    """``command`` as errors and the log show it: masked, on one line, not too long."""
    text = mask(" ".join(str(command).split()))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


class Session:
    """Runs one command; used once.

    Args:
        connection: where to.
        command: what to run.
        shown: how errors call it.
        stdin: what it reads, in pieces; it is sent as fast as it is taken.
        timeout: seconds from its start to its end.
        idle_timeout: seconds without any output or input taken.
        listen: called with each line of output and of errors as it arrives.
        whole: whether the lines are data, which is neither masked nor cut however long.
    """

    def __init__(
        self,
        connection: Connection,
        command: Command,
        shown: str,
        *,
        stdin: Iterable[bytes],
        timeout: float,
        idle_timeout: float,
        listen: Callable[[str], None] | None,
        whole: bool = False,
    ) -> None:
        self._connection = connection
        self._command = command
        self._shown = shown
        self._stdin = stdin
        self._timeout = timeout
        self._idle_timeout = idle_timeout
        self._listen = listen
        self._began = self._active = time.monotonic()
        self._stdout: list[bytes] = []
        self._stderr: list[str] = []
        self._last: deque[str] = deque(maxlen=LAST)
        self._cutters = (LineCutter(whole=whole), LineCutter(whole=whole))
        self._stop = threading.Event()
        self._channel: paramiko.Channel | None = None
        self._failure: BaseException | None = None
        self._pid = ""
        self._is_cut = False
        self._has_leftover = False

    @property
    def host(self) -> Host:
        """Where it runs."""
        return self._connection.host

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last lines that were printed, masked."""
        return tuple(mask(line) for line in self._last)

    def cancel(self) -> None:
        """End it from another thread; ``run`` raises there."""
        self._stop.set()
        channel = self._channel
        if channel is not None:
            close_channel(channel)

    def run(self) -> Result:
        """Run it to its end.

        Raises:
            ConnectionFailedError: it was not begun.
            ConnectionLostError: it was begun, and the connection broke.
            RemoteTimeoutError: it took too long or was silent for too long, and was ended.
        """
        lasts = math.isinf(self._timeout)
        with self._connection.open_session(lasts=lasts) as (wire, channel):
            self._channel = channel
            self._began = self._active = time.monotonic()
            try:
                self._start(wire, channel)
                with self._feed(channel):
                    self._follow(channel)
                self._check_end(wire, channel)
            except BaseException:
                close_channel(channel)
                if self._pid and wire.is_alive:
                    end_remains(wire, self._pid)
                raise
        text = b"".join(self._stdout).decode("utf-8", errors="replace")
        seconds = time.monotonic() - self._began
        return Result(channel.exit_status, text, tuple(self._stderr), seconds)

    def _start(self, wire: Wire, channel: paramiko.Channel) -> None:
        # paramiko waits for the answer without end.
        seconds = min(self._timeout, self._connection.timeouts.connect)
        timer = threading.Timer(seconds, close_channel, [channel])
        timer.daemon = True
        timer.start()
        try:
            channel.exec_command(build_text(self._command))
        except (paramiko.SSHException, EOFError, OSError) as error:
            if not wire.is_alive:
                raise self._lose() from error
            place, shown = str(self.host), self._shown
            if time.monotonic() - self._began >= seconds:
                outcome = f"not begun within {seconds:g} s"
                raise RemoteTimeoutError(place, shown, outcome) from error
            raise RemoteError(place, shown, "the server does not let it run") from error
        finally:
            timer.cancel()

    @contextmanager
    def _feed(self, channel: paramiko.Channel) -> Iterator[None]:
        """Give it its input meanwhile, which may take as long as the command."""
        if not self._stdin:
            _end_input(channel)
            yield
            return
        writer = threading.Thread(target=self._write, args=(channel,), daemon=True)
        writer.start()
        try:
            yield
        except BaseException:
            close_channel(channel)
            raise
        finally:
            # Whoever did not read all of it has ended, which ends the writing too.
            if channel.closed or channel.exit_status_ready():
                close_channel(channel)
            writer.join()

    def _write(self, channel: paramiko.Channel) -> None:
        try:
            for piece in self._stdin:
                view = memoryview(piece)
                while view:
                    sent = _send(channel, view[:CHUNK])
                    if not sent:
                        return
                    self._active = time.monotonic()
                    view = view[sent:]
            _end_input(channel)
        except BaseException as error:  # noqa: BLE001 - raised by run, on the thread that waits
            # Not the end of the input, which the command would take as whole.
            self._failure = error
            close_channel(channel)

    def _follow(self, channel: paramiko.Channel) -> None:
        """Take what it prints, until it has ended."""
        poller = select.poll()
        poller.register(channel.fileno(), select.POLLIN)
        ended = math.inf
        while True:
            if channel.exit_status_ready():
                ended = min(ended, time.monotonic())
            had = self._drain(channel)
            if channel.closed and not self._drain(channel):
                break
            # A program that never stops talking has its time-out as well.
            self._check_time()
            if had:
                continue
            if channel.eof_received:
                # The descriptor stays readable from here on.
                if channel.status_event.wait(LOOK) and not self._drain(channel):
                    break
            else:
                poller.poll(LOOK * 1000)
                if time.monotonic() - max(ended, self._active) > LEFTOVER:
                    self._has_leftover = True
                    break
        for index, cutter in enumerate(self._cutters):
            self._tell(cutter.finish(), is_error=index == 1)

    def _drain(self, channel: paramiko.Channel) -> bool:
        """Take what has arrived; whether there was anything."""
        had = False
        if channel.recv_ready():
            data = self._receive(channel.recv)
            self._stdout.append(data)
            self._tell(self._cutters[0].feed(data), is_error=False)
            had = True
        if channel.recv_stderr_ready():
            self._tell(self._cutters[1].feed(self._receive(channel.recv_stderr)), is_error=True)
            had = True
        if had:
            self._active = time.monotonic()
        return had

    def _receive(self, read: Callable[[int], bytes]) -> bytes:
        """What has arrived. Taking it tells the host so, which fails where all has broken."""
        try:
            return read(CHUNK)
        except (OSError, EOFError, paramiko.SSHException):
            self._is_cut = True
            return b""

    def _tell(self, lines: list[str], *, is_error: bool) -> None:
        if is_error:
            if not self._pid:
                lines = [line for line in lines if not self._is_mark(line)]
            self._stderr += lines
        self._last.extend(lines[-LAST:])
        if self._listen is not None:
            for line in lines:
                self._listen(line)

    def _is_mark(self, line: str) -> bool:
        if line.startswith(MARK):
            self._pid = line.removeprefix(MARK)
        return line.startswith(MARK)

    def _silence(self) -> float:
        return time.monotonic() - self._active

    def _check_time(self) -> None:
        if self._stop.is_set():
            raise self._lose("it was cancelled")
        if time.monotonic() - self._began >= self._timeout:
            outcome = f"ended after {self._timeout:g} s, its time-out"
        elif self._silence() >= self._idle_timeout:
            outcome = f"ended after {self._idle_timeout:g} s of silence"
        else:
            return
        raise RemoteTimeoutError(str(self.host), self._shown, outcome, output=self.last_lines)

    def _check_end(self, wire: Wire, channel: paramiko.Channel) -> None:
        if self._failure is not None:
            raise self._failure
        if self._stop.is_set():
            raise self._lose("it was cancelled")
        # The exit code may come before the last of the output, whose end is told as well.
        is_whole = (channel.eof_received or self._has_leftover) and not self._is_cut
        if not is_whole or (channel.exit_status == -1 and not wire.is_alive):
            raise self._lose()

    def _lose(self, reason: str = "the connection was lost") -> ConnectionLostError:
        return ConnectionLostError(
            f"{self.host}: {self._shown}: {reason}; it may have run to its end or not",
            hint="run the same command again: it goes on from what is there",
            output=self.last_lines,
        )


def _send(channel: paramiko.Channel, piece: memoryview) -> int:
    """How many bytes were taken; 0 where nothing is taken any more."""
    try:
        return channel.send(bytes(piece))
    except (OSError, EOFError, paramiko.SSHException):
        return 0


def _end_input(channel: paramiko.Channel) -> None:
    # Where the connection broke, the end of the output shows it.
    with suppress(OSError, EOFError, paramiko.SSHException):
        channel.shutdown_write()
