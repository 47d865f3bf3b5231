"""nvoi deploys an app from a checkout to running servers, and tells a dashboard live.

Importing it configures nothing: it names the levels STEP, OK and SUCCESS, gives the logger
``nvoi`` and those below it their methods, and adds a NullHandler. See docs/embedding.md.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from nvoi.log.levels import OK, STEP, SUCCESS, LoggerAdapter, get_logger
from nvoi.log.masking import MaskingFilter, add_secrets
from nvoi.version import __version__

if TYPE_CHECKING:
    from nvoi.log.handler import SignedHTTPHandler
    from nvoi.log.stream import CallbackStream
    from nvoi.protocol import sign, verify, verify_webhook

__all__ = [
    "OK",
    "STEP",
    "SUCCESS",
    "CallbackStream",
    "LoggerAdapter",
    "MaskingFilter",
    "SignedHTTPHandler",
    "__version__",
    "add_secrets",
    "get_logger",
    "sign",
    "verify",
    "verify_webhook",
]

#: What is imported when it is asked for: `nvoi --version` sends and verifies nothing.
_MODULES = {
    "CallbackStream": "nvoi.log.stream",
    "SignedHTTPHandler": "nvoi.log.handler",
    "sign": "nvoi.protocol",
    "verify": "nvoi.protocol",
    "verify_webhook": "nvoi.protocol",
}

logging.getLogger("nvoi").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - as late as what it imports

    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value
