"""What the text of one value may be, and what it stands for.

Each parser takes the text and returns the value, or raises :class:`RejectedError` with what
is wrong and what is allowed. None of them repeats the text: it may be a secret.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable

from nvoi.config.quantities import find_bytes, find_millicores
from nvoi.protocol import find_url_fault
from nvoi.secret import Secret

TRUE = frozenset({"true", "yes", "on", "y"})
FALSE = frozenset({"false", "no", "off", "n"})
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
ARCHITECTURES = {
    "x86": "x86",
    "x86_64": "x86",
    "amd64": "x86",
    "arm64": "arm64",
    "arm": "arm64",
    "aarch64": "arm64",
}
ADAPTERS = ("postgres", "postgresql", "mysql", "sqlite3")
DEFAULT_KEEP_COUNT = 2
LARGEST_PORT = 65535

INTEGER = re.compile(r"\+?[0-9]{1,9}")
DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?(ms|s|m|)")
APPLICATION_NAME = re.compile(r"[a-z0-9_-]+")
SERVICE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
GROUP_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Labels of host names, RFC 1123; underscores are met in practice, and only a name's own
# owner could be hurt by one.
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOSTNAME = re.compile(rf"{LABEL}(?:\.{LABEL})*")
DOMAIN = re.compile(rf"{LABEL}(?:\.{LABEL})+")
HOSTNAME_LENGTH = 253
# A registry with a port, a path, a tag, a digest (Distribution, reference/reference.go's grammar).
REGISTRY_HOST = r"[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?"
IMAGE_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?:{REGISTRY_HOST}/)?{IMAGE_PART}(?:/{IMAGE_PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128}))?"
)
REGISTRY = re.compile(rf"{REGISTRY_HOST}(?:/{IMAGE_PART})*")
# Whose place a mirror takes: `*` is all registries' (k3s documentation, "Private Registry
# Configuration").
MIRRORED = re.compile(rf"\*|{REGISTRY_HOST}")
K3S_VERSION = re.compile(r"v[0-9]+\.[0-9]+\.[0-9]+(?:-rc[0-9]+)?\+k3s[0-9]+")
# A number alone is of bytes. With so few nothing starts (docker run's reference has 6 MB as the
# least for `--memory`), and it was meant otherwise.
LEAST_MEMORY = 6 << 20


class RejectedError(Exception):
    """A value that cannot be used: what is wrong and what is allowed, without the value."""


def parse_text(text: str) -> str:
    """Any text."""
    return text


def parse_secret(text: str) -> Secret:
    """Any text, kept from being shown."""
    return Secret(text)


def parse_boolean(text: str) -> bool:
    """YAML 1.1's words, as existing files were written for it."""
    word = text.lower()
    if word not in TRUE | FALSE:
        raise RejectedError("must be true or false")
    return word in TRUE


def parse_positive(text: str) -> int:
    """A whole number from 1."""
    if not INTEGER.fullmatch(text) or int(text) == 0:
        raise RejectedError("must be a whole number from 1")
    return int(text)


def parse_keep_count(text: str) -> int:
    """A whole number; 0 stands for the default, as it always did."""
    if not INTEGER.fullmatch(text):
        raise RejectedError("must be a whole number from 1")
    return int(text) or DEFAULT_KEEP_COUNT


def parse_port(text: str) -> int:
    """A TCP port."""
    if not INTEGER.fullmatch(text) or not 1 <= int(text) <= LARGEST_PORT:
        raise RejectedError(f"must be a port, 1 to {LARGEST_PORT}")
    return int(text)


def parse_duration(text: str) -> float:
    """Seconds; ``10s``, ``500ms``, ``1m``, or a number of seconds."""
    match = DURATION.fullmatch(text)
    seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
    if seconds <= 0:
        raise RejectedError("must be a time above 0, such as 10s, 500ms or 1m")
    return seconds


def parse_application_name(text: str) -> str:
    """``[a-z0-9_-]+``."""
    if not APPLICATION_NAME.fullmatch(text):
        raise RejectedError("must be lower-case letters, digits, `-` and `_`")
    return text


