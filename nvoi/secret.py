"""A string that does not show itself."""

from __future__ import annotations

from base64 import b64encode

REDACTED = "[REDACTED]"


class Secret(str):
    """A ``str`` that prints as ``[REDACTED]``.

    ``str()``, ``repr()``, ``format()`` and f-strings of it give the placeholder;
    :meth:`reveal` gives the value, so that every use of one can be found by name.
    As it is a ``str``, methods such as ``encode`` and ``join`` still see the value.
    """

    __slots__ = ()

    def reveal(self) -> str:
        """The value itself, as a plain ``str``."""
        return str.__str__(self)

    def __str__(self) -> str:
        return REDACTED

    def __repr__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return format(REDACTED, spec)


def build_basic(user: str, password: Secret) -> Secret:
    """User and password as HTTP and the files of engines have them (RFC 7617)."""
    return Secret(b64encode(f"{user}:{password.reveal()}".encode()).decode())
