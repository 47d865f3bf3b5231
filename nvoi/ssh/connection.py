"""The one connection to a host: opened when it is first needed, and again when it has died."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

from nvoi import parallel
from nvoi.errors import ConnectionFailedError, ConnectionLostError
from nvoi.log.levels import get_logger
from nvoi.signals import LOOK_SECONDS
from nvoi.ssh.host import Host, Timeouts
from nvoi.ssh.keys import Identities
from nvoi.ssh.known_hosts import KnownHosts
from nvoi.ssh.transport import (
    BROKEN,
    Line,
    Transport,
    build_reach_hint,
    close_channel,
    connect,
    dial,
)

log = get_logger("nvoi.ssh")

#: Commands that run on one connection at a time; sshd allows ten: sshd_config(5), MaxSessions.
SESSIONS = 10
#: What a host answers that forbids a channel, that reaches nothing at its other end, and that has
#: no room for another one: RFC 4254, 5.1.
FORBIDDEN, NOT_REACHED, NO_ROOM = 1, 2, 4
#: Seconds for which a host that has none is asked again, and between two times.
ROOM_SECONDS = 2.0
PAUSE = 0.1


class Connection:
    """Channels to one host. Safe to use from any thread; nothing is opened before it is needed.

    Args:
        host: with the way to it.
        jump: the connection to the host that this one is reached through.
    """

    def __init__(
        self,
        host: Host,
        identities: Identities,
        known_hosts: KnownHosts,
        timeouts: Timeouts,
        jump: Connection | None = None,
    ) -> None:
        self.host = host
        self.timeouts = timeouts
        self._jump = jump
        self._identities = identities
        self._known_hosts = known_hosts
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._room = threading.Condition()
        self._running = 0
        self._lasting = 0
        self._most = SESSIONS

    def open(self) -> None:
        self._get_transport()

    def close(self) -> None:
        """End the connection at once. A later use opens it again."""
        with self._lock:
            transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    @contextmanager
    def open_session(self, *, lasts: bool = False) -> Iterator[tuple[Transport, paramiko.Channel]]:
        """A channel for one command; waits while the host has no room for another.

        Nobody waits for the end of a command that ``lasts`` as long as the run.

        Raises:
            ConnectionFailedError: the host cannot be reached, does not answer, or allows too
                few commands at a time.
        """
        with self._room:
            self._wait_for_turn()
            self._running += 1
        try:
            transport, channel = self._open_session()
            try:
                self._note_lasting(int(lasts))
                yield transport, channel
            finally:
                self._note_lasting(-int(lasts))
                close_channel(channel)
        finally:
            with self._room:
                self._running -= 1
                self._room.notify()

    def open_tunnel(self, address: str, port: int) -> paramiko.Channel:
        """A channel to ``address`` and ``port`` as the host sees them.

        Raises:
            ConnectionFailedError: the host cannot be reached, or does not answer.
            paramiko.ChannelException: the host reaches nothing there, or forbids it.
        """
        _, channel = self._open("direct-tcpip", (address, port))
        return channel

    def _wait_for_turn(self) -> None:
        """Wait while the host has no room for another command, unless this work is cancelled."""
        while not self._room.wait_for(self._has_room, LOOK_SECONDS):
            parallel.check()

    def _has_room(self) -> bool:
        return self._running < max(self._most, self._lasting + 1)

    def _note_lasting(self, change: int) -> None:
        with self._room:
            self._lasting += change
            self._room.notify_all()

    def _open_session(self) -> tuple[Transport, paramiko.Channel]:
        deadline = time.monotonic() + ROOM_SECONDS
        while True:
            try:
                return self._open("session")
            except paramiko.ChannelException as error:
                self._wait_for_room(error, deadline)

    def _wait_for_room(self, error: paramiko.ChannelException, deadline: float) -> None:
        """Wait until another command has ended: the host allows fewer than is usual."""
        with self._room:
            is_alone = self._running - 1 <= self._lasting
            if is_alone and time.monotonic() > deadline:
                beside = f" beside {self._lasting} that last" if self._lasting else ""
                raise ConnectionFailedError(
                    f"{self.host} runs no command{beside}: {error.text}",
                    hint=f"set MaxSessions in its sshd_config to {SESSIONS}, its default",
                ) from error
            if is_alone:
                # What was cancelled here may not have ended there yet.
                self._room.wait(PAUSE)
                return
            self._running -= 1
            self._most = max(1, min(self._most, self._running))
            try:
                self._wait_for_turn()
            finally:
                # Interrupted or not: whoever opens the session counts it out.
                self._running += 1

    def _open(
        self, kind: str, target: tuple[str, int] | None = None
    ) -> tuple[Transport, paramiko.Channel]:
        """A channel; on a connection that turns out to be dead, once more on a new one.

        Nothing was asked of the host yet, so nothing can be done twice.
        """
        transport, is_new = self._get_transport()
        try:
            return transport, self._open_on(transport, kind, target)
        except ConnectionLostError:
            if is_new:
                raise
        transport.close()
        transport, _ = self._get_transport()
        return transport, self._open_on(transport, kind, target)

    def _open_on(
        self, transport: Transport, kind: str, target: tuple[str, int] | None
    ) -> paramiko.Channel:
        began, seconds = time.monotonic(), self.timeouts.connect
        try:
            return transport.open_channel(kind, target, ("127.0.0.1", 0), timeout=seconds)
        except paramiko.ChannelException:
            raise
        except BROKEN as error:
            if transport.is_usable and time.monotonic() - began < seconds:
                # The reason went to another thread, which was refused at the same time.
                raise paramiko.ChannelException(NO_ROOM, "refused") from error
            if transport.is_usable and (
                transport.has_heard_since(began) or transport.answers(seconds)
            ):
                # Others work on this connection: it is not ended.
                if target is not None:
                    late = f"no answer within {seconds:g} s"
                    raise paramiko.ChannelException(NOT_REACHED, late) from error
                raise ConnectionFailedError(
                    f"{self.host} did not open a channel within {seconds:g} s",
                    hint="is the server overloaded?",
                ) from error
            raise ConnectionLostError(
                f"{self.host}: the connection was lost: {error or 'it was closed'}",
                hint="run the same command again: nothing was begun",
            ) from error

    def _get_transport(self) -> tuple[Transport, bool]:
        """The connection, and whether it was made just now."""
        with self._lock:
            transport = self._transport
            if transport is not None and transport.is_usable:
                return transport, False
            if transport is not None:
                transport.close()
                self._transport = None
                log.info("%s: the connection was lost; connecting again", self.host)
            made = connect(
                self.host, self._dial, self._identities, self._known_hosts, self.timeouts
            )
            self._transport = made
            return made, True

    def _dial(self) -> Line:
        """The line to the host, through the one that it is behind."""
        if self._jump is None:
            return dial(self.host, self.timeouts.connect)
        through, host = self._jump.host, self.host
        try:
            return self._jump.open_tunnel(host.hostname, host.port)
        except ConnectionFailedError as error:
            raise type(error)(f"{host}: {error.message}", hint=error.hint) from error
        except paramiko.ChannelException as error:
            hint = build_reach_hint(host)
            if error.code == FORBIDDEN:
                hint = (
                    f"let {through.name} forward connections: AllowTcpForwarding and PermitOpen in "
                    "its sshd_config, and no `restrict` in authorized_keys"
                )
            raise ConnectionFailedError(
                f"{host} cannot be reached: {through} answers: {error.text}", hint=hint
            ) from error
