"""nvoi deploys an app from a checkout to running servers, and tells a dashboard live.

Importing it configures nothing: it names the levels STEP, OK and SUCCESS, gives the logger
``nvoi`` and those below it their methods, and adds a NullHandler. See docs/embedding.md.
"""

from __future__ import annotations

from nvoi.log import installation
from nvoi.version import __version__

# As in nvoi.log.levels: typing itself would be most of what importing nvoi takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nvoi.log.callback import SignedHTTPHandler
    from nvoi.log.levels import OK, STEP, SUCCESS, get_logger
    from nvoi.log.masking import MaskingFilter, add_secrets
    from nvoi.log.signing import sign, verify, verify_webhook
    from nvoi.log.stream import CallbackStream

__all__ = [
    "OK",
    "STEP",
    "SUCCESS",
    "CallbackStream",
    "MaskingFilter",
    "SignedHTTPHandler",
    "__version__",
    "add_secrets",
    "get_logger",
    "sign",
    "verify",
    "verify_webhook",
]

_MODULES = {
    "OK": "levels",
    "STEP": "levels",
    "SUCCESS": "levels",
    "CallbackStream": "stream",
    "MaskingFilter": "masking",
    "SignedHTTPHandler": "callback",
    "add_secrets": "masking",
    "get_logger": "levels",
    "sign": "signing",
    "verify": "signing",
    "verify_webhook": "signing",
}

installation.install_with_logging()


def __getattr__(name: str) -> Any:
    """Import what an embedder uses when it is used: ``nvoi --version`` needs none of it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - as late as the rest

    value = getattr(importlib.import_module(f"nvoi.log.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
