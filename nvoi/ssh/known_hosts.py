"""Whether a server is the one it was: its host key against those that are known.

A host that the user's own known_hosts files name is held to them: to a key, or to an authority that
signs host certificates. Any other is held to the state folder's file, which takes what the host
shows on the first contact.

The format is that of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". paramiko reads keys and hashed names;
its own reader of files knows no patterns, marks or line numbers, and fails at a broken line.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.pkey import PublicBlob

from nvoi.errors import ConfigError, CredentialsError, Fault, HostKeyError, NvoiError
from nvoi.files import write_private
from nvoi.folders import make_home
from nvoi.log.levels import get_logger
from nvoi.ssh.certificates import find_authority, find_fault
from nvoi.ssh.host import Host
from nvoi.ssh.ssh_config import is_match

log = get_logger("nvoi.ssh")

REVOKED, AUTHORITY = "@revoked", "@cert-authority"
#: A mark, the names of hosts, and the key; no comment, and no other mark.
LINE = re.compile(rf"\s*(?:({REVOKED}|{AUTHORITY})\s+)?([^#@\s]\S*)\s+(.+)")
HASHED = "|1|"


@dataclass(frozen=True)
class HostKey:
    """A public host key.

    Attributes:
        origin: where it is written down, empty for a server's own.
        mark: what known_hosts has before it: that it was revoked, or is an authority's, which
            signs the keys of hosts.
        certificate: what a server shows with its own, or nothing.
    """

    kind: str
    data: bytes
    origin: str = ""
    mark: str = ""
    certificate: bytes = b""

    @property
    def is_plain(self) -> bool:
        """Whether it is one that a host may show."""
        return not self.mark

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` has it."""
        digest = base64.b64encode(hashlib.sha256(self.data).digest()).decode()
        return f"SHA256:{digest.rstrip('=')}"

    def __str__(self) -> str:
        return f"{self.kind} {self.fingerprint}"


@dataclass(frozen=True)
class KnownHosts:
    """The host keys that are known.

    Args:
        store: the file that first contacts are written to; it need not exist.
        files: the user's own files, which are only read.
    """

    store: Path
    files: Sequence[Path] = ()

    def find(self, host: Host) -> tuple[HostKey, ...]:
        """What is known of the host: of the config, else of the user's files, else stored.

        Marked keys of the user's files are in the answer too: a revoked one to be refused, which
        says nothing of who the host is, as many hosts may be meant; an authority's beside what is
        stored, as a host that was met before may show no certificate.

        Raises:
            ConfigError: a key of the config is none.
            NvoiError: a file cannot be read.
        """
        files = (*self.files, *host.route.known_hosts)
        own = tuple(key for file in files for key in _read(file, host))
        if host.host_keys:
            revoked = (key for key in own if key.mark == REVOKED)
            return (*(_get_key(host, text) for text in host.host_keys), *revoked)
        if any(key.is_plain for key in own):
            return own
        return (*own, *_read(self.store, host))

    def check(self, host: Host, key: HostKey) -> None:
        """Return if ``key`` is the host's; on a first contact that is written down, and told.

        Raises:
            HostKeyError: it is another one, or one that was revoked; or the first contact is none
                that may be trusted.
            NvoiError: a file cannot be read, or the store cannot be written.
        """
        known = self.find(host)
        _check_revoked(host, key, known)
        authorities = [one for one in known if one.mark == AUTHORITY]
        if not authorities:
            known = known if _has_plain(known) else self._learn(host, key)
            _compare(host, key, known)
            return
        signed_by = {one.data for one in authorities}
        fault = find_fault(key.certificate, host.known_name, signed_by)
        if fault and _has_plain(known):
            _compare(host, key, known)
        elif fault:
            origins = ", ".join(one.origin for one in authorities)
            raise HostKeyError(
                f"{host}: {fault}, and is known by an authority alone ({origins})",
                hint="renew the certificate, and check HostCertificate in its sshd_config; or add "
                "the server's own key to known_hosts, or to host_keys in the config",
            )

    def _learn(self, host: Host, key: HostKey) -> tuple[HostKey, ...]:
        """Write ``key`` down, unless another run or thread was first."""
        if host.route.is_strict:
            raise HostKeyError(
                f"{host}: its host key {key} is not known, and StrictHostKeyChecking of your "
                "~/.ssh/config allows no first contact",
                hint="compare the key with the server's, and add it to known_hosts as that of "
                f"{host.label}, or to host_keys in the config",
            )
        with _hold(self.store):
            known = self.find(host)
            if _has_plain(known):
                return known
            content = self.store.read_bytes() if self.store.exists() else b""
            end = b"\n" if content and not content.endswith(b"\n") else b""
            line = f"{host.label} {key.kind} {base64.b64encode(key.data).decode()}\n"
            try:
                write_private(self.store, content + end + line.encode())
            except CredentialsError as error:
                raise NvoiError(
                    f"the host key of {host} cannot be kept: {error.message}"
                ) from error
        log.info("%s: first contact; its host key, %s, is kept in %s", host, key, self.store)
        return (key,)


