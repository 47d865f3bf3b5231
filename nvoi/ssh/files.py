"""Files on a host: written beside their place under a name of their own, then moved there.

All goes over one command's standard input, so that it needs one round trip, and ``sudo``
works as it does for any other command.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from nvoi.command import Command, build_script, sudo
from nvoi.errors import NvoiError

CHUNK = 1 << 18
MODES = 0o7777

#: Its arguments: the path, its folder, the mode, the size in bytes. An input that is cut
#: short, as a connection that breaks leaves it, has another size and is not moved. The new
#: file is on the disk before it takes the name, and has its mode before its content.
SCRIPT = """\
set -eu
umask 077
if [ -d "$1" ]; then echo "$1 is a folder" >&2; exit 1; fi
new=$(mktemp "$2/.nvoi.XXXXXXXX")
trap 'rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM PIPE
chmod "$3" "$new"
cat >"$new"
size=$(wc -c <"$new")
if [ "$size" -ne "$4" ]; then echo "only $size of $4 bytes arrived" >&2; exit 1; fi
sync "$new" 2>/dev/null || sync
mv -f "$new" "$1"
trap - EXIT
"""


def build_put(path: str, mode: int, size: int, *, as_root: bool = False) -> Command:
    """The command that makes ``path`` hold what it reads, wholly or not at all.

    Raises:
        ValueError: the path is not from the root on, or the mode is none.
    """
    pure = PurePosixPath(path)
    if not pure.is_absolute() or path.endswith("/"):
        raise ValueError(f"a file's whole path is needed: {path!r}")
    if not 0 <= mode <= MODES:
        raise ValueError(f"no mode of a file: {mode!r}")
    words = (str(pure), str(pure.parent), f"{mode:04o}", size)
    command = build_script("nvoi-put", SCRIPT, *words)
    return sudo(command) if as_root else command


def read_pieces(path: Path) -> tuple[int, Iterator[bytes]]:
    """The size of a file here, and its content in pieces.

    Raises:
        NvoiError: it cannot be read.
    """
    try:
        return path.stat().st_size, _read(path)
    except OSError as error:
        raise _build_error(path, error) from error


def _read(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(CHUNK):
                yield piece
    except OSError as error:
        raise _build_error(path, error) from error


def _build_error(path: Path, error: OSError) -> NvoiError:
    return NvoiError(f"cannot read {path}: {error.strerror}")
