"""The file that says how the image is built."""

from __future__ import annotations

import os
from pathlib import Path

from nvoi.errors import UsageError

#: In the order in which they are looked for. ``-f`` makes every engine take either.
NAMES = ("Dockerfile", "Containerfile")


def check_dockerfile(directory: Path, dockerfile: str | Path | None = None) -> Path:
    """The file that builds the app's image.

    Args:
        directory: the checkout.
        dockerfile: what ``--dockerfile-path`` names, from the checkout on; None where it
            was not given.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    option = "--dockerfile-path: " if dockerfile is not None else ""
    names = NAMES if dockerfile is None else (str(dockerfile),)
    found = [directory / name for name in names if (directory / name).is_file()]
    if found and os.access(found[0], os.R_OK):
        return found[0].resolve()
    if found:
        raise UsageError(f"{option}{found[0]} cannot be read", hint="see its permissions")
    if dockerfile is None:
        raise UsageError(
            f"the image cannot be built: {directory} has no Dockerfile",
            hint="write one, name it with --dockerfile-path, or name a finished image for "
            "each app service: image",
        )
    what = "is a folder" if (directory / dockerfile).is_dir() else "is not there"
    raise UsageError(
        f"{option}{directory / dockerfile} {what}",
        hint="name a file, from the checkout on, or name a finished image for each app "
        "service: image",
    )