def _has_plain(known: Sequence[HostKey]) -> bool:
    """Whether ``known`` says which key the host shows."""
    return any(one.is_plain for one in known)


def _check_revoked(host: Host, key: HostKey, known: Sequence[HostKey]) -> None:
    authority = find_authority(key.certificate)
    for one in known:
        if one.mark == REVOKED and one.data in {key.data, authority}:
            what = "its host key" if one.data == key.data else "the authority of its host key,"
            raise HostKeyError(
                f"{host}: {what} {one.fingerprint} is marked as revoked in {one.origin}",
                hint="do not use this server until you know why its key was revoked",
            )


def _compare(host: Host, key: HostKey, known: Sequence[HostKey]) -> None:
    valid = [one for one in known if one.is_plain]
    if any(one.data == key.data for one in valid):
        return
    origins = ", ".join(dict.fromkeys(one.origin for one in valid))
    raise HostKeyError(
        f"{host}: the host key has changed: it shows {key}, "
        f"known is {', '.join(map(str, valid))} ({origins})",
        hint=_build_hint(host, valid),
    )


def _build_hint(host: Host, known: Sequence[HostKey]) -> str:
    trap = "if the server was not made anew, somebody may be in between: do not go on"
    if host.host_keys:
        return f"{trap}; if it was, put its new key into the config"
    files = dict.fromkeys(one.origin.rpartition(":")[0] for one in known)
    commands = " and ".join(f"ssh-keygen -R '{host.label}' -f '{file}'" for file in files)
    hint = f"{trap}; if it was, forget the old key: {commands}"
    if host.route.jump is not None and not host.route.alias:
        hint += (
            f"; if the key is that of a {host.hostname} elsewhere, give this one a HostKeyAlias in "
            "your ~/.ssh/config"
        )
    return hint


def read_key(text: str, origin: str = "", mark: str = "") -> HostKey | None:
    """The key of ``KIND BASE64 [COMMENT]``, None where that is no key."""
    try:
        blob = PublicBlob.from_string(text)
    except ValueError:
        return None
    return HostKey(blob.key_type, blob.key_blob, origin, mark)


def is_named(label: str, names: str) -> bool:
    """Whether ``names``, patterns or a hash, are of the host that is called ``label``."""
    label = label.lower()
    if not names.startswith(HASHED):
        return is_match(names.lower().split(","), label)
    try:
        return paramiko.HostKeys.hash_host(label, names) == names
    except (AssertionError, ValueError):
        # Its salt is none.
        return False


def _get_key(host: Host, text: str) -> HostKey:
    key = read_key(text, "the config")
    if key is None:
        fault = Fault(0, 0, "", f"host key of {host.name}: must be OpenSSH text: ssh-ed25519 AAAA…")
        raise ConfigError("the config", [fault])
    return key


def _read(file: Path, host: Host) -> Iterator[HostKey]:
    """The keys that a file has for the host. Lines that hold no host key are passed over."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise NvoiError(
            f"known host keys cannot be read: {file}: {error.strerror}",
            hint="without them no server can be told from another",
        ) from error
    for number, line in enumerate(text.splitlines(), start=1):
        if match := LINE.match(line):
            mark, names, rest = match.groups()
            key = read_key(rest, f"{file}:{number}", mark or "")
            # A mark is about a name; ssh(1) too takes it for any port of that.
            labels = {host.label, host.known_name} if mark else {host.label}
            if key is not None and any(is_named(label, names) for label in labels):
                yield key


@contextmanager
def _hold(store: Path) -> Iterator[None]:
    """Alone with the store, also among processes. The lock's file stays: it is a meeting point."""
    try:
        make_home(store.parent)
        lock = os.open(store.with_name(f"{store.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise NvoiError(f"host keys cannot be kept in {store}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
