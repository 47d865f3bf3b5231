"""What the Kubernetes API refuses, in words without the values that it was given."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nvoi.errors import RequestError
from nvoi.http import list_objects
from nvoi.kubernetes.ownership import Manifest
from nvoi.log.masking import Masker

#: What the API says with status 500 while it, its store or its network starts, stops or is too
#: busy: asked again it may answer.
PASSING = (
    "etcdserver: ",
    "database is locked",
    "apiserver not ready",
    "apiserver is shutting down",
    "currently unable to handle the request",
    "connection refused",
    "connection reset by peer",
    "context deadline exceeded",
    "http2: ",
)
#: The same as a reason ("Response Status Kind").
PASSING_REASONS = frozenset({"ServerTimeout", "Timeout", "TooManyRequests", "ServiceUnavailable"})
LONGEST = 300
# A value, in quotes or of any text with colons, and then why it is none that can be.
VALUE = re.compile(
    r"(?:Invalid|Unsupported|Duplicate) value: "
    r'(?:"(?:[^"\\]|\\.)*"(?:: (.*)|$)|.*?(?:: |$)(supported values: .*|[^:]*)$)'
)
MANAGER = re.compile(r'conflict with "([^"]*)"')
GOT = re.compile(r", got .*$")
DUMP = re.compile(r"&?[\w.]*\{.*\}")


def is_temporary(error: RequestError) -> bool:
    """Whether the API refused for a reason that may be gone the next moment."""
    match error.document:
        case {"reason": str(reason)} if reason in PASSING_REASONS:
            return True
        case {"message": str(text), "code": 500}:
            return any(words in text for words in PASSING)
    return False


def explain(error: RequestError, manifests: Iterable[Manifest] = ()) -> tuple[str, ...]:
    """A sentence for each thing that the API does not take.

    None of the secrets of ``manifests``, which it was given, is in what comes out.
    """
    masker = Masker(find_values(manifests))
    # Each is a line, whatever it quotes.
    sentences = [" ".join(masker.mask_text(one).split()) for one in read_causes(error)]
    return tuple(
        text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for text in dict.fromkeys(sentences)
    )


def read_causes(error: RequestError) -> Iterator[str]:
    """The causes, each at its object and field, without values."""
    match error.document:
        case {"details": {"kind": str(kind), "name": str(name), "causes": [{}, *_]}}:
            for cause in list_objects(error.document, "details", "causes"):
                reason = strip(str(cause.get("message", "")))
                texts = [f"{kind.lower()} {name}", str(cause.get("field", "")), reason]
                yield ": ".join(filter(None, texts))
        case {"message": str(text)}:
            yield strip(text)
        case _:
            yield error.message


def find_conflicts(error: RequestError) -> list[tuple[str, str]]:
    """The fields that others have set otherwise, and who, of an apply that was refused for them.

    Source: Kubernetes documentation, "Server-Side Apply", "Conflicts".
    """
    found = [
        (str(cause.get("field", "")), MANAGER.search(str(cause.get("message", ""))))
        for cause in list_objects(error.document, "details", "causes")
        if cause.get("reason") == "FieldManagerConflict"
    ]
    return [(field, who[1] if who else "somebody") for field, who in found]


def strip(cause: str) -> str:
    """A cause without the value that is at fault."""
    cause = VALUE.sub(lambda found: found[1] or found[2] or "", cause.strip())
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
        return "the cluster did not say why"
    more = f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
    return sentences[0] + more
