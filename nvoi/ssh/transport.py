"""One SSH connection to a host: made, its host key checked, logged in, watched, closed."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from itertools import islice
from typing import TYPE_CHECKING

import paramiko
from paramiko.common import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_OPEN_SUCCESS,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
)
from paramiko.packet import Packetizer

from nvoi.errors import AccessError, ConnectionFailedError
from nvoi.ssh.host import Host, Timeouts
from nvoi.ssh.keys import Identities
from nvoi.ssh.known_hosts import AUTHORITY, HostKey, KnownHosts

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: Keys shown to one server at most. Each connection takes six by default: sshd_config(5),
#: MaxAuthTries.
MAX_IDENTITIES = 30
#: Names of key kinds and of the signatures made with them differ for RSA: RFC 8332, 3.
SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
#: In the names of kinds with a certificate.
CERTIFIED = "-cert-v"
#: paramiko logs its own story, with tracebacks, to the loggers below "paramiko"; what is worth
#: telling is in the errors raised here. A level set on this logger lets it through.
PARAMIKO_LOG = "nvoi.ssh.paramiko"
#: Messages that go to one channel, whose number follows the kind: RFC 4254, 9.
TO_CHANNEL = range(MSG_CHANNEL_WINDOW_ADJUST, MSG_CHANNEL_REQUEST + 1)
#: What paramiko raises where a connection has broken.
BROKEN = (paramiko.SSHException, EOFError, OSError)

#: What leads to a host: a connection of this machine, or a channel of another host's.
Line = socket.socket | paramiko.Channel


def connect(
    host: Host,
    dial: Callable[[], Line],
    identities: Identities,
    known_hosts: KnownHosts,
    timeouts: Timeouts,
) -> Transport:
    """A connection whose host key was checked, and that is logged in.

    The keys are shown one by one; a server that has seen enough of them is dialled again.

    Raises:
        ConnectionFailedError: there is none to be had; also its kinds ``HostKeyError`` and
            ``AccessError``.
    """
    tried: list[str] = []
    transport = negotiate(host, dial, known_hosts, timeouts)
    try:
        with closing(identities.list(host.route)) as listed:
            for identity in islice(listed, MAX_IDENTITIES):
                if isinstance(identity, str):
                    tried.append(identity)
                    continue
                if not transport.is_active():
                    # It has seen as many keys on one connection as it allows.
                    transport.close()
                    transport = negotiate(host, dial, known_hosts, timeouts)
                if transport.log_in(host, identity.key):
                    transport.start_watch(host.name)
                    return transport
                tried.append(f"{identity.label}: refused")
    except BaseException:
        transport.close()
        raise
    transport.close()
    raise _build_access_error(host, tried, identities.public_key)


def negotiate(
    host: Host, dial: Callable[[], Line], known_hosts: KnownHosts, timeouts: Timeouts
) -> Transport:
    known = known_hosts.find(host)
    transport = Transport(dial(), known, timeouts)
    try:
        known_hosts.check(host, transport.exchange_keys(host))
    except BaseException:
        transport.close()
        raise
    return transport


def dial(host: Host, seconds: float) -> socket.socket:
    try:
        made = socket.create_connection((host.hostname, host.port), timeout=seconds)
    except socket.gaierror as error:
        raise ConnectionFailedError(
            f"{host} cannot be reached: its name is not known: {error.strerror}",
            hint="check the address in the config, and this machine's DNS",
        ) from error
    except OSError as error:
        late = f"no answer within {seconds:g} s"
        reason = late if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise ConnectionFailedError(
            f"{host} cannot be reached: {reason}", hint=build_reach_hint(host)
        ) from error
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def close_channel(channel: paramiko.Channel) -> None:
    """Close it, which tells the host; where the connection has broken, it is closed too."""
    with suppress(*BROKEN):
        channel.close()


class Packets(Packetizer):
    """As paramiko's, but that nothing is sent on a channel after its end.

    What is sent on a channel and the answer to its end come from two threads, and paramiko lets
    one overtake the other: input would follow the end of a command that did not wait for it.
    sshd gives up the whole connection then, and with it all else that runs there.
    """

    def __init__(self, socket: socket.socket) -> None:
        super().__init__(socket)
        #: When anything was heard last, of the monotonic clock, and whether all has ended.
        self.heard_at = time.monotonic()
        self.has_ended = False
        #: The channels, by the host's numbers of them, whose end was sent.
        self._ended: set[int] = set()

    def send_message(self, data: paramiko.Message) -> None:
        """Send it, where its channel has not ended; paramiko lets in one thread at a time."""
        text = data.asbytes()
        if text[0] in TO_CHANNEL:
            channel = int.from_bytes(text[1:5])
            if channel in self._ended:
                return
            if text[0] == MSG_CHANNEL_CLOSE:
                self._ended.add(channel)
        super().send_message(data)

    def read_message(self) -> tuple[int, paramiko.Message]:
        """The next one. A host gives the number of an ended channel to a new one."""
        kind, message = super().read_message()
        if kind == MSG_CHANNEL_OPEN_SUCCESS:
            # Our number of it, then the host's: RFC 4254, 5.1. The kind is not part of it.
            self._ended.discard(int.from_bytes(message.asbytes()[4:8]))
        return kind, message

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        try:
            data = super().read_all(n, check_rekey)
        except (EOFError, OSError):
            self.has_ended = True
            raise
        self.heard_at = time.monotonic()
        return data

    def write_all(self, out: ReadableBuffer) -> None:
        try:
            super().write_all(out)
        except EOFError:
            self.has_ended = True
            raise


class Transport(paramiko.Transport):
    """A connection that knows when its host fell silent."""

    packetizer: Packets

    def __init__(self, line: Line, known: Sequence[HostKey], timeouts: Timeouts) -> None:
        super().__init__(line, packetizer_class=Packets)
        self.set_log_channel(_get_log_name())
        self.daemon = True
        seconds = timeouts.connect
        self.banner_timeout = self.handshake_timeout = seconds
        self.auth_timeout = self.channel_timeout = seconds
        self._timeouts = timeouts
        self._closing = threading.Event()
        self._known = tuple(known)

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """Kinds of host keys, first those that are known of the host, where it has several."""
        kinds = {key.kind for key in self._known if key.is_plain}
        wanted = {name for kind in kinds for name in SIGNATURES.get(kind, (kind,))}
        is_certified = any(key.mark == AUTHORITY for key in self._known)

        def rank(kind: str) -> int:
            return 0 if is_certified and CERTIFIED in kind else 1 if kind in wanted else 2

        return tuple(sorted(super().preferred_keys, key=rank))

    @property
    def is_usable(self) -> bool:
        """Whether nothing is known to be wrong with it."""
        return self.is_active() and not self.packetizer.has_ended

    def has_heard_since(self, moment: float) -> bool:
        """Whether the host sent anything after ``moment``, of the monotonic clock."""
        return self.packetizer.heard_at > moment

    def close(self) -> None:
        """End it at once; whoever waits for something on it is woken."""
        self._closing.set()
        # What leads to it may have broken before.
        with suppress(*BROKEN):
            super().close()
            # paramiko leaves it open where it has not begun.
            self.sock.close()

    def exchange_keys(self, host: Host) -> HostKey:
        """Begin to speak; returns the key that the host shows."""
        seconds = self._timeouts.connect
        try:
            self.start_client(timeout=seconds)
            shown = self.get_remote_server_key()
        except BROKEN as error:
            reason = str(error) or "the connection was closed"
            if "No existing session" in reason or isinstance(error, TimeoutError):
                reason = f"no answer within {seconds:g} s"
            raise ConnectionFailedError(
                f"{host} cannot be reached: SSH could not begin: {reason}",
                hint=build_reach_hint(host),
            ) from error
        blob = shown.public_blob
        certificate = blob.key_blob if blob is not None else b""
        return HostKey(shown.get_name(), shown.asbytes(), certificate=certificate)

    def log_in(self, host: Host, key: paramiko.PKey) -> bool:
        """Whether the host takes the key."""
        try:
            self.auth_publickey(host.user, key)
        except paramiko.BadAuthenticationType as error:
            allowed = ", ".join(error.allowed_types)
            raise AccessError(
                f"{host} takes no keys: it wants {allowed}",
                hint="allow PubkeyAuthentication in its sshd_config",
            ) from error
        except BROKEN as error:
            if self.packetizer.has_ended or "timeout" in str(error).lower():
                raise ConnectionFailedError(
                    f"{host} cannot be reached: the connection broke while logging in",
                    hint=build_reach_hint(host),
                ) from error
        return self.is_authenticated()

    def start_watch(self, name: str) -> None:
        """Close it, from a thread of its own, when the host no longer answers.

        A cable that was pulled shows in no other way: TCP itself waits for a quarter of an hour.
        """
        threading.Thread(target=self._watch, name=f"nvoi-ssh-{name}", daemon=True).start()

    def _watch(self) -> None:
        silence = self._timeouts.silence
        while not self._closing.wait(silence) and self.is_usable:
            began = time.monotonic()
            if self.has_heard_since(began - silence):
                continue
            if not self.answers(2 * silence):
                break
        self.close()

    def answers(self, seconds: float) -> bool:
        """Whether the host gives a sign of life within ``seconds``."""
        began = time.monotonic()
        question = threading.Thread(target=self._ask, daemon=True)
        question.start()
        question.join(seconds)
        return self.has_heard_since(began)

    def _ask(self) -> None:
        # Any answer does, also the refusal that sshd gives to what it does not know:
        # RFC 4254, 4.
        with suppress(*BROKEN):
            self.global_request("keepalive@openssh.com", wait=True)


def _get_log_name() -> str:
    logger = logging.getLogger(PARAMIKO_LOG)
    if logger.level == logging.NOTSET:
        logger.propagate = False
        logger.setLevel(logging.CRITICAL + 1)
    return PARAMIKO_LOG


def build_reach_hint(host: Host) -> str:
    jump = host.route.jump
    return (
        f"is it up, does sshd listen on port {host.port}, "
        f"and does its firewall let {jump.name if jump else 'this machine'} in?"
    )


def _build_access_error(host: Host, tried: Sequence[str], public_key: str) -> AccessError:
    # The log hides what the private half has of this line too.
    wanted = f"`ssh_keys.public_key` of the config to authorized_keys of {host.user} there"
    wanted += f": {public_key}"
    if not public_key:
        wanted = f"the public half of one of your keys to authorized_keys of {host.user} there"
    return AccessError(
        f"{host} does not let {host.user} in ({'; '.join(tried) or 'there is no key to show'})",
        hint=f"add {wanted}",
    )
