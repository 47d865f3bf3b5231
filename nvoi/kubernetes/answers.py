"""What kubectl's errors say, in words that show no value of a manifest. All functions are pure."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nvoi.kubernetes.workloads import Manifest
from nvoi.log.masking import Masker

#: What is said while the API server starts, stops or is too busy: asked again it may answer.
#: Of kubectl (``Unable to connect…``), Go's net/http and net, and the API's own reasons
#: (Kubernetes API conventions, "Response Status Kind").
PASSING = (
    "was refused - did you specify the right host or port",
    "connection refused",
    "connection reset by peer",
    "unexpected EOF",
    "server: EOF",
    "TLS handshake timeout",
    "i/o timeout",
    "http2: ",
    "Client.Timeout exceeded",
    "context deadline exceeded",
    "(ServiceUnavailable)",
    "(ServerTimeout)",
    "(Timeout)",
    "(TooManyRequests)",
    "apiserver not ready",
    "apiserver is shutting down",
    "currently unable to handle the request",
    "etcdserver: ",
    "database is locked",
)
LONGEST = 300
# Lines of kubectl's own log, of k3s's, and of the API's advice.
NOISE = re.compile(r'[EWIF]\d{4} |Warning: |time="')
INVALID = re.compile(r'The (\w+) "([^"]*)" is invalid: ?(.*)')
SERVER = re.compile(r"(?:error: )?(?:[Ee]rror from server(?: \(\w+\))?|error): ")
# A value, in quotes or of any text with colons, and then why it is none that can be.
VALUE = re.compile(
    r"(?:Invalid|Unsupported|Duplicate) value: "
    r'(?:"(?:[^"\\]|\\.)*"(?:: (.*)|$)|.*?(?:: |$)(supported values: .*|[^:]*)$)'
)
GOT = re.compile(r", got .*$")
DUMP = re.compile(r"&?[\w.]*\{.*\}")


def is_passing(errors: Iterable[str]) -> bool:
    """Whether kubectl failed for a reason that may be gone the next moment."""
    return any(words in line for line in errors for words in PASSING)


def explain(errors: Iterable[str], manifests: Iterable[Manifest] = ()) -> tuple[str, ...]:
    """A sentence for each thing that went wrong.

    Args:
        errors: what kubectl wrote to its standard error.
        manifests: what it was given; none of their secrets is in what comes out.
    """
    masker = Masker(find_values(manifests))
    sentences = [masker.mask_text(sentence) for sentence in read_sentences(errors)]
    return tuple(
        text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for text in dict.fromkeys(sentences)
    )


def read_sentences(errors: Iterable[str]) -> Iterator[str]:
    """The errors, each at its object."""
    subject = ""
    for line in errors:
        if NOISE.match(line) or not line.strip():
            continue
        found = INVALID.match(line)
        if found:
            subject = f"{found[1].lower()} {found[2]}: "
        elif not line.startswith("* "):
            subject = ""
        cause = strip(found[3] if found else line.removeprefix("* "))
        if cause:
            yield subject + cause


def strip(cause: str) -> str:
    """A cause without the value that is at fault."""
    cause = SERVER.sub("", cause.strip(), count=1)
    cause = VALUE.sub(lambda found: found[1] or found[2] or "", cause)
    return DUMP.sub("…", GOT.sub("", cause)).rstrip(": ")


def find_values(manifests: Iterable[Manifest]) -> Iterator[str]:
    """Every value of the Secrets among ``manifests``, in plain and as they are written."""
    for manifest in manifests:
        data: Any = manifest.get("data") if manifest["kind"] == "Secret" else None
        for value in (data or {}).values():
            text = str(value)
            yield text
            try:
                yield b64decode(text).decode()
            except ValueError:
                continue


def summarize(sentences: Sequence[str]) -> str:
    """What is said in one line; the others are shown below it."""
    if not sentences:
        return "kubectl failed and did not say why"
    more = f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
    return sentences[0] + more
