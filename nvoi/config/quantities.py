"""Amounts of memory and processor time as Kubernetes writes them: its API reference, "Quantity".

Exponents, fractions of bytes and more than three decimals of a core are left out.
"""

from __future__ import annotations

import re

MEMORY = re.compile(r"([1-9][0-9]{0,12})(Ki|Mi|Gi|Ti|k|M|G|T|)")
CPU = re.compile(r"([0-9]{1,7})m|([0-9]{1,4})(?:\.([0-9]{1,3}))?")
BYTES = {
    "": 1,
    "Ki": 1 << 10,
    "Mi": 1 << 20,
    "Gi": 1 << 30,
    "Ti": 1 << 40,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
}


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
