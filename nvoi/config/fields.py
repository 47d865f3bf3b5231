"""What the text of one value may be, and what it stands for.

Each parser takes the text and returns the value, or raises :class:`RejectedError` with what
is wrong and what is allowed. None of them repeats the text: it may be a secret. The types at the
end of the module are what the records of the schema declare their keys with.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from nvoi.protocol import find_url_fault
from nvoi.secret import Secret

T = TypeVar("T")

# YAML 1.1's words, as existing files were written for it.
TRUTH = dict.fromkeys(("true", "yes", "on", "y"), True) | dict.fromkeys(
    ("false", "no", "off", "n"), False
)
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
ARCHITECTURES = {
    "x86": "x86",
    "x86_64": "x86",
    "amd64": "x86",
    "arm64": "arm64",
    "arm": "arm64",
    "aarch64": "arm64",
}
ADAPTERS = {name: name for name in ("postgres", "postgresql", "mysql", "sqlite3")}
DEFAULT_KEEP_COUNT = 2
LARGEST_NUMBER = 999_999_999
LARGEST_PORT = 65535

INTEGER = re.compile(r"\+?[0-9]{1,9}")
#: Seconds; Kubernetes gives a rollout up that makes no progress for ten minutes.
LONGEST_READY_TIME = 120
DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?(ms|s|m|)")
APPLICATION_NAME = re.compile(r"[a-z0-9_-]+")
SERVICE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
SERVICE_RULE = "lower-case letters, digits, `-` and `_`, at most 63, with no `-` or `_` at an end"
GROUP_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
GROUP_RULE = "letters, digits, `-` and `_`, at most 63, with no `-` or `_` at an end"
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ENV_RULE = "letters, digits and `_`, and begin with no digit"
# Labels of host names, RFC 1123; underscores are met in practice, and only a name's own
# owner could be hurt by one.
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOSTNAME = re.compile(rf"{LABEL}(?:\.{LABEL})*")
DOMAIN = re.compile(rf"{LABEL}(?:\.{LABEL})+")
HOSTNAME_LENGTH = 253
# What stands before the `@` of an address without quotes (RFC 5322, 3.2.3).
NAME_OF_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+")
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
# Whose login it is: without a dot or a port it would be the first part of a name on Docker Hub.
LOGGED_IN = re.compile(rf"localhost|(?=[^:]*[.:]){REGISTRY_HOST}")
# HTTP's own login ends a user's name at a colon (RFC 7617).
LOGIN_NAME = re.compile(r"[^:\s]+")
K3S_VERSION = re.compile(r"v[0-9]+\.[0-9]+\.[0-9]+(?:-rc[0-9]+)?\+k3s[0-9]+")
# An app, all that is in a namespace, or whoever there is.
PEER = re.compile(r"\*|[a-z0-9_-]+|namespace/[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# As capabilities(7) has them, but for the `CAP_` before each, which Kubernetes leaves out.
CAPABILITY = re.compile(r"(?!CAP_)[A-Z][A-Z_]*")
# Amounts as Kubernetes writes them (API reference, "Quantity"), without exponents, fractions of
# bytes and more than three decimals of a core.
MEMORY = re.compile(r"([1-9][0-9]{0,12})(Ki|Mi|Gi|Ti|k|M|G|T|)")
CPU = re.compile(r"([0-9]{1,7})m|([0-9]{1,4})(?:\.([0-9]{1,3}))?")
BYTES = {"": 1} | {
    unit: base**power
    for base, units in ((1024, ("Ki", "Mi", "Gi", "Ti")), (1000, ("k", "M", "G", "T")))
    for power, unit in enumerate(units, start=1)
}
# A number alone is of bytes. With so few nothing starts (docker run's reference has 6 MB as the
# least for `--memory`), and it was meant otherwise.
LEAST_MEMORY = 6 << 20


class RejectedError(Exception):
    """A value that cannot be used: what is wrong and what is allowed, without the value."""


def build_check(holds: Callable[[str], object], message: str) -> Callable[[str], str]:
    """A parser of texts that stay as they are, which ``holds`` is true of."""

    def parse(text: str) -> str:
        if not holds(text):
            raise RejectedError(message)
        return text

    return parse


def build_words(meanings: Mapping[str, T], message: str) -> Callable[[str], T]:
    """A parser of words in any case."""

    def parse(text: str) -> T:
        if text.lower() not in meanings:
            raise RejectedError(message)
        return meanings[text.lower()]

    return parse


def build_number(least: int, most: int, message: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not INTEGER.fullmatch(text) or not least <= int(text) <= most:
            raise RejectedError(message)
        return int(text)

    return parse


def is_domain(text: str) -> bool:
    return bool(DOMAIN.fullmatch(text)) and len(text) <= HOSTNAME_LENGTH


def is_hostname(text: str) -> bool:
    return bool(HOSTNAME.fullmatch(text)) and len(text) <= HOSTNAME_LENGTH


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_http_path(text: str) -> bool:
    return text.startswith("/") and text.isascii() and not any(c.isspace() for c in text)


def is_user(text: str) -> bool:
    """One that began with a hyphen would be read as an option by ssh."""
    return not text.startswith("-") and text.isprintable() and not any(c in " @:/" for c in text)


def is_email(text: str) -> bool:
    name, _, domain = text.rpartition("@")
    return bool(NAME_OF_EMAIL.fullmatch(name) and DOMAIN.fullmatch(domain))


def is_memory(text: str) -> bool:
    found = find_bytes(text)
    return found is not None and found >= LEAST_MEMORY


def is_host_key(text: str) -> bool:
    """Its data begins with its kind, each text behind its length (RFC 4253, 6.6)."""
    kind, data = (*text.split(), "", "")[:2]
    try:
        key = base64.b64decode(data, validate=True)
    except ValueError:
        return False
    return key.startswith(len(kind).to_bytes(4, "big") + kind.encode())


parse_application_name = build_check(
    APPLICATION_NAME.fullmatch, "must be lower-case letters, digits, `-` and `_`"
)
parse_domain = build_check(is_domain, "must be a domain, such as example.com")
# What stands before a domain; `@` for the domain itself, `*` for all else.
parse_subdomain = build_check(
    lambda text: text in {"@", "*"} or is_hostname(text),
    "must be the part before the domain, such as www, or `@` or `*`",
)
parse_host = build_check(
    lambda text: is_hostname(text) or is_address(text), "must be a host name or an IP address"
)
parse_user = build_check(is_user, "must be a login name")
parse_email = build_check(is_email, "must be an e-mail address, such as admin@example.com")
parse_http_path = build_check(is_http_path, "must be a path that begins with `/`, percent-encoded")
parse_host_key = build_check(is_host_key, "must be a public host key, such as ssh-ed25519 AAAA…")
parse_positive = build_number(1, LARGEST_NUMBER, "must be a whole number from 1")
parse_port = build_number(1, LARGEST_PORT, f"must be a port, 1 to {LARGEST_PORT}")


def parse_keep_count(text: str) -> int:
    """A whole number; 0 stands for the default, as it always did."""
    return DEFAULT_KEEP_COUNT if INTEGER.fullmatch(text) and not int(text) else parse_positive(text)


def parse_duration(text: str) -> float:
    """Seconds; ``10s``, ``500ms``, ``1m``, or a number of seconds."""
    seconds = find_seconds(text)
    if not seconds:
        raise RejectedError("must be a time above 0, such as 10s, 500ms or 1m")
    return seconds


def parse_ready_time(text: str) -> float:
    """Seconds; none is allowed."""
    seconds = find_seconds(text)
    if seconds is None or seconds > LONGEST_READY_TIME:
        raise RejectedError("must be a time from 0 to 2m, such as 10s")
    return seconds


def find_seconds(text: str) -> float | None:
    match = DURATION.fullmatch(text)
    return float(match[1]) * UNITS[match[2]] if match else None


def parse_callback_url(text: str) -> str:
    """An http(s) URL to which paths can be appended."""
    if fault := find_url_fault(text):
        raise RejectedError(fault)
    return text


def parse_url(text: str) -> str:
    """An http(s) URL that anybody may see."""
    if "@" in parse_callback_url(text):
        raise RejectedError("must have no user and no password in it")
    return text


def find_bytes(text: str) -> int | None:
    """The bytes of ``512Mi``, ``2G`` or ``536870912``; None where it is no amount of memory."""
    match = MEMORY.fullmatch(text)
    return int(match[1]) * BYTES[match[2]] if match else None


def find_millicores(text: str) -> int | None:
    """The thousandths of a core of ``250m`` or ``1.5``; None where it is no processor time."""
    match = CPU.fullmatch(text)
    if match is None:
        return None
    thousandths, cores, rest = match.groups()
    return int(thousandths) if thousandths else int(cores) * 1000 + int((rest or "0").ljust(3, "0"))


@dataclass(frozen=True)
class Value:
    """How the text of a key is read.

    Args:
        parse: one of the parsers above.
        for_shell: whether a shell reads it: then variables in it are the shell's own.
        blank: whether it may be empty, which elsewhere is as good as absent.
    """

    parse: Callable[[str], Any]
    for_shell: bool = False
    blank: bool = False


@dataclass(frozen=True)
class Name:
    """What a name that the user chose may be; one that is ``hidden`` may be a misplaced secret."""

    pattern: re.Pattern[str]
    rule: str
    hidden: bool = False


def matching(pattern: re.Pattern[str], message: str) -> Value:
    return Value(build_check(pattern.fullmatch, message))


Text = Annotated[str, Value(str)]
ShellText = Annotated[str, Value(str, for_shell=True)]
SecretText = Annotated[Secret, Value(Secret)]
EnvText = Annotated[str, Value(str, blank=True)]
EnvSecret = Annotated[Secret, Value(Secret, blank=True)]
Boolean = Annotated[bool, Value(build_words(TRUTH, "must be true or false"))]
Positive = Annotated[int, Value(parse_positive)]
Several = Annotated[int, Value(build_number(2, LARGEST_NUMBER, "must be a whole number from 2"))]
KeepCount = Annotated[int, Value(parse_keep_count)]
Port = Annotated[int, Value(parse_port)]
Duration = Annotated[float, Value(parse_duration)]
ReadyTime = Annotated[float, Value(parse_ready_time)]
ApplicationName = Annotated[str, Value(parse_application_name)]
Architecture = Annotated[str, Value(build_words(ARCHITECTURES, "must be x86 or arm64"))]
Adapter = Annotated[
    str, Value(build_words(ADAPTERS, "must be postgres, postgresql, mysql or sqlite3"))
]
CheckType = Annotated[
    str, Value(build_check({"http", "tcp", "exec"}.__contains__, "must be http, tcp or exec"))
]
HTTPPath = Annotated[str, Value(parse_http_path)]
Domain = Annotated[str, Value(parse_domain)]
Subdomain = Annotated[str, Value(parse_subdomain)]
Host = Annotated[str, Value(parse_host)]
Address = Annotated[str, Value(build_check(is_address, "must be an IP address"))]
User = Annotated[str, Value(parse_user)]
CallbackURL = Annotated[str, Value(parse_callback_url)]
URL = Annotated[str, Value(parse_url)]
Email = Annotated[str, Value(parse_email)]
HostKey = Annotated[str, Value(lambda text: parse_host_key(text.strip()))]
PrivateKey = Annotated[Secret, Value(lambda text: Secret(f"{text.strip()}\n"))]
PublicKey = Annotated[str, Value(str.strip)]
Image = Annotated[str, matching(IMAGE, "must be an image, such as ghcr.io/acme/web:3")]
Registry = Annotated[str, matching(REGISTRY, "must be a registry, such as mirror.example.com:5000")]
LoginName = Annotated[
    str, matching(LOGIN_NAME, "must be a user's name, without a colon or a space")
]
K3sVersion = Annotated[str, matching(K3S_VERSION, "must be a release of k3s, such as v1.33.4+k3s1")]
Peer = Annotated[str, matching(PEER, "must be an app's name, namespace/NAME, or `*` for all")]
Capability = Annotated[
    str, matching(CAPABILITY, "must be a capability without CAP_, such as NET_RAW")
]
Memory = Annotated[
    str,
    Value(build_check(is_memory, "must be an amount of memory from 6Mi, such as 512Mi or 2Gi")),
]
CPUTime = Annotated[
    str,
    Value(build_check(find_millicores, "must be processor time above 0, such as 250m or 1.5")),
]

ServiceName = Annotated[str, Name(SERVICE_NAME, SERVICE_RULE)]
GroupName = Annotated[str, Name(GROUP_NAME, GROUP_RULE)]
EnvName = Annotated[str, Name(ENV_NAME, ENV_RULE, hidden=True)]
RegistryName = Annotated[
    str,
    Name(LOGGED_IN, "a registry without a path, such as ghcr.io or registry.example.com:5000"),
]
MirroredName = Annotated[str, Name(MIRRORED, "a registry, such as docker.io, or `*` for all")]
