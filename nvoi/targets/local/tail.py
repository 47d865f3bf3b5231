"""The last lines of what a service printed."""

from __future__ import annotations

from pathlib import Path

from nvoi.log import masking

#: Lines an error carries.
LAST_LINES = 20

#: Bytes that are read for them: a line may be long.
LAST_BYTES = 64 * 1024

#: Bytes that are read before them and not told: where the reading begins in the middle of a
#: secret, nothing masks the half of it that is read. No form of a secret is longer.
SKIPPED_BYTES = 64 * 1024


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
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            since = since if since <= size else 0
            begin = max(since, size - LAST_BYTES - SKIPPED_BYTES)
            file.seek(begin)
            text = file.read(LAST_BYTES + SKIPPED_BYTES).decode("utf-8", "replace")
    except OSError:
        return ()
    if begin > since:
        text = skip_start(masking.masker.mask_text(text))
    return tuple(text.splitlines()[-lines:])


def skip_start(text: str) -> str:
    """``text`` without a first line that may have begun before it, or what is long of that."""
    end = text.find("\n", 0, SKIPPED_BYTES)
    return text[SKIPPED_BYTES:] if end < 0 else text[end + 1 :]
