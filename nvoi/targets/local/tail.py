"""The last lines of what a service printed."""

from __future__ import annotations

from pathlib import Path

from nvoi.log import masking

#: Lines an error carries.
LAST_LINES = 20

#: Bytes that are read for them, and before them where a line may have begun: it may be long.
LAST_BYTES = 64 * 1024


def find_size(path: Path) -> int:
    """The size of a log in bytes, 0 where there is none: from here on it is new."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def read_tail(path: Path, since: int = 0, lines: int = LAST_LINES) -> tuple[str, ...]:
    """The last ``lines`` lines of ``path``, oldest first; none where it cannot be read.

    Args:
        path: a log.
        since: leave out what stands before this many bytes; a log that is shorter by now
            has been rotated and is read whole.
        lines: how many.
    """
    # Nothing masks the half of a secret that the reading begins in, so that is passed over.
    passed = max(LAST_BYTES, masking.masker.reach)
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            since = since if since <= size else 0
            begin = max(since, size - LAST_BYTES - passed)
            file.seek(begin)
            text = file.read(LAST_BYTES + passed).decode("utf-8", "replace")
    except OSError:
        return ()
    if begin > since:
        end = text.find("\n", 0, passed)
        _, text = masking.masker.cut_text(text, passed if end < 0 else end + 1)
    return tuple(masking.masker.mask_text(text).splitlines()[-lines:])
