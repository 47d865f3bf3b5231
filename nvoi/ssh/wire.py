"""One authenticated SSH connection: made, watched, closed."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import paramiko

from nvoi.errors import AccessError, ConnectionFailedError
from nvoi.ssh.host import Host, Timeouts
from nvoi.ssh.host_keys import HostKeys
from nvoi.ssh.identities import Identities, Identity
from nvoi.ssh.known_hosts import HostKey
from nvoi.ssh.packets import Packets

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: Keys shown to one server at most. Each connection takes six by default: sshd_config(5),
#: MaxAuthTries.
IDENTITIES = 30
#: Names of key kinds and of the signatures made with them differ for RSA: RFC 8332, 3.
SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
#: paramiko writes its own story, with tracebacks, to the loggers below "paramiko"; what is
#: worth telling is in the errors raised here. A level set on this logger lets it through.
QUIET = "nvoi.ssh.paramiko"


def get_quiet_name() -> str:
    """The name of a logger that tells nobody what paramiko says, unless it is asked to."""
    logger = logging.getLogger(QUIET)
    if logger.level == logging.NOTSET:
        logger.propagate = False
        logger.setLevel(logging.CRITICAL + 1)
    return QUIET


def close_channel(channel: paramiko.Channel) -> None:
    """Close it, which says so to the host; where the connection has broken, it is closed too."""
    with suppress(paramiko.SSHException, EOFError, OSError):
        channel.close()


class Line(socket.socket):
    """A TCP connection that knows when it last heard anything, and whether it has ended."""

    heard_at = 0.0
    has_ended = False

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """As a socket's, and keeps when that was."""
        try:
            data = super().recv(size, flags)
        except TimeoutError:
            raise
        except OSError:
            self.has_ended = True
            raise
        self.heard_at = time.monotonic()
        self.has_ended = not data
        return data

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """As a socket's, and keeps that it failed."""
        try:
            return super().send(data, flags)
        except TimeoutError:
            raise
        except OSError:
            self.has_ended = True
            raise


def dial(host: Host, seconds: float) -> Line:
    """A TCP connection to the host.

    Raises:
        ConnectionFailedError: there is none within ``seconds``.
    """
    try:
        made = socket.create_connection((host.address, host.port), timeout=seconds)
    except socket.gaierror as error:
        raise ConnectionFailedError(
            f"{host} cannot be reached: its name is not known: {error.strerror}",
            hint="check the address in the config, and this machine's DNS",
        ) from error
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else os.strerror(error.errno or 0)
        if isinstance(error, TimeoutError):
            reason = f"{reason} within {seconds:g} s"
        raise ConnectionFailedError(
            f"{host} cannot be reached: {reason}", hint=_advise_reach(host)
        ) from error
    line = Line(fileno=made.detach())
    line.heard_at = time.monotonic()
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


def _advise_reach(host: Host) -> str:
    return (
        f"is it up, does sshd listen on port {host.port}, "
        "and does its firewall let this machine in?"
    )


