"""Output as it arrives, cut into lines that show no half of a secret."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from nvoi.log import masking

#: Characters of the longest line that is told in one piece.
LONGEST = 1 << 16


class LineCutter:
    """Cuts UTF-8 into lines, whole ones as soon as they are there. What is no UTF-8 is replaced.

    Lines are as they were printed, for the log to mask. Only one of more than 65,536 characters
    is masked here, before it comes in pieces of that many; and it need not have ended: a program
    that draws a progress bar may never do so. As many characters as a form of a secret may have
    then wait for what follows.

    Args:
        whole: the lines are data: none is masked, none comes in pieces.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._begun: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> list[str]:
        """The lines that ``data`` completes, without their ends."""
        return [*self._take(self._decoder.decode(data))]

    def finish(self) -> list[str]:
        """What is left, where the last line had no end."""
        lines = [*self._take(self._decoder.decode(b"", final=True))]
        return [*lines, *self._end()] if self._size else lines

    def _take(self, text: str) -> Iterator[str]:
        for number, piece in enumerate(text.split("\n")):
            if number:
                yield from self._end()
            self._begun.append(piece)
            self._size += len(piece)
        held = masking.masker.reach
        if self._size > LONGEST + held and not self._whole:
            at = (self._size - held) // LONGEST * LONGEST
            begun, rest = masking.masker.split_text("".join(self._begun), at)
            self._begun, self._size = [rest], len(rest)
            yield from _split(begun)

    def _end(self) -> list[str]:
        line = "".join(self._begun).removesuffix("\r")
        self._begun, self._size = [], 0
        if self._whole or len(line) <= LONGEST:
            return [line]
        return _split(masking.masker.mask_text(line))


def _split(text: str) -> list[str]:
    return [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)]
