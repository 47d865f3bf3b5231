"""Names within the cluster that the config does not show."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from nvoi.naming import HASH_LENGTH, LABEL_LENGTH, build_label, shorten

NAMESPACE = "default"
# A label's value: at most 63 characters, letters and digits at both ends
# (Kubernetes documentation, "Labels and Selectors").
LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
UNFIT = re.compile(r"[^A-Za-z0-9_.-]")
DIGITS_OF_CHECKSUM = 10
DIGITS_OF_REVISION = 10


def build_checksum(parts: Mapping[str, str] | Iterable[str]) -> str:
    """64 hex of SHA-256 over the parts, each with its length, so that no two lists agree."""
    words = (
        [word for pair in sorted(parts.items()) for word in pair]
        if isinstance(parts, Mapping)
        else list(parts)
    )
    digest = hashlib.sha256()
    for word in words:
        data = word.encode()
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


def build_label_value(text: str) -> str:
    """``text`` as a label's value; what had to be changed ends in 8 hex of its SHA-256.

    Two texts never give one value: objects are removed by it.
    """
    if LABEL_VALUE.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]
    kept = UNFIT.sub("-", text).strip("_.-")[: LABEL_LENGTH - HASH_LENGTH - 1]
    return f"{kept}-{digest}" if kept else digest


def build_part_name(text: str) -> str:
    """A container's or a volume's name inside a pod: a DNS label, different for each ``text``."""
    label = build_label(text)
    if label == text:
        return label
    digest = hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]
    return f"{label[: LABEL_LENGTH - HASH_LENGTH - 1].rstrip('-')}-{digest}"


def build_secret_name(workload: str, checksum: str) -> str:
    """A Secret's name holds what is in it.

    So a pod of the old release that starts again, during a rollout or after a failed one,
    finds the old values.
    """
    return f"{workload}-{checksum[:DIGITS_OF_CHECKSUM]}"


def build_statefulset_name(workload: str) -> str:
    """A StatefulSet's name: 11 characters shorter than other names may be.

    Its pods bear it in a label, with a hyphen and a hash of ten behind it (Kubernetes source,
    ``pkg/controller/history``): with a longer one no pod can be made.
    """
    if len(workload) <= LABEL_LENGTH - DIGITS_OF_REVISION - 1:
        return workload
    digest = hashlib.sha256(workload.encode()).hexdigest()[:HASH_LENGTH]
    kept = LABEL_LENGTH - DIGITS_OF_REVISION - HASH_LENGTH - 2
    return f"{workload[:kept].rstrip('-')}-{digest}"


def build_job_name(workload: str, stamp: str) -> str:
    """The Job that runs ``pre_run_command`` for the release of ``stamp``."""
    return shorten(f"{workload}-pre-run-{stamp}")
