"""Lines out of the pieces in which output arrives."""

from __future__ import annotations

import codecs

#: Characters of a line that is given on before its end is there: a program that draws a
#: progress bar may never write one.
LONGEST = 1 << 16


class LineCutter:
    """Cuts UTF-8 into lines, whole ones as soon as they are there. What is no UTF-8 is replaced."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def feed(self, data: bytes) -> list[str]:
        """The lines that ``data`` completes, without their ends."""
        text = self._rest + self._decoder.decode(data)
        *lines, self._rest = text.split("\n")
        if len(self._rest) > LONGEST:
            lines.append(self._rest)
            self._rest = ""
        return [line.removesuffix("\r") for line in lines]

    def finish(self) -> list[str]:
        """What is left, where the last line had no end."""
        rest = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        return [rest] if rest else []
