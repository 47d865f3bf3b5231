"""``$NAME`` and ``${NAME}`` in the strings of a plain config."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nvoi.config.fields import RejectedError

VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Za-z_][A-Za-z0-9_]*)"
    r"|\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<broken>\{))"
)


def interpolate(text: str, environ: Mapping[str, str], *, secret: bool = False) -> str:
    """``text`` with every variable replaced; ``$$`` is a dollar, and so is one before no name.

    What a variable holds is taken as it is, dollars included.

    Args:
        text: a string of the config.
        environ: what variables are read from.
        secret: whether the text is one; then what follows a dollar inside it may be a part of
            a password, and is named only where it is the whole text.

    Raises:
        RejectedError: variables are unset (the error names them all), or ``${`` is not
            ``${NAME}``.
    """
    found = list(VARIABLE.finditer(text))
    if any(match["broken"] for match in found):
        raise RejectedError("`${` begins no ${NAME}; write `$$` for a dollar")
    names = dict.fromkeys(match["bare"] or match["braced"] for match in found)
    unset = [f"${name}" for name in names if name and name not in environ]
    if unset and secret and not VARIABLE.fullmatch(text):
        raise RejectedError(
            "a variable in it is not set in the environment; write `$$` for a dollar that "
            "belongs to the value"
        )
    if unset:
        verb = "is" if len(unset) == 1 else "are"
        raise RejectedError(f"{' and '.join(unset)} {verb} not set in the environment")

    def replace(match: re.Match[str]) -> str:
        return "$" if match["dollar"] else environ[match["bare"] or match["braced"]]

    return VARIABLE.sub(replace, text)
