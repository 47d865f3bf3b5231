"""How nvoi is called for the app of this run, as a hint has it that names a command.

The command line says it once, before anything else: whoever raises an error may be far from it.
"""

from __future__ import annotations

_options: list[str] = []


def set_branch(branch: str | None) -> None:
    """Have commands be named for the app of a branch, and for the config's own without one."""
    _options[:] = ["--branch", branch] if branch else []


def name_command(words: str) -> str:
    """``unlock`` as `` `nvoi unlock --branch topic` ``."""
    return f"`{' '.join(['nvoi', words, *_options])}`"