class Wire:
    """A connection that the host's key was checked on and that let nvoi in.

    Raises:
        ConnectionFailedError: there is none to be had; also its kinds ``HostKeyError`` and
            ``AccessError``.
    """

    def __init__(
        self, host: Host, identities: Identities, host_keys: HostKeys, timeouts: Timeouts
    ) -> None:
        self.host = host
        self._timeouts = timeouts
        self._host_keys = host_keys
        self._closing = threading.Event()
        self._agree()
        try:
            self._log_in(identities)
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._watch, name=f"nvoi-ssh-{host.name}", daemon=True).start()

    @property
    def is_alive(self) -> bool:
        """Whether nothing is known to be wrong with it."""
        return self.transport.is_active() and not self._line.has_ended

    def has_heard_since(self, moment: float) -> bool:
        """Whether the host sent anything after ``moment``, of the monotonic clock."""
        return self._line.heard_at > moment

    def close(self) -> None:
        """End it at once; whoever waits for something on it is woken."""
        self._closing.set()
        self.transport.close()

    def _agree(self) -> None:
        """Connect, agree on keys, and know the host by its own."""
        host, seconds = self.host, self._timeouts.connect
        known = self._host_keys.find(host)
        self._line = dial(host, seconds)
        try:
            self.transport = _build_transport(self._line, known, seconds)
            self.transport.start_client(timeout=seconds)
            shown = self.transport.get_remote_server_key()
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._abandon()
            reason = str(error) or "the connection was closed"
            if "No existing session" in reason or isinstance(error, TimeoutError):
                reason = f"no answer within {seconds:g} s"
            raise ConnectionFailedError(
                f"{host} cannot be reached: SSH could not begin: {reason}", hint=_advise_reach(host)
            ) from error
        except BaseException:
            self._abandon()
            raise
        try:
            self._host_keys.check(host, HostKey(shown.get_name(), shown.asbytes()))
        except BaseException:
            self.close()
            raise

    def _abandon(self) -> None:
        if hasattr(self, "transport"):
            self.transport.close()
        self._line.close()

    def _log_in(self, identities: Identities) -> None:
        """Show the keys one by one; a server that has seen enough of them is dialled again."""
        tried: list[str] = []
        with identities.open() as listed:
            for _, identity in zip(range(IDENTITIES), listed, strict=False):
                if isinstance(identity, str):
                    tried.append(identity)
                    continue
                tried.append(f"{identity.label}: refused")
                if self._try(identity):
                    return
        user, host = self.host.user, self.host
        raise AccessError(
            f"{host} does not let {user} in ({'; '.join(tried) or 'there is no key to show'})",
            hint=_advise_access(user, identities.public_key),
        )

    def _try(self, identity: Identity) -> bool:
        """Whether the host takes the key."""
        if not self.transport.is_active():
            # It has seen as many keys on one connection as it allows.
            self.transport.close()
            self._agree()
        try:
            self.transport.auth_publickey(self.host.user, identity.key)
        except paramiko.BadAuthenticationType as error:
            allowed = ", ".join(error.allowed_types)
            raise AccessError(
                f"{self.host} takes no keys: it wants {allowed}",
                hint="allow PubkeyAuthentication in its sshd_config",
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            if self._line.has_ended or "timeout" in str(error).lower():
                raise ConnectionFailedError(
                    f"{self.host} cannot be reached: the connection broke while logging in",
                    hint=_advise_reach(self.host),
                ) from error
        return self.transport.is_authenticated()

    def _watch(self) -> None:
        """Give the connection up when the host says nothing, though asked for a sign of life.

        A cable that was pulled shows in no other way: TCP itself waits for a quarter of an hour.
        """
        silence = self._timeouts.silence
        while not self._closing.wait(silence):
            if not self.is_alive:
                break
            began = time.monotonic()
            if self.has_heard_since(began - silence):
                continue
            ask = threading.Thread(target=self._ask, daemon=True)
            ask.start()
            ask.join(2 * silence)
            if not self.has_heard_since(began):
                break
        self.transport.close()

    def _ask(self) -> None:
        # Any answer does, also the refusal that sshd gives to what it does not know:
        # RFC 4254, 4.
        with suppress(paramiko.SSHException, EOFError, OSError):
            self.transport.global_request("keepalive@openssh.com", wait=True)


def _build_transport(line: Line, known: tuple[HostKey, ...], seconds: float) -> paramiko.Transport:
    transport = paramiko.Transport(line, packetizer_class=Packets)
    transport.set_log_channel(get_quiet_name())
    transport.daemon = True
    transport.banner_timeout = seconds
    transport.handshake_timeout = seconds
    transport.auth_timeout = seconds
    transport.channel_timeout = seconds
    options = transport.get_security_options()
    # A host is asked for a key of a kind that is known of it, where it has several.
    wanted = [name for key in known for name in SIGNATURES.get(key.kind, (key.kind,))]
    kinds = list(options.key_types)
    first = [kind for kind in dict.fromkeys(wanted) if kind in kinds]
    options.key_types = (*first, *(kind for kind in kinds if kind not in first))
    return transport


def _advise_access(user: str, public_key: str) -> str:
    if public_key:
        return f"add this line to authorized_keys of {user} there: {public_key}"
    return f"add the public half of one of your keys to authorized_keys of {user} there"
