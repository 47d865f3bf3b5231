"""The format of known_hosts files: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". All is pure."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass

REVOKED = "@revoked"
HASHED = "|1|"
FIELDS = 3


@dataclass(frozen=True)
class HostKey:
    """A public host key; ``origin`` is where it is written down, empty for a server's own."""

    kind: str
    data: bytes
    origin: str = ""
    is_revoked: bool = False

    @property
    def fingerprint(self) -> str:
        """``SHA256:`` and the digest in base64 without padding, as ``ssh-keygen -l`` has it."""
        digest = base64.b64encode(hashlib.sha256(self.data).digest()).decode()
        return f"SHA256:{digest.rstrip('=')}"

    @property
    def text(self) -> str:
        """``ssh-ed25519 AAAA…``."""
        return f"{self.kind} {base64.b64encode(self.data).decode()}"

    def is_same(self, other: HostKey) -> bool:
        """Whether it is the very same key, wherever it is written down."""
        return hmac.compare_digest(self.data, other.data)


def read_key(text: str, origin: str = "", *, is_revoked: bool = False) -> HostKey | None:
    """The key of ``KIND BASE64 [COMMENT]``, None where that is no key."""
    kind, _, rest = text.strip().partition(" ")
    encoded = rest.split(maxsplit=1)[:1]
    try:
        data = base64.b64decode("".join(encoded), validate=True)
    except (binascii.Error, ValueError):
        return None
    # The key's data begins with its kind: RFC 4253, 6.6.
    name = kind.encode()
    if not kind or not data.startswith(len(name).to_bytes(4, "big") + name):
        return None
    return HostKey(kind, data, origin, is_revoked)


def find_keys(text: str, label: str, name: str) -> Iterator[HostKey]:
    """The keys that the text of the file ``name`` has for the host ``label``, in their order.

    Lines that are comments, certificate authorities, or no host keys at all are passed over.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split(maxsplit=1)
        is_revoked = bool(fields) and fields[0] == REVOKED
        if is_revoked:
            fields = "".join(fields[1:]).split(maxsplit=1)
        if len(fields) + 1 < FIELDS or fields[0].startswith(("#", "@")):
            continue
        if is_match(fields[0], label):
            key = read_key(fields[1], f"{name}:{number}", is_revoked=is_revoked)
            if key is not None:
                yield key


def is_match(patterns: str, label: str) -> bool:
    """Whether the first field of a line names the host."""
    if patterns.startswith(HASHED):
        return _is_hash(patterns, label)
    found = False
    for pattern in patterns.lower().split(","):
        # Brackets are of [host]:port there, and not a choice of characters.
        escaped = pattern.removeprefix("!").replace("[", "[[]")
        if fnmatch.fnmatchcase(label.lower(), escaped):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _is_hash(field: str, label: str) -> bool:
    salt, _, digest = field.removeprefix(HASHED).partition("|")
    try:
        expected = base64.b64decode(digest, validate=True)
        made = hmac.digest(base64.b64decode(salt, validate=True), label.lower().encode(), "sha1")
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(made, expected)


def build_line(label: str, key: HostKey) -> str:
    """The line that names ``key`` as the host's."""
    return f"{label} {key.text}\n"
