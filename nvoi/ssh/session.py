"""One command on a host, from its start to its end: what goes in, what comes out, how long.

Closing its channel leaves a program alone that prints nothing. SSH can send signals (RFC 4254,
6.9), but sshd does not for root. So each command first tells its process, which is the leader of
its group, as sshd starts each command in a session of its own; and what has to end is sent its
signals by another command.
"""

from __future__ import annotations

import math
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import InitVar, dataclass
from typing import TYPE_CHECKING

from nvoi import parallel
from nvoi.command import Command, Result, build_script
from nvoi.errors import ConnectionLostError, RemoteError, RemoteTimeoutError
from nvoi.lines import LineCutter
from nvoi.log import masking
from nvoi.log.levels import get_logger
from nvoi.log.masking import add_secrets
from nvoi.secret import Secret
from nvoi.ssh.connection import Connection
from nvoi.ssh.transport import BROKEN, Transport, close_channel
from nvoi.waiting import Reminder

if TYPE_CHECKING:
    import paramiko

log = get_logger("nvoi.ssh")

Input = bytes | str | Iterable[bytes] | None

#: What sudo says that may not ask for a password: sudo(8), -n.
NO_SUDO = ("sudo: a password is required", "sudo: a terminal is required")
#: Bytes that are read or sent at once.
CHUNK = 1 << 16
#: Seconds between two looks at the clock, while nothing arrives.
LOOK = 0.5
#: Seconds of silence, all of them after a command has ended, until what it left behind in the
#: background and holds its output open is not waited for any more.
LEFTOVER = 3.0
#: Lines that an error shows, and characters of a command that it shows.
LAST = 20
SHOWN = 300

PROCESS = "nvoi-process:"
#: Seconds between two looks at whether a command that is to be ended has told its process.
PAUSE = 0.02
#: Seconds for which that is looked for, and that sending the signals may take altogether.
SIGNAL_SECONDS = 5.0
#: Asks at once, and two seconds later, in the background, does not ask any more. What runs as
#: root is reached through sudo, where that is allowed.
SIGNAL_SCRIPT = """\
send() { kill "-$1" -- "-$2" 2>/dev/null || sudo -n kill "-$1" -- "-$2" 2>/dev/null; }
send TERM "$1"
(sleep 2; send KILL "$1") </dev/null >/dev/null 2>&1 &
"""
#: What is not the same between quotes in every shell: the quotes, csh's line breaks and ``!``,
#: the backslashes of fish; and what a POSIX shell sees to between double quotes.
SPECIAL = str.maketrans({one: f"\\0{ord(one):03o}" for one in "\n\\'\"!$`"})


def build_text(command: Command) -> str:
    """What is sent for ``command``, which tells its process first."""
    return encode(f'echo "{PROCESS}$$" >&2\n{command.reveal()}')


def encode(text: str) -> str:
    """``text`` for the login shell, whichever that is, to have it read by a POSIX shell.

    The login shell sees one line in single quotes, in which there is nothing special. What is,
    the POSIX shell puts back: printf(1), ``%b``.
    """
    return f'exec sh -c \'eval "$(printf %b "{text.translate(SPECIAL)}")"\''


def end_process_group(transport: Transport, process: str) -> None:
    """End the group of ``process``; what cannot be reached is left."""
    if not process.isdecimal():
        return
    command = build_script("nvoi-end", SIGNAL_SCRIPT, process)
    with suppress(*BROKEN):
        channel = transport.open_session(timeout=SIGNAL_SECONDS)
        try:
            channel.exec_command(encode(command.reveal()))
            channel.status_event.wait(SIGNAL_SECONDS)
        finally:
            close_channel(channel)


def mask(text: str) -> str:
    return masking.masker.clean_text(text)


def show(command: Command) -> str:
    """``command`` as errors and the log show it: masked, on one line, not too long."""
    text = mask(" ".join(str(command).split()))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