def parse_architecture(text: str) -> str:
    """``x86`` or ``arm64``; the other names in use for them are taken too."""
    if text.lower() not in ARCHITECTURES:
        raise RejectedError("must be x86 or arm64")
    return ARCHITECTURES[text.lower()]


def parse_adapter(text: str) -> str:
    """A database adapter, in lower case."""
    if text.lower() not in ADAPTERS:
        raise RejectedError("must be postgres, postgresql, mysql or sqlite3")
    return text.lower()


def build_choice(*allowed: str) -> Callable[[str], str]:
    """A parser of a closed set of words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise RejectedError(f"must be {', '.join(allowed[:-1])} or {allowed[-1]}")
        return text

    return parse


def parse_http_path(text: str) -> str:
    """The path of a URL."""
    if not text.startswith("/") or not text.isascii() or any(c.isspace() for c in text):
        raise RejectedError("must be a path that begins with `/`, percent-encoded")
    return text


def parse_domain(text: str) -> str:
    """A host name of two labels or more."""
    if not DOMAIN.fullmatch(text) or len(text) > HOSTNAME_LENGTH:
        raise RejectedError("must be a domain, such as example.com")
    return text


def parse_subdomain(text: str) -> str:
    """What stands before a domain; ``@`` for the domain itself, ``*`` for all else."""
    if text in {"@", "*"}:
        return text
    if not HOSTNAME.fullmatch(text) or len(text) > HOSTNAME_LENGTH:
        raise RejectedError("must be the part before the domain, such as www, or `@` or `*`")
    return text


def parse_host(text: str) -> str:
    """A host name or an IP address."""
    if HOSTNAME.fullmatch(text) and len(text) <= HOSTNAME_LENGTH:
        return text
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise RejectedError("must be a host name or an IP address") from None
    return text


def parse_address(text: str) -> str:
    """An IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise RejectedError("must be an IP address") from None
    return text


def parse_user(text: str) -> str:
    """A login name; one that began with a hyphen would be read as an option by ssh."""
    if text.startswith("-") or not text.isprintable() or any(c in " @:/" for c in text):
        raise RejectedError("must be a login name")
    return text


def parse_callback_url(text: str) -> str:
    """An http(s) URL to which paths can be appended."""
    if fault := find_url_fault(text):
        raise RejectedError(fault)
    return text


def parse_host_key(text: str) -> str:
    """A server's public host key, as OpenSSH writes it.

    Its data begins with its kind, each text behind its length (RFC 4253, 6.6).
    """
    kind, data = (*text.split(), "", "")[:2]
    try:
        key = base64.b64decode(data, validate=True)
    except ValueError:
        key = b""
    if not key.startswith(len(kind).to_bytes(4, "big") + kind.encode()):
        raise RejectedError("must be a public host key, such as ssh-ed25519 AAAA…")
    return text.strip()


def parse_image(text: str) -> str:
    """A container image's reference."""
    if not IMAGE.fullmatch(text):
        raise RejectedError("must be an image, such as ghcr.io/acme/web:3")
    return text


def parse_registry(text: str) -> str:
    """A registry's host, and a port where it has one."""
    if not REGISTRY.fullmatch(text):
        raise RejectedError("must be a registry, such as mirror.example.com:5000")
    return text


def parse_url(text: str) -> str:
    """An http(s) URL that anybody may see."""
    if "@" in parse_callback_url(text):
        raise RejectedError("must have no user and no password in it")
    return text


def parse_k3s_version(text: str) -> str:
    """A release of k3s, as its own list has them."""
    if not K3S_VERSION.fullmatch(text):
        raise RejectedError("must be a release of k3s, such as v1.33.4+k3s1")
    return text


def parse_memory(text: str) -> str:
    """Memory as Kubernetes writes it."""
    found = find_bytes(text)
    if found is None or found < LEAST_MEMORY:
        raise RejectedError("must be an amount of memory from 6Mi, such as 512Mi or 2Gi")
    return text


def parse_cpu(text: str) -> str:
    """Processor time as Kubernetes writes it: thousandths of a core, or cores."""
    if not find_millicores(text):
        raise RejectedError("must be processor time above 0, such as 250m or 1.5")
    return text
