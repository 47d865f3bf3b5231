"""What the text of one value may be, and what it stands for.

Each parser takes the text and returns the value, or raises :class:`RejectedError` with what
is wrong and what is allowed. None of them repeats the text: it may be a secret. The types at the
end of the module are what the records of the schema declare their keys with.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

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
DEFAULT_KEEP_COUNT = 2
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


def build_matcher(
    pattern: re.Pattern[str], message: str, longest: int | None = None
) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not pattern.fullmatch(text) or (longest is not None and len(text) > longest):
            raise RejectedError(message)
        return text

    return parse


def build_choice(*allowed: str) -> Callable[[str], str]:

    def parse(text: str) -> str:
        if text not in allowed:
            raise RejectedError(f"must be {', '.join(allowed[:-1])} or {allowed[-1]}")
        return text

    return parse


parse_application_name = build_matcher(
    APPLICATION_NAME, "must be lower-case letters, digits, `-` and `_`"
)
parse_domain = build_matcher(DOMAIN, "must be a domain, such as example.com", HOSTNAME_LENGTH)
ADAPTER = build_choice("postgres", "postgresql", "mysql", "sqlite3")


def parse_boolean(text: str) -> bool:
    """YAML 1.1's words, as existing files were written for it."""
    word = text.lower()
    if word not in TRUE | FALSE:
        raise RejectedError("must be true or false")
    return word in TRUE


def parse_positive(text: str) -> int:
    if not INTEGER.fullmatch(text) or int(text) == 0:
        raise RejectedError("must be a whole number from 1")
    return int(text)


def parse_several(text: str) -> int:
    if parse_positive(text) == 1:
        raise RejectedError("must be a whole number from 2")
    return int(text)


def parse_keep_count(text: str) -> int:
    """A whole number; 0 stands for the default, as it always did."""
    return DEFAULT_KEEP_COUNT if INTEGER.fullmatch(text) and not int(text) else parse_positive(text)


def parse_port(text: str) -> int:
    if not INTEGER.fullmatch(text) or not 1 <= int(text) <= LARGEST_PORT:
        raise RejectedError(f"must be a port, 1 to {LARGEST_PORT}")
    return int(text)


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


def parse_architecture(text: str) -> str:
    """``x86`` or ``arm64``; the other names in use for them are taken too."""
    if text.lower() not in ARCHITECTURES:
        raise RejectedError("must be x86 or arm64")
    return ARCHITECTURES[text.lower()]


def parse_adapter(text: str) -> str:
    return ADAPTER(text.lower())


def parse_http_path(text: str) -> str:
    if not text.startswith("/") or not text.isascii() or any(c.isspace() for c in text):
        raise RejectedError("must be a path that begins with `/`, percent-encoded")
    return text


def parse_subdomain(text: str) -> str:
    """What stands before a domain; ``@`` for the domain itself, ``*`` for all else."""
    if text not in {"@", "*"} and not is_hostname(text):
        raise RejectedError("must be the part before the domain, such as www, or `@` or `*`")
    return text


def parse_host(text: str) -> str:
    if not is_hostname(text) and not is_address(text):
        raise RejectedError("must be a host name or an IP address")
    return text


def parse_address(text: str) -> str:
    if not is_address(text):
        raise RejectedError("must be an IP address")
    return text


def is_hostname(text: str) -> bool:
    return bool(HOSTNAME.fullmatch(text)) and len(text) <= HOSTNAME_LENGTH


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


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


def parse_url(text: str) -> str:
    """An http(s) URL that anybody may see."""
    if "@" in parse_callback_url(text):
        raise RejectedError("must have no user and no password in it")
    return text


def parse_email(text: str) -> str:
    name, _, domain = text.rpartition("@")
    if not NAME_OF_EMAIL.fullmatch(name) or not DOMAIN.fullmatch(domain):
        raise RejectedError("must be an e-mail address, such as admin@example.com")
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


def parse_memory(text: str) -> str:
    found = find_bytes(text)
    if found is None or found < LEAST_MEMORY:
        raise RejectedError("must be an amount of memory from 6Mi, such as 512Mi or 2Gi")
    return text


def parse_cpu(text: str) -> str:
    if not find_millicores(text):
        raise RejectedError("must be processor time above 0, such as 250m or 1.5")
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


Text = Annotated[str, Value(str)]
ShellText = Annotated[str, Value(str, for_shell=True)]
SecretText = Annotated[Secret, Value(Secret)]
EnvText = Annotated[str, Value(str, blank=True)]
EnvSecret = Annotated[Secret, Value(Secret, blank=True)]
Boolean = Annotated[bool, Value(parse_boolean)]
Positive = Annotated[int, Value(parse_positive)]
Several = Annotated[int, Value(parse_several)]
KeepCount = Annotated[int, Value(parse_keep_count)]
Port = Annotated[int, Value(parse_port)]
Duration = Annotated[float, Value(parse_duration)]
ReadyTime = Annotated[float, Value(parse_ready_time)]
ApplicationName = Annotated[str, Value(parse_application_name)]
Architecture = Annotated[str, Value(parse_architecture)]
Adapter = Annotated[str, Value(parse_adapter)]
CheckType = Annotated[str, Value(build_choice("http", "tcp", "exec"))]
HTTPPath = Annotated[str, Value(parse_http_path)]
Domain = Annotated[str, Value(parse_domain)]
Subdomain = Annotated[str, Value(parse_subdomain)]
Host = Annotated[str, Value(parse_host)]
Address = Annotated[str, Value(parse_address)]
User = Annotated[str, Value(parse_user)]
CallbackURL = Annotated[str, Value(parse_callback_url)]
URL = Annotated[str, Value(parse_url)]
Email = Annotated[str, Value(parse_email)]
HostKey = Annotated[str, Value(parse_host_key)]
PrivateKey = Annotated[Secret, Value(lambda text: Secret(f"{text.strip()}\n"))]
PublicKey = Annotated[str, Value(str.strip)]
Image = Annotated[str, Value(build_matcher(IMAGE, "must be an image, such as ghcr.io/acme/web:3"))]
Registry = Annotated[
    str, Value(build_matcher(REGISTRY, "must be a registry, such as mirror.example.com:5000"))
]
LoginName = Annotated[
    str, Value(build_matcher(LOGIN_NAME, "must be a user's name, without a colon or a space"))
]
K3sVersion = Annotated[
    str, Value(build_matcher(K3S_VERSION, "must be a release of k3s, such as v1.33.4+k3s1"))
]
Peer = Annotated[
    str, Value(build_matcher(PEER, "must be an app's name, namespace/NAME, or `*` for all"))
]
Capability = Annotated[
    str, Value(build_matcher(CAPABILITY, "must be a capability without CAP_, such as NET_RAW"))
]
Memory = Annotated[str, Value(parse_memory)]
CPUTime = Annotated[str, Value(parse_cpu)]

ServiceName = Annotated[str, Name(SERVICE_NAME, SERVICE_RULE)]
GroupName = Annotated[str, Name(GROUP_NAME, GROUP_RULE)]
EnvName = Annotated[str, Name(ENV_NAME, ENV_RULE, hidden=True)]
RegistryName = Annotated[
    str,
    Name(LOGGED_IN, "a registry without a path, such as ghcr.io or registry.example.com:5000"),
]
MirroredName = Annotated[str, Name(MIRRORED, "a registry, such as docker.io, or `*` for all")]