@dataclass(eq=False)
class Session:
    """Runs one command; used once.

    Args:
        stdin: what it reads. A ``Secret`` is masked in all that is logged from now on.
        timeout: seconds it may take; those of ``Timeouts.command`` where left out.
        idle_timeout: seconds it may be silent; those of ``Timeouts.idle``.
        on_line: called with each line of its output and errors as it arrives, not masked; but
            a line of more than 65,536 characters is, and comes in pieces.
        whole: whether that one too comes as it is: the lines are data.
        level: the level its lines are logged at as they arrive; None where they are data.
        reminder: says now and then that it still runs.
    """

    connection: Connection
    command: Command
    stdin: InitVar[Input]
    timeout: InitVar[float | None]
    idle_timeout: InitVar[float | None]
    on_line: Callable[[str], None] | None
    whole: bool
    level: int | None
    reminder: Reminder | None

    def __post_init__(
        self, stdin: Input, timeout: float | None, idle_timeout: float | None
    ) -> None:
        usual = self.connection.timeouts
        self._timeout = usual.command if timeout is None else timeout
        self._idle_timeout = usual.idle if idle_timeout is None else idle_timeout
        self._stdin = _read_input(stdin)
        self._shown = show(self.command)
        add_secrets(*(secret.reveal() for secret in self.command.secrets))
        self._began = self._active = time.monotonic()
        self._stdout: list[bytes] = []
        self._stderr: list[str] = []
        self._last: deque[str] = deque(maxlen=LAST)
        self._cutters = (LineCutter(whole=self.whole), LineCutter(whole=self.whole))
        self._cancelled = threading.Event()
        self._channel: paramiko.Channel | None = None
        self._failure: BaseException | None = None
        self._process = ""
        self._is_cut = False
        self._has_leftover = False

    @property
    def last_lines(self) -> tuple[str, ...]:
        return tuple(mask(line) for line in self._last)

    def cancel(self) -> None:
        """End it from another thread; ``run`` raises there."""
        self._cancelled.set()
        channel = self._channel
        # What has not told its process yet could not be ended.
        if channel is not None and self._process:
            close_channel(channel)

    def run(self) -> Result:
        """Run it to its end."""
        log.debug("%s: $ %s", self.connection.host.name, self._shown)
        lasts = math.isinf(self._timeout)
        with self.connection.open_session(lasts=lasts) as (transport, channel):
            self._channel = channel
            # Or what was cancelled while it waited for its turn would be begun.
            parallel.check()
            self._began = self._active = time.monotonic()
            try:
                self._start(transport, channel)
                with self._feed(channel):
                    self._follow(channel)
                self._check_end(transport, channel)
            except BaseException:
                self._close(channel)
                if self._process and transport.is_usable:
                    end_process_group(transport, self._process)
                raise
        text = b"".join(self._stdout).decode("utf-8", errors="replace")
        seconds = time.monotonic() - self._began
        return Result(channel.exit_status, text, tuple(self._stderr), seconds)

    def _close(self, channel: paramiko.Channel) -> None:
        """Close it; before that, hear which process runs, where that is not told yet."""
        deadline = time.monotonic() + SIGNAL_SECONDS
        while not self._process and time.monotonic() < deadline:
            if channel.recv_stderr_ready():
                for line in self._cutters[1].feed(self._receive(channel.recv_stderr)):
                    self._tells_process(line)
            elif channel.exit_status_ready():
                break
            else:
                channel.status_event.wait(PAUSE)
        close_channel(channel)

    def _start(self, transport: Transport, channel: paramiko.Channel) -> None:
        # paramiko waits for the answer without end.
        seconds = min(self._timeout, self.connection.timeouts.connect)
        timer = threading.Timer(seconds, close_channel, [channel])
        timer.daemon = True
        timer.start()
        try:
            channel.exec_command(build_text(self.command))
        except BROKEN as error:
            if not transport.is_usable:
                raise self._lose() from error
            place, shown = str(self.connection.host), self._shown
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
            self._close(channel)
            raise
        finally:
            # Whoever did not read all of it has ended, which ends the writing too.
            if channel.closed or channel.exit_status_ready():
                close_channel(channel)
            writer.join()

    def _write(self, channel: paramiko.Channel) -> None:
        try:
            for piece in self._stdin:
                for start in range(0, len(piece), CHUNK):
                    if not self._send(channel, piece[start : start + CHUNK]):
                        return
            _end_input(channel)
        except BaseException as error:  # noqa: BLE001 - raised by run, on the thread that waits
            # Not the end of the input, which the command would take as whole.
            self._failure = error
            close_channel(channel)

    def _send(self, channel: paramiko.Channel, data: bytes) -> bool:
        """Whether it was taken: nothing is once the command has ended."""
        try:
            channel.sendall(data)
        except BROKEN:
            return False
        self._active = time.monotonic()
        return True

    def _follow(self, channel: paramiko.Channel) -> None:
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
        except BROKEN:
            self._is_cut = True
            return b""

    def _tell(self, lines: list[str], *, is_error: bool) -> None:
        if is_error:
            if not self._process:
                lines = [line for line in lines if not self._tells_process(line)]
            self._stderr += lines
        self._last.extend(lines[-LAST:])
        for line in lines:
            if self.level is not None:
                log.log(self.level, "%s: %s", self.connection.host.name, line)
            if self.on_line is not None:
                self.on_line(line)

    def _tells_process(self, line: str) -> bool:
        if line.startswith(PROCESS):
            self._process = line.removeprefix(PROCESS)
        return line.startswith(PROCESS)

    def _check_time(self) -> None:
        if self._cancelled.is_set():
            raise self._lose("it was cancelled")
        if self.reminder is not None:
            self.reminder.tell()
        if time.monotonic() - self._began >= self._timeout:
            outcome = f"ended after {self._timeout:g} s, its time-out"
        elif time.monotonic() - self._active >= self._idle_timeout:
            outcome = f"ended after {self._idle_timeout:g} s of silence"
        else:
            return
        raise RemoteTimeoutError(
            str(self.connection.host), self._shown, outcome, output=self.last_lines
        )

    def _check_end(self, transport: Transport, channel: paramiko.Channel) -> None:
        if self._failure is not None:
            raise self._failure
        if self._cancelled.is_set():
            raise self._lose("it was cancelled")
        # The exit code may come before the last of the output, whose end is told as well.
        is_whole = (channel.eof_received or self._has_leftover) and not self._is_cut
        if not is_whole or (channel.exit_status == -1 and not transport.is_usable):
            raise self._lose()

    def build_error(self, result: Result) -> RemoteError:
        """The error of a command that has ended with another exit code than 0."""
        host, output = self.connection.host, self.last_lines
        outcome = f"exit code {result.exit_code}" if result.exit_code >= 0 else "ended by a signal"
        hint = ""
        if any(line.startswith(NO_SUDO) for line in output):
            hint = f"let {host.user} use sudo without a password there: NOPASSWD in sudoers(5)"
        return RemoteError(
            str(host), self._shown, outcome, status=result.exit_code, hint=hint, output=output
        )

    def _lose(self, reason: str = "the connection was lost") -> ConnectionLostError:
        return ConnectionLostError(
            f"{self.connection.host}: {self._shown}: {reason}; it may have run to its end or not",
            hint="run the same command again: it goes on from what is there",
            output=self.last_lines,
        )


def _read_input(stdin: Input) -> Iterable[bytes]:
    if isinstance(stdin, Secret):
        add_secrets(stdin.reveal())
        return [stdin.reveal().encode()]
    if isinstance(stdin, str):
        stdin = stdin.encode()
    if isinstance(stdin, bytes):
        return [stdin] if stdin else []
    return stdin or []


def _end_input(channel: paramiko.Channel) -> None:
    # Where the connection broke, the end of the output shows it.
    with suppress(*BROKEN):
        channel.shutdown_write()
