"""k3s on servers: what they are like, what they lack, how they are joined into a cluster."""

from __future__ import annotations

from importlib import resources


def read_script(name: str) -> str:
    """The text of one of the shell scripts beside this, which servers run."""
    return resources.files(__name__).joinpath(name).read_text("utf-8")
